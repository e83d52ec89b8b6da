"""Who may ask: trusted host names, tokens, and writes from our own page only.

A page of another site can make a browser send requests to this machine. It cannot read the
answers (there is no CORS), it cannot write (Origin and Sec-Fetch-Site are checked), and a name
that it points at this machine (DNS rebinding) is not among the trusted hosts.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask import Request, Response
from werkzeug.exceptions import HTTPException

from clipsearch.errors import ClipsearchError
from clipsearch.service.attempts import Attempts
from clipsearch.service.errors import RequestError
from clipsearch.service.sessions import LASTS, Sessions

COOKIE = "clipsearch"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SHORTEST_TOKEN = 16
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

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
    attempts: Attempts = field(default_factory=Attempts)
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sessions", Sessions(self.token or ""))

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

        Raises: RequestError with 401, or with 429 after too many wrong ones.
        """
        if self.token is None or self.is_logged_in(request):
            return
        address, wrong = request.remote_addr, set[str]()
        for way in (_bearer, _key_of_address, _key_of_body):
            if way is _key_of_body and _may_hold_key(request):
                self.attempts.require(address)  # before it is read
            if shown := way(request):
                if not wrong:
                    self.attempts.require(address)
                if _equal(shown, self.token):
                    self.attempts.right(address)
                    return
                wrong.add(shown)
        for _ in wrong:
            self.attempts.wrong(address)
        raise RequestError(
            "this server needs its token: Authorization: Bearer TOKEN, or log in at /login", 401
        )

    def is_token(self, text: str, address: str | None) -> bool:
        """Tell whether what somebody at an address shows is the token, and count if it is not.

        The comparison takes a time that does not tell how much of it is right.

        Raises: RequestError with 429 after too many wrong ones.
        """
        if self.token is None:
            return False
        self.attempts.require(address)
        if _equal(text, self.token):
            self.attempts.right(address)
            return True
        if text:
            self.attempts.wrong(address)
        return False

    def is_logged_in(self, request: Request) -> bool:
        """Tell whether a request has a cookie that we gave out for this token."""
        return self.token is not None and self.sessions.is_open(request.cookies.get(COOKIE, ""))

    def let_in(self, request: Request, response: Response, cookie: str | None = None) -> Response:
        """Give a browser a cookie, a new one unless it is told which, so that pictures load too."""
        # Behind a proxy with HTTPS the request itself comes as plain HTTP.
        secure = (
            request.is_secure
            or request.headers.get("Origin", "").lower().startswith("https:")
            or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
        )
        response.set_cookie(
            COOKIE,
            cookie or self.sessions.cookie(),
            max_age=LASTS,
            httponly=True,
            samesite="Strict",
            secure=secure,
        )
        return response

    def renew(self, request: Request, response: Response) -> Response:
        """Give a browser that comes often a new cookie before its own ends."""
        cookie = request.cookies.get(COOKIE, "")
        if self.token and self.sessions.is_ageing(cookie):
            return self.let_in(request, response, self.sessions.renewed(cookie))
        return response

    def let_out(self, request: Request, response: Response) -> Response:
        """End the cookie of a browser, here and there."""
        if self.token is not None:
            self.sessions.end(request.cookies.get(COOKIE, ""))
        response.delete_cookie(COOKIE, httponly=True, samesite="Strict")
        return response


def check_origin(request: Request, *, is_page: bool) -> None:
    """Refuse what a page of another site made a browser send.

    Raises: RequestError with 403.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    foreign = site not in ("none", "same-origin")
    if request.method in _SAFE:
        # A page is for looking at: as a picture, it could be asked for with wrong tokens.
        is_looked_at = request.headers.get("Sec-Fetch-Dest", "document") == "document"
        if foreign and not (is_page and is_looked_at):
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


def _bearer(request: Request) -> str:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _key_of_address(request: Request) -> str:
    return request.args.get("api_key", "") if request.path.startswith("/clip/") else ""


def _may_hold_key(request: Request) -> bool:
    is_json = request.mimetype == "application/json"
    return is_json and request.path.startswith("/clip/")


def _key_of_body(request: Request) -> str:
    if not _may_hold_key(request):
        return ""
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
