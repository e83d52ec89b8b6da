"""Slow, broken and endless clients over real sockets: others are answered all the same."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clipsearch.library.serving import ServedLibrary
from clipsearch.service import connections
from clipsearch.service.server import Server
from tests.service.conftest import TOKEN, Start

HEAD = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; "
FORM = HEAD + b"boundary=b\r\nContent-Length: 900000\r\n\r\n--b\r\n"
STATUS = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients have seconds where they have minutes."""
    monkeypatch.setattr(connections, "GRACE", 1.0)
    monkeypatch.setattr(connections, "IDLE", 2.0)


@pytest.fixture
def opened() -> Iterator[Callable[..., socket.socket]]:
    """Open connections that end with the test: `opened(server, b"GET ")`."""
    sockets: list[socket.socket] = []

    def opened(server: Server, first: bytes = b"") -> socket.socket:
        own = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        sockets.append(own)
        own.sendall(first)
        return own

    yield opened
    for own in sockets:
        own.close()


Opened = Callable[..., socket.socket]


def is_served(server: Server) -> bool:
    """Ask as an honest client does."""
    with urllib.request.urlopen(f"{server.url}api/status", timeout=20) as answer:  # noqa: S310
        return bool(json.load(answer)["photos"] == 6)


def answered(own: socket.socket, request: bytes = STATUS) -> bytes:
    """Send a request, and return the whole answer."""
    own.sendall(request)
    found = b""
    while not (length := re.search(rb"Content-Length: (\d+)", found)) or len(
        found.partition(b"\r\n\r\n")[2]
    ) < int(length[1]):
        part = own.recv(65536)
        if not part:
            break
        found += part
    return found


def ending(own: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection, which it must."""
    parts = []
    try:
        while part := own.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def drip(own: socket.socket, every: float) -> threading.Event:
    """Send a byte now and then until the server has had enough; return what is set then."""
    ended = threading.Event()

    def send() -> None:
        try:
            while not ended.is_set():
                own.sendall(b"a")
                time.sleep(every)
        except OSError:
            ended.set()

    threading.Thread(target=send, daemon=True).start()
    return ended


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is true; the test has failed if it never is."""
    for _ in range(1000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "first",
    [b"GET / HTTP/1.1\r\nX: ", b"", FORM, FORM[:-5] + b"\r\nTransfer-Encoding: chunked\r\n"],
    ids=["head", "nothing", "body", "headers"],
)
def test_client_that_sends_a_byte_now_and_then_is_not_waited_for(
    start: Start, opened: Opened, first: bytes
) -> None:
    server = start()
    slow = [opened(server, first) for _ in range(20)]
    ends = [drip(own, 0.2) for own in slow]
    assert is_served(server)
    for own in slow:
        told = ending(own)
        assert b" 408 " in told.split(b"\r\n")[0] or told == b""
    assert is_served(server)
    wait_for(lambda: len(server._listener.active_channels) == 0)
    for end in ends:
        end.set()


@pytest.mark.usefixtures("impatient")
def test_quick_enough_upload_may_take_longer_than_the_grace(start: Start, opened: Opened) -> None:
    server = start()
    own = opened(server, FORM)
    began = time.monotonic()
    while time.monotonic() < began + 3:  # at 10 kB a second
        own.sendall(bytes(1000))
        time.sleep(0.1)
    assert len(server._listener.active_channels) == 1


@pytest.mark.usefixtures("impatient")
def test_connections_that_say_nothing_end(start: Start, opened: Opened) -> None:
    server = start()
    silent = opened(server)
    kept = opened(server)
    assert answered(kept).startswith(b"HTTP/1.1 200")
    assert b"408" in ending(silent)
    assert answered(kept).startswith(b"HTTP/1.1 200")  # an idle one has longer
    assert b"408" in ending(kept)


@pytest.mark.usefixtures("impatient")
def test_client_that_does_not_read_its_answer_is_dropped(
    start: Start, opened: Opened, photos: Path, ids: dict[str, int]
) -> None:
    file = photos / "holiday" / "red.png"
    file.write_bytes(file.read_bytes() + bytes(30_000_000))
    address = f"GET /api/photos/{ids['red']}/original HTTP/1.1\r\nHost: localhost\r\n\r\n"
    server = start()
    deaf = opened(server, address.encode())
    wait_for(lambda: bool(open_photos()))
    assert is_served(server)
    wait_for(lambda: not open_photos() and not server._listener.active_channels)
    assert len(ending(deaf)) < 30_000_000


def open_photos() -> list[str]:
    """List the pictures that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        found += [target] if target.endswith(".png") else []
    return found


def test_uploads_that_are_broken_off_leave_nothing(
    start: Start, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    server = start(max_upload=2_000_000)
    assert is_served(server)
    threads = threading.active_count()

    def spilled() -> int:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return sum(str(temporary) in str(link.readlink()) for link in links if link.exists())

    own = [opened(server, FORM + bytes(800_000)) for _ in range(10)]
    wait_for(lambda: len(server._listener.active_channels) >= 10)
    for each in own:
        each.close()
    wait_for(lambda: not server._listener.active_channels)
    wait_for(lambda: not spilled())
    assert list(temporary.iterdir()) == []
    assert threading.active_count() <= threads
    assert is_served(server)


def test_500_connections_are_answered_or_refused_and_none_hangs(
    start: Start, opened: Opened
) -> None:
    server = start()
    own = [opened(server) for _ in range(500)]
    wait_for(lambda: len(server._listener.active_channels) <= connections.MOST)
    outcomes: Counter[str] = Counter()
    for each in own:
        each.settimeout(20)
        try:
            first = answered(each)
        except ConnectionError:
            first = b""
        outcomes[first[9:12].decode() or "closed"] += 1
    assert set(outcomes) <= {"200", "408", "503", "closed"}, outcomes
    assert outcomes["200"] >= connections.MOST - 1
    assert is_served(server)


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n", FORM], ids=["idle", "head", "body"])
def test_honest_client_is_served_while_hundreds_hang_around(
    start: Start, opened: Opened, first: bytes
) -> None:
    server = start()
    kept = [opened(server, first) for _ in range(500)]
    for _ in range(5):
        assert is_served(server)
    assert len(server._listener.active_channels) <= connections.MOST
    assert len(kept) == 500


def test_room_is_made_by_the_address_that_takes_most(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST", 10)
    server = start(host="0.0.0.0", token=TOKEN)  # noqa: S104 - to be reached in two ways
    waiting = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    wait_for(lambda: len(server._listener.active_channels) == 1)
    many = [
        socket.create_connection(("127.0.0.1", server.port), 20, source_address=("127.0.0.9", 0))
        for _ in range(30)
    ]
    wait_for(lambda: len(server._listener.active_channels) == 10)
    health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert answered(waiting, health).startswith(b"HTTP/1.1 200")
    for own in (waiting, *many):
        own.close()


def test_new_connection_is_refused_where_all_others_are_at_work(
    start: Start, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST", 3)
    server = start()
    events = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(3):
        assert opened(server, events).recv(100).startswith(b"HTTP/1.1 200")
    told = ending(opened(server))
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After:" in head
    assert json.loads(body)["status"] == 503


def test_uploads_do_not_pile_up_without_end(
    start: Start, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_WEIGHED", 1 << 18)
    server = start(max_upload=1_000_000)
    server._listener.most_bytes = 3_000_000
    for _ in range(10):
        try:
            opened(server, FORM + bytes(850_000))
        except ConnectionError:
            continue
    wait_for(
        lambda: (
            0
            < sum(each.weight() for each in [*server._listener.active_channels.values()])
            <= 3_000_000
        )
    )
    assert is_served(server)


def test_client_that_goes_while_it_is_told_to_continue_stops_nobody(start: Start) -> None:
    server = start()
    asked = FORM.partition(b"\r\n\r\n")[0] + b"\r\nExpect: 100-continue\r\n\r\n"
    for _ in range(50):
        own = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        # Closed with a reset, so that the answer fails while the request is being read.
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        own.sendall(asked)
        own.close()
    assert is_served(server)
    wait_for(lambda: len(server._listener.active_channels) <= 1)


def test_listener_goes_on_where_the_system_has_no_more_files(
    start: Start, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    kept = opened(server)
    wait_for(lambda: len(server._listener.active_channels) == 1)
    accept, refusals = server._listener.accept, [3]

    def fails() -> object:
        if refusals[0]:
            refusals[0] -= 1
            raise OSError(24, "Too many open files")
        return accept()

    monkeypatch.setattr(server._listener, "accept", fails)
    assert is_served(server)
    assert refusals == [0]
    assert b"408" in ending(kept)  # it made room


def test_listener_goes_on_after_a_connection_that_it_cannot_accept(
    start: Start, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    options, failures = server._listener.set_socket_options, [1]

    def fails(own: socket.socket) -> None:
        if failures[0]:
            failures[0] -= 1
            own.close()
            raise MemoryError
        options(own)

    monkeypatch.setattr(server._listener, "set_socket_options", fails)
    assert ending(opened(server)) == b""
    assert failures == [0]
    assert is_served(server)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        # Two readers could find the end of these at two places.
        (
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            b"POST / HTTP/1.0\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"GET / HTTP/1.1\nHost: localhost\n\nGET /api/status HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_in_the_shape_of_all_errors(
    start: Start, opened: Opened, sent: bytes, status: int
) -> None:
    told = ending(opened(start(), sent))
    head, _, body = told.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert re.match(rf"HTTP/1\.[01] {status} ", lines[0]), told
    assert "Content-Type: application/json" in lines
    assert "X-Content-Type-Options: nosniff" in lines
    assert "Connection: close" in lines
    found = json.loads(body)  # one answer, so that nothing was smuggled behind it
    assert (found["ok"], found["status"]) == (False, status)
    assert found["error"]


def test_server_that_stops_leaves_no_connection_and_no_thread(served: ServedLibrary) -> None:
    before = threading.active_count()
    server = Server(served, threads=2)
    with server:
        thread = threading.Thread(target=server.run)
        thread.start()
        own = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(9)]
        assert is_served(server)
        server.stop()
        thread.join(20)
    assert all(ending(each) == b"" for each in own)
    for each in own:
        each.close()
    wait_for(lambda: threading.active_count() <= before)
