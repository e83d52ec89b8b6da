"""Connections with an end: to the time that they take, to their number, to what they pile up.

Waitress reads all requests in one loop and lends a thread only to one that is complete, so that
slow clients cost no threads. It closes connections that say nothing at all, though, and knows
neither those that say a byte now and then nor those that never read their answer; and where its
limit is reached it lets new ones wait without a word. Here each request and each answer must
move at a pace (as mod_reqtimeout of Apache asks for), and where there is no room for a new
connection, the one that waits longest makes room.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask

from clipsearch.service.security import HEADERS

MOST = 200
"""Connections at a time."""

IDLE = 60.0
"""Seconds that a connection may wait for its next request."""

GRACE = 20.0
"""Seconds for the head of a request, for the first bytes of its body and of its answer."""

PACE = 2000.0
"""Bytes a second that a body, or an answer, must move at beyond that."""

BREATH = 0.1  # seconds without new connections where the system has no more files to give
_WEIGHED = 8 << 20  # bytes that may come between two looks at how much has piled up

_SENTENCES = {
    400: "the request is not HTTP that can be read; correct it",
    408: "the request came too slowly; send it again",
    413: "the request is larger than this server takes; send a smaller image",
    431: "the head of the request is too large; shorten the address and the headers",
    500: "the server failed at this request; its log says more",
    501: "only chunked is understood as Transfer-Encoding; leave it out",
    503: "too many connections are open; try again soon",
}


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """A request on its way in; `began` is when its first byte came."""

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = monotonic()

    def parse_header(self, header_plus: bytes) -> None:
        """Read the head; refuse one whose end two readers could see at two places.

        Raises: ParsingError (RFC 9112, sections 6.1 and 6.3).
        """
        super().parse_header(header_plus)
        is_ambiguous = self.chunked and "CONTENT_LENGTH" in self.headers
        if is_ambiguous or "TRANSFER_ENCODING" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding do not go together")


class Refusal(ErrorTask):  # type: ignore[misc]
    """What waitress itself refuses, in the shape of all errors."""

    def execute(self) -> None:
        """Write the answer."""
        code = self.request.error.code
        body = _body(code)
        self.status = _status(code)
        self.response_headers += [("Content-Type", "application/json"), *HEADERS.items()]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection, which knows since when it keeps the server waiting."""

    parser_class = Parser
    error_task_class = Refusal
    request: Parser | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        self.moved = monotonic()
        """When something came or went last."""
        self._has_spoken = False
        self._sent = 0
        self._sending: tuple[float, int] | None = None
        super().__init__(*args, **options)

    def received(self, data: bytes) -> Any:
        """Take what came in."""
        self.moved, self._has_spoken = monotonic(), True
        found = super().received(data)
        self.server.weigh(len(data))
        return found

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what the system takes now; return how many bytes that were."""
        count: int = super().send(data, do_close)
        if count:
            self.moved = monotonic()
            self._sent += count
        return count

    def handle_close(self) -> None:
        """Close, and drop what had come of a request: it may be a large file."""
        super().handle_close()
        # A client may go in the middle of being told to continue: the lock is ours then.
        if self.requests_lock.acquire(blocking=False):
            half, self.request = self.request, None
            self.requests_lock.release()
            if half is not None:
                half.close()

    def close(self) -> None:
        """Close at the end of the server, with what nobody will answer any more."""
        self.handle_close()
        for request in self.requests:
            request.close()

    def is_waiting(self) -> bool:
        """Tell whether the client is to say something: nothing is being worked out or sent."""
        return not self.requests and not self.total_outbufs_len

    def waits_since(self) -> float:
        """Return since when the server waits for the rest of a request, or for a new one."""
        request = self.request
        return self.moved if request is None else min(request.began, self.moved)

    def weight(self) -> int:
        """Return the bytes that have come of a request which is not complete yet."""
        request = self.request
        return 0 if request is None else int(request.body_bytes_received)

    def is_overdue(self, now: float) -> bool:
        """Tell whether the client was slower than anybody has to be."""
        request = self.request
        if not self.total_outbufs_len:
            self._sending = None
        elif self._sending is None:
            self._sending = (now, self._sent)
        else:
            since, sent = self._sending
            return now - since > GRACE + (self._sent - sent) / PACE
        if self.requests:
            if request is not None:
                request.began = now  # it is we who let it wait
            return False
        if request is None:
            return now - self.moved > (IDLE if self._has_spoken else GRACE)
        return bool(now - request.began > GRACE + request.body_bytes_received / PACE)

    def turn_away(self, code: int) -> None:
        """Say why, as far as the client still listens, and close."""
        if self.is_waiting():
            body = _body(code)
            head = (
                f"HTTP/1.1 {_status(code)}\r\nConnection: close\r\nRetry-After: 5\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            with suppress(OSError):
                self.socket.send(head.encode("ascii") + body)
        self.handle_close()


class Listener(TcpWSGIServer):  # type: ignore[misc]
    """Accepts connections, and ends those that take too much.

    `most_bytes` are those of all requests together that have begun to come.
    """

    channel_class = Channel
    most_bytes = 1 << 28
    _resumes = 0.0
    _looks = 0.0
    _came = 0

    def readable(self) -> bool:
        """Tell whether to accept connections now; `sweep` does the rest of what waitress does."""
        return bool(self.accepting) and monotonic() >= self._resumes

    def handle_accept(self) -> None:
        """Accept one connection, and end another one where there are too many."""
        try:
            accepted = self.accept()
        except OSError:  # no more files, or no more memory
            self._resumes = monotonic() + BREATH
            self._make_room()
            return
        if accepted is None:
            return
        connection, address = accepted
        try:
            self.set_socket_options(connection)
        except OSError:
            connection.close()
            return
        new = self.channel_class(self, connection, address, self.adj, map=self._map)
        if len(self.active_channels) > MOST and not self._make_room(new):
            new.turn_away(503)

    def handle_error(self) -> None:
        """Go on after what is no fault of the listener, such as a lack of memory."""
        self._resumes = monotonic() + BREATH
        self.logger.exception("a connection could not be accepted")

    def sweep(self) -> None:
        """End what is overdue; cheap enough for every turn of the loop."""
        now = monotonic()
        if now < self._looks:
            return
        self._looks = now + 0.5
        for channel in list(self.active_channels.values()):
            if channel.is_overdue(now):
                channel.turn_away(408)

    def weigh(self, count: int) -> None:
        """Hear that bytes came, and now and then end the largest where too many pile up."""
        self._came += count
        if self._came < _WEIGHED:
            return
        self._came = 0
        weights = {channel: channel.weight() for channel in list(self.active_channels.values())}
        while sum(weights.values()) > self.most_bytes:
            largest = max(weights, key=lambda channel: weights[channel])
            del weights[largest]
            largest.turn_away(503)

    def _make_room(self, new: Channel | None = None) -> bool:
        """End the connection that waits longest, first of the address that has the most."""
        channels = list(self.active_channels.values())
        waiting = [each for each in channels if each is not new and each.is_waiting()]
        if not waiting:
            return False
        shares = Counter(each.addr[0] for each in channels)
        last = max(waiting, key=lambda each: (shares[each.addr[0]], -each.waits_since()))
        last.turn_away(503 if last.request is not None else 408)
        return True


def _status(code: int) -> str:
    return f"{code} {HTTPStatus(code).phrase}"


def _body(code: int) -> bytes:
    sentence = _SENTENCES.get(code, HTTPStatus(code).phrase.lower())
    return json.dumps({"ok": False, "error": sentence, "status": code}).encode("ascii")
