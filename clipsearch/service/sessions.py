"""Browsers that are logged in: cookies that end by themselves, and by logging out.

A cookie holds the time of its end, a number of its own and an HMAC of both under a key that is
made from the token. The server keeps no list of them, so they outlive its restart, and a new
token ends them all. The numbers of those that were logged out are remembered while it runs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property

LASTS = 30 * 24 * 3600
"""Seconds that a browser stays logged in; the page renews a cookie that is half as old."""

REMEMBERED = 4096
"""Cookies that were logged out; with more, the oldest are forgotten."""

_ROUNDS = 100_000  # so that who finds a cookie cannot try out many tokens
_COOKIE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")


class Sessions:
    """The cookies of one token."""

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def cookie(self) -> str:
        """Return a new cookie: it proves that its owner knew the token, and does not tell it."""
        return self._made(secrets.token_hex(16))

    def renewed(self, cookie: str) -> str:
        """Return an open cookie with a later end; logging out ends both."""
        return self._made(cookie.split(".")[1])

    def is_open(self, cookie: str) -> bool:
        """Tell whether a cookie was made here and has not ended."""
        return self._left(cookie) > 0

    def is_ageing(self, cookie: str) -> bool:
        """Tell whether it is time to give the browser a new one."""
        return 0 < self._left(cookie) < LASTS / 2

    def end(self, cookie: str) -> None:
        """Log a browser out: whoever has a copy of its cookie, too."""
        if not self.is_open(cookie):
            return
        number = cookie.split(".")[1]
        with self._lock:
            self._ended[number] = None
            while len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)

    def _made(self, number: str) -> str:
        end = int(self._clock()) + LASTS
        return f"{end}.{number}.{self._mac(end, number)}"

    @cached_property
    def _key(self) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", self._token.encode(), b"clipsearch cookie", _ROUNDS)

    def _mac(self, end: int, number: str) -> str:
        return hmac.new(self._key, f"{end}.{number}".encode(), hashlib.sha256).hexdigest()

    def _left(self, cookie: str) -> float:
        """Return the seconds that a cookie still holds for; none if it is not ours."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return 0.0
        end, number, mac = int(found[1]), found[2], found[3]
        if not hmac.compare_digest(mac, self._mac(end, number)) or number in self._ended:
            return 0.0
        left = end - self._clock()
        # Who has set the clock back for a while must not leave cookies behind that never end.
        return left if left <= LASTS + 3600 else 0.0
