"""Counters in the text format that Prometheus reads (its "Exposition formats", version 0.0.4)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram, in seconds."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Requests by route and status, and how long they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()

    def record(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the rule, never the address, which anybody can make up.

        Methods are made up, too: those that nobody knows count as `other`.
        """
        method = method if method in _METHODS else "other"
        with self._lock:
            self._requests[method, route, status] += 1
            self._buckets[route, bisect_left(BOUNDS, seconds)] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]

    def text(self, gauges: Iterable[tuple[str, str, float]]) -> str:
        """Write all counters, and `gauges` of name, help and value."""
        with self._lock:
            requests, buckets = dict(self._requests), dict(self._buckets)
            seconds = dict(self._seconds)
        lines = [
            "# HELP clipsearch_requests_total Requests answered.",
            "# TYPE clipsearch_requests_total counter",
        ]
        for (method, route, status), count in sorted(requests.items()):
            labels = f'method="{method}",route="{_escaped(route)}",status="{status}"'
            lines.append(f"clipsearch_requests_total{{{labels}}} {count}")
        lines += [
            "# HELP clipsearch_request_seconds Time to answer, without sending.",
            "# TYPE clipsearch_request_seconds histogram",
        ]
        for route, total in sorted(seconds.items()):
            name, count = _escaped(route), 0
            for place, bound in enumerate((*BOUNDS, "+Inf")):
                count += buckets.get((route, place), 0)
                lines.append(
                    f'clipsearch_request_seconds_bucket{{route="{name}",le="{bound}"}} {count}'
                )
            lines.append(f'clipsearch_request_seconds_sum{{route="{name}"}} {total:.6f}')
            lines.append(f'clipsearch_request_seconds_count{{route="{name}"}} {count}')
        for name, about, value in gauges:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge", f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
