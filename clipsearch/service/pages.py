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


def blueprint(guard: Guard) -> Blueprint:
    """Return the routes of the page."""
    pages = Blueprint("pages", __name__)

    @pages.get("/", provide_automatic_options=False)
    def index() -> Response:
        if guard.token is not None and "token" in request.args:
            if not guard.is_token(request.args["token"].strip()):
                return _login("That is not the token of this server.", 401)
            # Away from the address bar, and from the history.
            rest = {name: value for name, value in request.args.items() if name != "token"}
            target = f"/?{urlencode(rest)}" if rest else "/"
            return _let_in(guard, target)
        return _file(
            resources.folder("web") / "templates" / "index.html", "text/html; charset=utf-8"
        )

    @pages.get("/static/<path:name>", provide_automatic_options=False)
    def static(name: str) -> Response:
        path = safe_join(str(resources.folder("web") / "static"), name)
        kind = TYPES.get(Path(name).suffix.lower())
        if path is None or kind is None:
            raise NotFound
        return _file(Path(path), kind)

    @pages.get("/login", provide_automatic_options=False)
    def login() -> Response:
        return _login("", 200) if guard.token is not None else _to("/")

    @pages.post("/login", provide_automatic_options=False)
    def log_in() -> Response:
        if guard.token is None:
            return _to("/")
        if not guard.is_token(request.form.get("token", "").strip()):
            return _login("That is not the token of this server.", 401)
        return _let_in(guard, "/")

    return pages


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
    response = Response(_LOGIN.format(message=html.escape(message)), status, mimetype="text/html")
    response.headers["Cache-Control"] = "no-store"
    return response


def _let_in(guard: Guard, target: str) -> Response:
    # Behind a proxy with HTTPS the request itself comes as plain HTTP.
    secure = (
        request.is_secure
        or request.headers.get("Origin", "").lower().startswith("https:")
        or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
    )
    return guard.let_in(_to(target), secure=secure)


def _to(target: str) -> Response:
    response = redirect(target, 303, Response)
    response.headers["Cache-Control"] = "no-store"
    assert isinstance(response, Response)  # noqa: S101 - it was asked for
    return response
