"""Addresses, ids and links that want to lead somewhere else, over a real socket."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from clipsearch.library.serving import ServedLibrary
from clipsearch.service import originals
from clipsearch.service.attempts import BURST
from clipsearch.service.errors import RequestError
from tests.service.conftest import TOKEN, Start
from tests.service.test_connections import answered, ending

SECRET = b"\x89PNG\r\n\x1a\n the secret of another folder"


def raw(port: int, address: str, *headers: str) -> tuple[int, bytes]:
    """Send an address as it is: clients would put it in order first."""
    lines = [f"GET {address} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as own:
        own.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        head, _, body = ending(own).partition(b"\r\n\r\n")
    return int(head[9:12]), body


@pytest.mark.parametrize(
    "address",
    [
        *("/static/../templates/index.html", "/static/..%2ftemplates%2findex.html"),
        *("/static/%2e%2e/templates/index.html", "/static/%2e%2e%2ftemplates/index.html"),
        *("/static/..%5ctemplates%5cindex.html", "/static//etc/passwd", "/static/%2fetc%2fpasswd"),
        *("/static/app.js%00.png", "/static/app.js%0d%0aX-Evil:1", "/static/%c0%ae%c0%ae/x.css"),
        *("/../../etc/passwd", "//localhost/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"),
        *("/api/photos/1/../../../etc/passwd", "/api/photos/1%252foriginal", "/api/photos/1%00"),
        *("/api/photos/-1/original", "/api/photos/+1/original", "/api/photos/1.0/original"),
        *("/api/photos/1e0/original", "/api/photos/0x1/original", "/api/photos/%201/original"),
        *("/api/photos/9223372036854775808", f"/api/photos/{'9' * 5000}", "/api/photos/0"),
        *("/api/photos/%EF%BC%91/original", "/api/photos/%D9%A1", "/api/photos/%E0%A5%A7"),
        *("/api/photos/1_0", "/api/photos/1;x=1/original", "/api/photos/../status/x"),
        *("/api/jobs/-1", f"/api/jobs/{2**63}", "/api/jobs/%F0%9D%9F%8F", "/API/status"),
    ],
)
def test_address_leads_nowhere_else(start: Start, address: str) -> None:
    status, body = raw(start().port, address)
    assert status in (400, 404), body[:200]
    assert b"root:" not in body
    assert b"<!doctype" not in body.lower()


def test_header_of_an_answer_cannot_be_forged(start: Start) -> None:
    server = start(token=TOKEN)
    evil = "%0d%0aSet-Cookie:%20clipsearch=evil%0d%0a%0d%0a<script>"
    bearer = f"Authorization: Bearer {TOKEN}"
    for address in (
        f"/?token={TOKEN}&q={evil}",
        f"/{evil}",
        f"/api/search?q={evil}",
        f"/?x={evil}",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as own:
            lines = (
                f"GET {address} HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\nConnection: close\r\n"
            )
            own.sendall(lines.encode() + b"\r\n")
            head = ending(own).partition(b"\r\n\r\n")[0]
        assert b"clipsearch=evil" not in head.replace(b"Location", b"").partition(b"\r\nSet")[2]
        assert head.count(b"HTTP/1.1") == 1


def test_methods_that_nobody_knows_take_no_memory(start: Start) -> None:
    server = start(token=TOKEN)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as own:
        for number in range(20):
            asked = f"EVIL{number} / HTTP/1.1\r\nHost: localhost\r\n\r\n"
            assert answered(own, asked.encode()).startswith(b"HTTP/1.1 401")
    status, text = raw(server.port, "/metrics", f"Authorization: Bearer {TOKEN}")
    assert status == 200
    assert b"EVIL" not in text
    assert b'{method="other",route="none",status="401"} 20' in text


def test_proxy_may_say_that_the_cookie_goes_over_https(start: Start) -> None:
    server = start(token=TOKEN)
    asked = f"GET /?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    for more, wanted in (("", False), ("X-Forwarded-Proto: https\r\n", True)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as own:
            own.sendall(f"{asked}{more}\r\n".encode())
            told = ending(own)
        assert b"Set-Cookie: clipsearch=" in told
        assert (b"; Secure;" in told) is wanted


def test_forged_address_of_a_client_is_not_believed(start: Start) -> None:
    server = start(token=TOKEN)
    seen = [
        raw(
            server.port,
            "/api/status",
            "Authorization: Bearer wrong-wrong-wrong-wrong",
            f"X-Forwarded-For: 192.0.2.{number}",
            f"Forwarded: for=192.0.2.{number}",
            f"X-Real-IP: 192.0.2.{number}",
        )[0]
        for number in range(BURST + 2)
    ]
    assert seen == [401] * BURST + [429] * 2


def test_name_that_points_here_is_refused_whatever_else_is_right(start: Start) -> None:
    server = start(token=TOKEN)
    bearer = f"Authorization: Bearer {TOKEN}"
    for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example", "0"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as own:
            asked = f"GET /api/status HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\nConnection: close"
            own.sendall(f"{asked}\r\n\r\n".encode())
            assert ending(own).startswith(b"HTTP/1.1 403"), host
    status, _ = raw(server.port, "/api/status", "Host: evil.example", bearer)
    assert status == 403  # two names
    status, _ = raw(server.port, "http://evil.example/api/status", bearer)
    assert status in (200, 403)  # an address of a proxy; the name that counts is that of Host


@pytest.mark.parametrize("how", ["link", "folder", "twice", "loop", "proc", "device", "socket"])
def test_photo_that_became_something_else_is_not_sent(
    start: Start,
    ids: dict[str, int],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    file = photos / "holiday" / "red.png"
    secret = tmp_path / "elsewhere" / "red.png"
    secret.parent.mkdir()
    secret.write_bytes(SECRET)
    file.unlink()
    if how == "folder":
        (photos / "holiday").rename(tmp_path / "away")
        (photos / "holiday").symlink_to(secret.parent)
    elif how == "twice":
        (photos / "step").symlink_to(secret)
        file.symlink_to(photos / "step")
    elif how == "socket":
        monkeypatch.chdir(file.parent)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("red.png")
    else:
        odd = {"loop": file, "proc": Path("/proc/self/environ"), "device": Path("/dev/zero")}
        file.symlink_to(odd.get(how, secret))
    server = start()
    for part in ("original", "thumbnail", "thumbnail?size=1440"):
        status, body = raw(server.port, f"/api/photos/{ids['red']}/{part}")
        assert status in (400, 404), (part, body[:200])
        assert json.loads(body)["ok"] is False
        assert b"secret" not in body


@pytest.mark.parametrize("what", ["file", "folder"])
def test_link_that_appears_between_look_and_opening_is_noticed(
    served: ServedLibrary,
    ids: dict[str, int],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    secret = tmp_path / "elsewhere" / "red.png"
    secret.parent.mkdir()
    secret.write_bytes(SECRET)
    photo, roots = served.photo(ids["red"]), served.roots()
    victim = photos / "holiday" / "red.png" if what == "file" else photos / "holiday"
    target = secret if what == "file" else secret.parent
    open_, swaps = os.open, [0]

    def swapped(path: str, *arguments: int, **options: int) -> int:
        """Put the link there for the moment of opening, as an attacker would like to."""
        if not str(path).endswith("red.png"):
            return open_(path, *arguments, **options)
        swaps[0] += 1
        victim.rename(tmp_path / "kept")
        victim.symlink_to(target)
        try:
            return open_(path, *arguments, **options)
        finally:
            victim.unlink()
            (tmp_path / "kept").rename(victim)

    assert originals.kind(photo, roots) == "PNG"
    monkeypatch.setattr("os.open", swapped)
    with pytest.raises(RequestError) as refused:
        originals.kind(photo, roots)
    monkeypatch.undo()
    assert refused.value.status == 404
    assert swaps == [1]
    assert originals.kind(photo, roots) == "PNG"


def test_thumbnail_of_a_photo_that_is_out_of_reach_still_shows(
    start: Start, ids: dict[str, int], photos: Path
) -> None:
    server = start()
    address = f"/api/photos/{ids['red']}/thumbnail"
    assert raw(server.port, address)[0] == 200
    (photos / "holiday").rename(photos.parent / "unplugged")
    status, body = raw(server.port, address)
    assert (status, body[8:12]) == (200, b"WEBP")
    assert raw(server.port, f"/api/photos/{ids['red']}/original")[0] == 404
