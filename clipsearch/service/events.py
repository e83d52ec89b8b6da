"""News for open pages, as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from clipsearch.errors import ClipsearchError
from clipsearch.service.errors import RequestError
from clipsearch.service.schemas import dumps

MOST_STREAMS = 6
"""Each holds a thread of the server while it lasts; the server has that many more."""

BREATH = 1.0  # seconds between looks at the library
HEARTBEAT = 5.0  # seconds without news after which a line shows whether anyone still listens
LONGEST = 600.0  # seconds; browsers come back by themselves


@dataclass(slots=True, eq=False)
class _Stream:
    """News that one listener has not heard yet: the last of each kind and id only."""

    news: dict[str, tuple[str, Any]] = field(default_factory=dict)
    told: threading.Condition = field(default_factory=threading.Condition)


class Events:
    """Listeners and what to tell them; a slow one misses steps and never the last."""

    def __init__(self, revision: Callable[[], Any]) -> None:
        self._revision = revision
        self._streams: list[_Stream] = []
        self._lock = threading.Lock()
        self._ending = False

    def tell(self, kind: str, key: object, data: Any) -> None:
        """Tell all listeners; news of the same kind and key replaces what they have not heard."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            with stream.told:
                stream.news[f"{kind} {key}"] = (kind, data)
                stream.told.notify()

    def listen(self, first: dict[str, list[Any]], gone: Callable[[], bool]) -> Iterator[str]:
        """Return the text of a stream: `first`, then all that is told and every new revision.

        It ends when the client is `gone`, as far as the server notices.

        Raises: RequestError with 503 where too many listen already.
        """
        stream = _Stream()
        with self._lock:
            if self._ending or len(self._streams) >= MOST_STREAMS:
                raise RequestError("too many pages listen to events; ask /api/jobs instead", 503)
            self._streams.append(stream)
        return _Closing(self._lines(first, stream, gone), lambda: self._leave(stream))

    def close(self) -> None:
        """End all streams."""
        with self._lock:
            self._ending = True
            streams = list(self._streams)
        for stream in streams:
            with stream.told:
                stream.told.notify()

    def __len__(self) -> int:
        return len(self._streams)

    def _leave(self, stream: _Stream) -> None:
        with self._lock:
            if stream in self._streams:
                self._streams.remove(stream)

    def _lines(
        self, first: dict[str, list[Any]], stream: _Stream, gone: Callable[[], bool]
    ) -> Generator[str, None, None]:
        yield "retry: 2000\n\n"
        for kind, items in first.items():
            for item in items:
                yield _line(kind, item)
        yield from self._news(stream, gone)

    def _news(self, stream: _Stream, gone: Callable[[], bool]) -> Iterator[str]:
        opened = spoke = time.monotonic()
        seen: Any = None
        while not self._ending and time.monotonic() - opened < LONGEST:
            with stream.told:
                if not stream.news:
                    stream.told.wait(BREATH)
                news, stream.news = stream.news, {}
            if gone():
                return
            lines = [_line(kind, data) for kind, data in news.values()]
            try:
                now = self._revision()
            except ClipsearchError:  # the catalogue is busy: it will be asked again in a moment
                now = seen
            if now != seen:
                lines.append(_line("library", asdict(now)))
                seen = now
            if not lines and time.monotonic() - spoke > HEARTBEAT:
                lines.append(": still here\n\n")
            if lines:
                spoke = time.monotonic()
                yield "".join(lines)


class _Closing:
    """A stream that gives its place back even if nobody ever starts it."""

    def __init__(self, lines: Generator[str, None, None], leave: Callable[[], None]) -> None:
        self._lines = lines
        self._leave = leave

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._lines)

    def close(self) -> None:
        """Leave; WSGI servers call this when a client has gone."""
        self._lines.close()
        self._leave()


def _line(kind: str, data: Any) -> str:
    return f"event: {kind}\ndata: {dumps(data)}\n\n"
