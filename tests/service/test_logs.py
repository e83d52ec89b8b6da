"""What a server writes: one printable line an event, and never what lets somebody in."""

from __future__ import annotations

import http.client
import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.library.serving import ServedLibrary
from clipsearch.service import logs
from clipsearch.service.sessions import Sessions
from tests.service.conftest import TOKEN
from tests.service.test_connections import ending

EVIL = "\r\nclipsearch: error: forged\x1b[31m\x07\u2028\u202egpj\x85\x00\N{DEVANAGARI DIGIT ONE}"

SERVE = """
import sys, threading
from pathlib import Path
from clipsearch.library.serving import ServedLibrary
from clipsearch.service import logs
from clipsearch.service.server import Server
from tests.fakes import ColourEmbedder

token = Path(sys.argv[2]).read_text()
logs.start("debug", [token])

class Breaks(ColourEmbedder):
    def texts(self, texts):
        if any("break" in text for text in texts):
            raise RuntimeError(f"cannot embed {texts} with api_key={token} Bearer {token}")
        return super().texts(texts)

with ServedLibrary(sys.argv[1], Breaks()) as library:
    with Server(library, threads=4, token=token, max_upload=2_000_000) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        print(server.port, flush=True)
        sys.stdin.read()
        server.stop()
        thread.join()
"""


@contextmanager
def serving(folder: Path, secret: Path, told: list[str]) -> Iterator[int]:
    """Serve a library in a process of its own that writes all it can; `told` is what it wrote."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder), str(secret)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    err = process.stderr
    reader = threading.Thread(target=lambda: told.extend(err.read().split("\n")))
    reader.start()
    try:
        yield int(process.stdout.readline())
    finally:
        out, _ = process.communicate(timeout=60)
        reader.join(30)
        told.extend(out.split("\n"))


def everything(port: int, token: str, cookie: str) -> list[tuple[int, str]]:
    """Send requests of every kind with every secret in every place; return what came back."""
    answers = []
    shown: list[dict[str, str]] = [
        {"Authorization": f"Bearer {token}"},
        {"Cookie": f"clipsearch={cookie}"},
        {"Authorization": f"Bearer {token}x", "Cookie": f"clipsearch={cookie}x"},
    ]
    packed = quote(token, safe="")
    addresses = [
        *("/", "/api/status", "/api/search?q=red", "/api/search?q=break", "/metrics", "/health"),
        *("/openapi.json", "/nowhere", f"/api/search?q={packed}", f"/{packed}?token={packed}"),
        *(f"/?token={packed}", f"/?token={packed}x", f"/api/status?api_key={packed}"),
        *(f"/api/photos/{quote(EVIL)}", f"/{quote(EVIL)}?q={quote(EVIL)}", "/api/export?to=csv"),
        *("/api/photos/1/original", "/api/photos/1/thumbnail", "/static/app.js", "/login"),
    ]
    posts: list[tuple[str, str, bytes]] = [
        ("/login", "application/x-www-form-urlencoded", f"token={packed}".encode()),
        ("/login", "application/x-www-form-urlencoded", f"token={packed}x".encode()),
        (f"/clip/embed_text?api_key={packed}", "application/json", b'{"text": "break"}'),
        (f"/clip/embed_text?api_key={packed}x", "application/json", b'{"text": "break"}'),
        ("/clip/embed_text", "application/json", json.dumps(
            {"text": "break", "api_key": token}).encode()),
        ("/clip/embed_text", "application/json", b'{"api_key": "' + token.encode()),
        ("/v1/embeddings", "application/json", json.dumps(
            {"input": token, "model": "x"}).encode()),
        ("/api/search", "multipart/form-data; boundary=b",
         f'--b\r\nContent-Disposition: form-data; name="image"; filename="{token}\x1b"\r\n\r\n'
         "x\r\n--b--\r\n".encode()),
        ("/api/saved", "application/json", json.dumps(
            {"name": "break", "query": "break"}).encode()),
        ("/logout", "text/plain", b""),
    ]  # fmt: skip
    for headers in shown:
        for address, kind, body in [*((each, "", b"") for each in addresses), *posts]:
            extra = {"Content-Type": kind, "User-Agent": "a\x85\x9b2J\xad", "Referer": f"/?{token}"}
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST" if kind else "GET", address, body or None, headers | extra)
            answer = connection.getresponse()
            text = answer.read().decode("latin-1")
            answers.append((answer.status, text))
            connection.close()
    for raw in (
        f"GET /?token={token} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nx\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {token}\x1b[2J\r\n\r\n",
        f"GET /{token} HTTP/1.1\nAuthorization: {token}\r\n\r\n",
        f"POST /clip/x?api_key={token} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{token[:3]}",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as own:
            own.sendall(raw.encode())
            own.shutdown(socket.SHUT_WR)
            answers.append((0, ending(own).decode("latin-1")))
    return answers


def test_no_secret_is_ever_written_and_each_event_is_one_line(
    served: ServedLibrary, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    cookie = Sessions(TOKEN).cookie()
    mac = cookie.rpartition(".")[2]
    told: list[str] = []
    with serving(served.folder, secret, told) as port:
        answers = everything(port, TOKEN, cookie)
        note = (served.folder / "server.json").read_text()
    assert {200, 400, 401, 404, 500} <= {status for status, _ in answers}
    for status, text in answers:
        if not (status == 200 and '"query"' in text):  # a search says what was searched for
            assert TOKEN not in text, (status, text)
        assert mac not in text
        assert "Traceback" not in text
    lines = [line for line in told if line]
    assert len([line for line in lines if "RuntimeError" in line]) >= 3
    assert len(lines) >= len(answers) / 2
    for line in lines:
        assert line.startswith("clipsearch: "), line
        assert line.isprintable(), line
        assert TOKEN not in line, line
        assert mac not in line, line
        assert not line.startswith("clipsearch: error: forged"), line
    assert TOKEN not in note
    for path in served.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
            assert mac.encode() not in path.read_bytes(), path


def written(*arguments: Any, secrets: tuple[str, ...] = (), error: Exception | None = None) -> str:
    """Return what is written of one event."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.Lines(secrets))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.error(*arguments, exc_info=error)
    return stream.getvalue()


@given(st.text(), st.text())
def test_any_text_is_one_printable_line(text: str, path: str) -> None:
    error = ValueError(text)
    error.__cause__ = OSError(path)
    line = written("a request for %s failed", path, error=error)
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    assert "ValueError" in line or len(path) > 1000


@pytest.mark.parametrize(
    "text",
    [
        "GET /clip/x?api_key=hunter2hunter2hh&q=red",
        "GET /?token=hunter2hunter2hh",
        '{"api_key": "hunter2hunter2hh"}',
        "{'Authorization': 'Bearer hunter2hunter2hh'}",
        "Authorization: bearer   hunter2hunter2hh",
    ],
)
def test_what_looks_like_a_secret_is_not_written(text: str) -> None:
    line = written("%s", text)
    assert "hunter2" not in line
    assert "[secret]" in line
    assert "hunter2" not in written("it was %s", "hunter2/+hunter2", secrets=("hunter2/+hunter2",))


def test_causes_and_places_of_an_error_are_told() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise RuntimeError("outer") from inner
    except RuntimeError as error:
        line = written("failed", error=error)
    assert "RuntimeError: outer [" in line
    assert "because of KeyError: 'inner' [" in line
    assert "test_logs.py:" in line


def test_command_writes_a_line_for_each_request_if_asked(served: ServedLibrary) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "clipsearch", "serve", "--library", str(served.folder)),
            *("--port", "0", "--log", "info"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[1]
        with urllib.request.urlopen(f"{url}health?challenge=abc") as answer:  # noqa: S310
            answer.read()
        line = process.stderr.readline()
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=30)
        process.kill()
    assert "127.0.0.1 GET /health 200" in line
    assert "abc" not in line
