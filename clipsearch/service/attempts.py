"""Guesses at the token: counted by address and in all, and slowed down.

Each address has a bucket that a wrong token fills by one and that empties steadily. Where it is
full, what the address shows is not even looked at, so that guesses come no faster than the bucket
empties. Nobody is locked out by the guesses of others: a cookie is never asked for its address,
an address that has shown the right token before is heard whatever else comes from it, and one
without wrong guesses of its own is heard even when all together guess too much. The price: guesses
from an address that has shown the token are counted and not slowed down. Behind a proxy that is
every address, so that there the proxy has to limit them, or the length of the token protects.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from clipsearch.service.errors import RequestError

log = logging.getLogger("clipsearch.service")

BURST = 10
"""Wrong tokens that one address may show before it has to wait."""

EVERY = 6.0
"""Seconds after which it may show one more."""

BURST_OF_ALL = 200
EVERY_OF_ALL = 0.5

REMEMBERED = 4096
"""Addresses whose wrong guesses are counted, and as many that have shown the right token."""

TRUSTED = 24 * 3600.0
"""Seconds for which an address that has shown the right token is always heard."""


@dataclass(slots=True)
class _Bucket:
    """What was poured in and has not run out yet; `every` seconds take one away."""

    every: float
    level: float = 0.0
    at: float = 0.0
    told: bool = False

    def now(self, time: float) -> float:
        self.level = max(0.0, self.level - (time - self.at) / self.every)
        self.at = time
        self.told = self.told and self.level > 0
        return self.level

    def wait(self, time: float, most: int) -> int:
        """Return the seconds until there is room for one more, at least one."""
        return max(1, math.ceil((self.now(time) - (most - 1)) * self.every))


class Attempts:
    """Counts wrong tokens; its memory has an end, however many addresses guess."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._all = _Bucket(EVERY_OF_ALL)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._trusted: OrderedDict[str, float] = OrderedDict()

    def require(self, address: str | None) -> None:
        """Refuse to look at what an address shows that has guessed too often.

        Raises: RequestError with 429.
        """
        key, now = network(address), self._clock()
        with self._lock:
            if self._trusted.get(key, -math.inf) > now - TRUSTED:
                return
            wait = self._wait(key, now)
        if wait:
            raise _too_many(wait)

    def wrong(self, address: str | None) -> None:
        """Count a wrong token.

        Raises: RequestError with 429 where the address has shown too many by now.
        """
        key, now = network(address), self._clock()
        with self._lock:
            wait = self._wait(key, now)
            if not wait:
                bucket = self._buckets.setdefault(key, _Bucket(EVERY))
                self._buckets.move_to_end(key)
                bucket.now(now)
                bucket.level += 1
                self._all.now(now)
                self._all.level = min(self._all.level + 1, float(BURST_OF_ALL))
                while len(self._buckets) > REMEMBERED:
                    self._buckets.popitem(last=False)
                is_news = bucket.level > BURST - 1 and not bucket.told
                bucket.told |= is_news
        if wait:
            raise _too_many(wait)
        if is_news:
            log.warning("%s has shown %d wrong tokens; it has to wait now", key, BURST)

    def right(self, address: str | None) -> None:
        """Remember that an address has shown the right token."""
        key, now = network(address), self._clock()
        with self._lock:
            self._trusted[key] = now
            self._trusted.move_to_end(key)
            while len(self._trusted) > REMEMBERED:
                self._trusted.popitem(last=False)

    def __len__(self) -> int:
        return len(self._buckets) + len(self._trusted)

    def _wait(self, key: str, now: float) -> int:
        own = self._buckets.get(key)
        if own is None or own.now(now) <= 0:
            return 0
        if own.level > BURST - 1:
            return own.wait(now, BURST)
        if self._all.now(now) > BURST_OF_ALL - 1:
            return self._all.wait(now, BURST_OF_ALL)
        return 0


def network(address: str | None) -> str:
    """Return what counts as one address: with IPv6, the 64 bits that a household is given."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _too_many(wait: int) -> RequestError:
    return RequestError(
        f"too many wrong tokens came from this address; try again in {wait} seconds", 429, wait
    )
