"""Requests that are wrong in every way that one can think of, from a seed."""

from __future__ import annotations

import base64
import io
import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from flask.testing import FlaskClient
from PIL import Image

GETS = (
    *("/api/search", "/api/facets", "/api/explain", "/api/complete", "/api/read", "/api/export"),
    *("/api/skipped", "/api/alt-text/proposals", "/api/tag/photos", "/api/photos/1/similar"),
    *("/api/photos/1/thumbnail", "/api/photos/1/original", "/api/status", "/api/runs", "/static/x"),
)
ASKING = (
    *("/api/captions", "/api/classify", "/api/tag/preview", "/clip/embed_text", "/clip/compare"),
    *("/clip/embed_image", "/v1/embeddings", "/api/search"),
)
# All that is sent to these holds a field that they refuse: nothing may change.
CHANGING = (
    *("/api/photos/1/tags", "/api/photos/1/alt-text", "/api/tag", "/api/alt-text/propose"),
    *("/api/index", "/api/saved", "/api/models/use", "/api/runs/1/undo"),
)
POSTS = (*ASKING, *CHANGING)
UPLOADS = ("/api/search", "/api/captions", "/api/classify")
NAMES = (
    *("q", "k", "offset", "sort", "min_relevance", "like", "unlike", "explain", "id", "to"),
    *("size", "tag", "order", "min_margin", "photo", "labels", "texts", "template", "path"),
    *("temperature", "vocabulary", "roots", "name", "query", "add", "text", "image", "input"),
    *("subject", "prompt", "prompt_type", "subject_type", "encoding_format", "dimensions"),
)
TRICKS = (
    *("../../etc/passwd", "/etc/passwd", "./pool.jpg", "~/.ssh/id_rsa", "file:///etc/passwd"),
    *("http://169.254.169.254/", "-1", "0", "1e999", "NaN", "Infinity", "9" * 40, "１２"),
    *("' or 1=1 --", '"', "((((", "tag:", "near:91,0,1km", "before:2019-13", "\0", "\x7f\x1b[2J"),
    *("<script>alert(1)</script>", "%00", "%s%n", "{}", "[]", "null", "\ufffe", "á" * 9000, ""),
    *("[a]\nx" + ".a" * 9000 + " = 1", "[a]\nx = " + "1" * 5000, "[a]\nx = 0x" + "f" * 5000),
    *("image:99999999999999999999", "image:0", "-" * 500, '"' + "a " * 6000, "id:" + "1," * 600),
)
HOSTS = (
    "evil.example",
    "127.0.0.1.evil.example",
    "",
    "localhost:99999999",
    "[::1",
    "\x00",
    "a" * 999,
)


@dataclass(frozen=True)
class Wrong:
    """A request that must be answered, and not with a server error."""

    method: str
    address: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def requests(dice: random.Random, count: int) -> Iterator[Wrong]:
    """Make `count` requests, the same for the same state of the dice."""
    makers = (
        _query,
        _query,
        _json,
        _json,
        _json,
        _broken_json,
        _upload,
        _path,
        _host,
        _method,
        _origin,
    )
    for _ in range(count):
        yield dice.choice(makers)(dice)


def checked(client: FlaskClient, wrong: Wrong) -> int:
    """Send a request and check the answer; returns its status."""
    try:
        answer = client.open(
            wrong.address,
            method=wrong.method,
            data=wrong.body,
            headers=wrong.headers,
            buffered=True,
        )
    except UnicodeError:  # the client itself cannot write such a request down
        return 0
    assert answer.status_code < 500, (wrong, answer.get_data(as_text=True))
    if answer.status_code >= 400:
        body = json.loads(answer.data)
        assert body["ok"] is False, wrong
        assert body["status"] == answer.status_code, wrong
        assert isinstance(body["error"], str), wrong
        assert b"root:" not in answer.data, wrong
    return answer.status_code


def _value(dice: random.Random) -> str:
    if dice.random() < 0.6:
        return dice.choice(TRICKS)
    return "".join(dice.choices(string.printable + "äß€😀\u202e", k=dice.randrange(1, 60)))


def _any(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(10 if depth < 3 else 7)
    if kind < 3:
        return _value(dice)
    if kind < 7:
        odd = (None, True, -1, 0, 2**63, 10**40, 1.5, -0.0, 1e308, "\ud800", 2**31)
        return dice.choice(odd)
    if kind < 9:
        return [_any(dice, depth + 1) for _ in range(dice.randrange(5))]
    return {_value(dice)[:50]: _any(dice, depth + 1) for _ in range(dice.randrange(4))}


def _query(dice: random.Random) -> Wrong:
    pairs = [
        f"{dice.choice((*NAMES, 'nonsense'))}={quote(_value(dice), errors='replace')}"
        for _ in range(dice.randrange(1, 5))
    ]
    if dice.random() < 0.4:  # one thing wrong at a time gets further in
        pairs = [f"q={quote(_value(dice), errors='replace')}"]
    return Wrong("GET", f"{dice.choice(GETS)}?{'&'.join(pairs)}")


def _json(dice: random.Random) -> Wrong:
    body = {dice.choice(NAMES): _any(dice) for _ in range(dice.randrange(1, 5))}
    if dice.random() < 0.5:  # right in part, to get further in
        body |= {"photo": dice.randrange(1, 9), "labels": [_value(dice), _value(dice)]}
    if dice.random() < 0.3:
        body |= {"subject": _value(dice), "subject_type": "text", "prompt": _any(dice)}
    address = dice.choice(POSTS)
    if address in CHANGING:
        body["nonsense"] = 1
    if dice.random() < 0.3:
        body["image"] = {"type": dice.choice(("base64", "url", "numpy", 7)), "value": _value(dice)}
    if dice.random() < 0.3:
        body |= {"model": "x", "input": _any(dice)}
    return Wrong(
        "POST",
        address,
        json.dumps(body).encode("utf-8", "surrogatepass"),
        {"Content-Type": "application/json"},
    )


def _broken_json(dice: random.Random) -> Wrong:
    whole = json.dumps({"nonsense": ["a", "b"], "photo": 1, "x": _value(dice)}).encode()
    body = dice.choice(
        (
            whole[: dice.randrange(1, len(whole))],
            b"\xff\xfe" + whole,
            b"[" * 5000,
            b'{"a":' * 5000,
            b"1" * 5000,
            b"NaN",
            whole + whole,
            dice.randbytes(40),
        )
    )
    kind = dice.choice(("application/json", "text/plain", "application/xml", "", "a/b; charset=x"))
    return Wrong("POST", dice.choice(POSTS), body, {"Content-Type": kind})


def _upload(dice: random.Random) -> Wrong:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(
        buffer, dice.choice(("PNG", "JPEG", "GIF", "WEBP", "TIFF"))
    )
    data = bytearray(buffer.getvalue())
    for _ in range(dice.randrange(1, 12)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    data = data[: dice.randrange(1, len(data))]
    if dice.random() < 0.5:
        packed = base64.b64encode(data).decode()
        body: dict[str, Any] = {
            "image": {"type": "base64", "value": packed[: dice.randrange(len(packed))]}
        }
        if dice.random() < 0.5:
            body = {"model": "x", "input": f"data:image/png;base64,{packed}"}
            return Wrong(
                "POST",
                "/v1/embeddings",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
        return Wrong(
            "POST",
            "/clip/embed_image",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
    head = f'--b\r\nContent-Disposition: form-data; name="{dice.choice(("image", "file"))}"; '
    form = (
        head.encode()
        + b'filename="../../x.jpg"\r\n\r\n'
        + bytes(data)
        + dice.choice((b"\r\n--b--", b"", b"\r\n--b"))
    )
    return Wrong(
        "POST", dice.choice(UPLOADS), form, {"Content-Type": "multipart/form-data; boundary=b"}
    )


def _path(dice: random.Random) -> Wrong:
    parts = (
        "..",
        "%2e%2e",
        "etc",
        "passwd",
        "api",
        "photos",
        "1",
        "original",
        "static",
        "x.js",
        "",
        ".",
        "%00",
        "%ff",
        "9" * 30,
        "~",
        "saved",
        "new",
        "\\",
    )
    address = "/" + "/".join(dice.choices(parts, k=dice.randrange(1, 7)))
    return Wrong("GET", address)


def _host(dice: random.Random) -> Wrong:
    return Wrong(
        "GET",
        dice.choice((*GETS, "/")),
        headers={"Host": dice.choice(HOSTS[:6]).replace("\x00", "x")},
    )


def _method(dice: random.Random) -> Wrong:
    method = dice.choice(("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"))
    return Wrong(method, dice.choice((*GETS, "/")))


def _origin(dice: random.Random) -> Wrong:
    return Wrong(
        "POST",
        dice.choice(POSTS),
        b"{}",
        {
            "Content-Type": "application/json",
            "Origin": dice.choice(("http://evil.example", "null", "x", "http://[", "")),
        },
    )
