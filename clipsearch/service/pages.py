"""The page, what it is made of, and the way in where a token is wanted."""

from __future__ import annotations

import hashlib
import html
from pathlib import Path
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, request
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join

from clipsearch import resources
from clipsearch.service.errors import RequestError
from clipsearch.service.security import Guard

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}

_LOGIN = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>clipsearch: log in</title>
</head>
<body>
<h1>clipsearch</h1>
<form method="post" action="/login">
<p><label for="token">Token of this server</label></p>
<p><input id="token" name="token" type="password" autocomplete="current-password" required></p>
<p><button>Log in</button></p>
</form>
<p role="status">{message}</p>
</body>
</html>
"""

_LOGGED_IN = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>clipsearch: log out</title>
</head>
<body>
<h1>clipsearch</h1>
<p>You are logged in. <a href="/">To the photos</a></p>
<form method="post" action="/logout">
<p><button>Log out</button></p>
</form>
</body>
</html>
"""


def blueprint(guard: Guard) -> Blueprint:
    """Return the routes of the page."""
    pages = Blueprint("pages", __name__)

    @pages.get("/", provide_automatic_options=False)
    def index() -> Response:
        if guard.token is not None and "token" in request.args:
            # Away from the address bar, and from the history.
            rest = {name: value for name, value in request.args.items() if name != "token"}
            return _tried(guard, request.args["token"], f"/?{urlencode(rest)}" if rest else "/")
        page = resources.folder("web") / "templates" / "index.html"
        return guard.renew(request, _file(page, "text/html; charset=utf-8"))

    @pages.get("/static/<path:name>", provide_automatic_options=False)
    def static(name: str) -> Response:
        path = safe_join(str(resources.folder("web") / "static"), name)
        kind = TYPES.get(Path(name).suffix.lower())
        if path is None or kind is None:
            raise NotFound
        return _file(Path(path), kind)

    @pages.get("/login", provide_automatic_options=False)
    def login() -> Response:
        if guard.token is None:
            return _to("/")
        return _page(_LOGGED_IN, 200) if guard.is_logged_in(request) else _login("", 200)

    @pages.post("/login", provide_automatic_options=False)
    def log_in() -> Response:
        if guard.token is None:
            return _to("/")
        return _tried(guard, request.form.get("token", ""), "/")

    @pages.post("/logout", provide_automatic_options=False)
    def log_out() -> Response:
        return guard.let_out(request, _to("/login"))

    return pages


def _tried(guard: Guard, token: str, target: str) -> Response:
    """Let a browser in that shows the token, or say on the page why not."""
    try:
        is_right = guard.is_token(token.strip(), request.remote_addr)
    except RequestError as error:
        sentence = str(error)
        response = _login(f"{sentence[:1].upper()}{sentence[1:]}.", error.status)
        response.headers["Retry-After"] = str(error.wait)
        return response
    if not is_right:
        return _login("That is not the token of this server.", 401)
    return guard.let_in(request, _to(target))


def _file(path: Path, kind: str) -> Response:
    try:
        data = path.read_bytes()
    except (OSError, ValueError):
        raise NotFound from None
    response = Response(data, content_type=kind)
    response.set_etag(hashlib.sha256(data).hexdigest()[:32])
    response.headers["Cache-Control"] = "no-cache"  # kept, and asked after each time
    response.make_conditional(request)
    return response


def _login(message: str, status: int) -> Response:
    return _page(_LOGIN.format(message=html.escape(message)), status)


def _page(text: str, status: int) -> Response:
    response = Response(text, status, mimetype="text/html")
    response.headers["Cache-Control"] = "no-store"
    return response


def _to(target: str) -> Response:
    response = redirect(target, 303, Response)
    response.headers["Cache-Control"] = "no-store"
    assert isinstance(response, Response)  # noqa: S101 - it was asked for
    return response
