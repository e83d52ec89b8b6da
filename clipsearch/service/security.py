"""Who may ask: trusted host names, tokens, and writes from our own page only.

A page of another site can make a browser send requests to this machine. It cannot read the
answers (there is no CORS), it cannot write (Origin and Sec-Fetch-Site are checked), and a name
that it points at this machine (DNS rebinding) is not among the trusted hosts.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Request, Response
from werkzeug.exceptions import HTTPException

from clipsearch.errors import ClipsearchError
from clipsearch.service.errors import RequestError

COOKIE = "clipsearch"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SHORTEST_TOKEN = 16
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_KEPT = 30 * 24 * 3600  # seconds that a browser stays logged in

# Found, not parsed: what a stranger sends may be large and deep.
_KEY = re.compile(rb'"api_key"\s*:\s*("(?:[^"\\\x00-\x1f]|\\.){1,1024}")')

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Guard:
    """What a request must show: a host of `hosts`, and the `token` if there is one.

    With `addresses`, every numeric address is a trusted host too: no name server can forge it.
    """

    token: str | None = None
    hosts: frozenset[str] = LOOPBACK
    addresses: bool = False

    def check_host(self, request: Request) -> None:
        """Refuse a request that was sent to a name which is not ours.

        Raises: RequestError with 403.
        """
        name = host_name(request.headers.get("Host", ""))
        if name in self.hosts or (self.addresses and _is_address(name)):
            return
        raise RequestError(
            "this server is not known by that name; start it with --trusted-host NAME", 403
        )

    def check_token(self, request: Request) -> None:
        """Refuse a request that does not show the token.

        It comes as a bearer, as `api_key` where Roboflow's clients put it, or as our cookie.

        Raises: RequestError with 401.
        """
        if self.token is None or self.is_cookie(request.cookies.get(COOKIE, "")):
            return
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(credentials.strip()):
            return
        if request.path.startswith("/clip/"):
            if self.is_token(request.args.get("api_key", "")):
                return
            if request.mimetype == "application/json" and self.is_token(_key_of_body(request)):
                return
        raise RequestError(
            "this server needs its token: Authorization: Bearer TOKEN, or log in at /login", 401
        )

    def is_token(self, text: str) -> bool:
        """Compare in a time that does not tell how much of it is right."""
        return self.token is not None and _equal(text, self.token)

    def is_cookie(self, text: str) -> bool:
        """Tell whether a cookie is one that we gave out for this token."""
        return self.token is not None and _equal(text, self.cookie())

    def cookie(self) -> str:
        """Return what the browser keeps: made from the token, which it does not reveal."""
        assert self.token is not None  # noqa: S101 - callers look
        return hmac.new(self.token.encode(), b"clipsearch cookie", hashlib.sha256).hexdigest()

    def let_in(self, response: Response, *, secure: bool) -> Response:
        """Give a browser the cookie, so that pictures load too."""
        response.set_cookie(
            COOKIE, self.cookie(), max_age=_KEPT, httponly=True, samesite="Strict", secure=secure
        )
        return response


def check_origin(request: Request, *, is_page: bool) -> None:
    """Refuse what a page of another site made a browser send.

    Raises: RequestError with 403.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    foreign = site not in ("none", "same-origin")
    if request.method in _SAFE:
        if foreign and not is_page:
            raise RequestError("another site may not load this; open it by itself", 403)
        return
    origin = request.headers.get("Origin")
    if foreign or (origin is not None and not _is_own(origin, request.headers.get("Host", ""))):
        raise RequestError("another site may not change anything here", 403)


def require_strong(token: str) -> str:
    """Return a token without blanks around it.

    Raises: ClipsearchError for one that is short or cannot travel in a header.
    """
    found = token.strip()
    if len(found) < SHORTEST_TOKEN or not found.isascii() or not found.isprintable():
        raise ClipsearchError(
            f"the token must have at least {SHORTEST_TOKEN} printable ASCII characters; "
            "`openssl rand -hex 16` makes one"
        )
    if " " in found:
        raise ClipsearchError("the token has a blank in it; choose one without")
    return found


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server at `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def trusted_name(text: str) -> str:
    """Return a name or address as Host headers have it, without the port and the brackets.

    Raises: ClipsearchError for what is neither.
    """
    given = text.strip()
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        name = host_name(given)
    if not name or not set("/@?# ").isdisjoint(name):
        raise ClipsearchError(
            f"{text!r} is no name of a host; give --trusted-host one like photos.example"
        )
    return str(ipaddress.ip_address(name)) if _is_address(name) else name


def host_name(host: str) -> str:
    """Return the name or address in a Host header, lower case, without port; `''` if broken."""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        return name.lower() if bracket and _is_port(rest) else ""
    name, colon, port = host.partition(":")
    return name.lower() if not colon or _is_port(f":{port}") else ""


def _key_of_body(request: Request) -> str:
    try:
        found = _KEY.search(request.get_data())
        key = json.loads(found[1]) if found else ""
    except (HTTPException, ValueError, OSError):
        return ""
    return key if isinstance(key, str) else ""


def _is_port(text: str) -> bool:
    return not text or (text[0] == ":" and text[1:].isascii() and text[1:].isdigit())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_own(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
