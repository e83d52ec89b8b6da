"""Clients that ask a server everything, check each answer, break off and make mistakes.

The library that they know: `FIXED` pictures of each colour of `NAMES`, called `red-fixed-1.jpg`,
which stay as they are whatever else comes and goes.
"""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from PIL import Image

from tests.fakes import COLOURS

NAMES = ("red", "green", "blue", "yellow", "white", "black")
FIXED = 20  # photos of each colour that stay as they are
TOKEN = "a-token-for-the-soak-0123456789"  # noqa: S105 - of this run


@dataclass
class Tally:
    """What the clients saw."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


class Client:
    """One client with a connection of its own; each kind of question checks its answer."""

    def __init__(self, port: int, ids: list[int], number: int, tally: Tally) -> None:
        self.port, self.ids, self.tally = port, ids, tally
        self.dice = random.Random(number)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.kinds: list[Callable[[], None]] = [
            *(self.search, self.search, self.search, self.filter, self.thumbnail, self.thumbnail),
            *(self.original, self.upload, self.captions, self.tag, self.facets, self.mistake),
            *(self.listen, self.abort, self.stranger),
        ]

    def run(self, until: float) -> None:
        """Ask until it is time."""
        while time.monotonic() < until:
            kind = self.dice.choice(self.kinds)
            began = time.perf_counter()
            try:
                kind()
                failure = ""
            except (AssertionError, OSError, http.client.HTTPException, ValueError) as error:
                failure = f"{kind.__name__}: {type(error).__name__}: {error}"[:300]
                self.connection.close()
            with self.tally.lock:
                self.tally.kinds[kind.__name__] += 1
                self.tally.failures.extend([failure] if failure else [])
                if kind not in (self.listen, self.abort):
                    self.tally.times.append(time.perf_counter() - began)
        self.connection.close()

    def ask(
        self, method: str, address: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Send one request with the token; return status and body."""
        shown = {"Authorization": f"Bearer {TOKEN}", **headers}
        self.connection.request(method, address, body, shown)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def ask_json(self, method: str, address: str, document: Any = None) -> Any:
        """Send an object; return the one that comes back, which must be a success."""
        body = None if document is None else json.dumps(document).encode()
        status, found = self.ask(method, address, body, **{"Content-Type": "application/json"})
        require(status == 200, f"{method} {address}: {status} {found[:200]!r}")
        return json.loads(found)

    def search(self) -> None:
        colour, k = self.dice.choice(NAMES), self.dice.randint(1, 60)
        unheard = f" {self.dice.randrange(10**6)}" if self.dice.random() < 0.3 else ""
        found = self.ask_json("GET", f"/api/search?k={k}&q={quote(colour + unheard)}")
        names = [hit["name"].split("-")[0] for hit in found["hits"]]
        scores = [hit["score"] for hit in found["hits"]]
        require(names[: min(k, FIXED)] == [colour] * min(k, FIXED), f"{colour}: {names}")
        require(scores == sorted(scores, reverse=True), f"{colour}: {scores}")

    def filter(self) -> None:
        colour = self.dice.choice(NAMES)
        found = self.ask_json("GET", f"/api/search?k=1000&q=name:{colour}-fixed*")
        require(found["total"] == FIXED, f"{colour}: {found['total']} of {FIXED}")

    def thumbnail(self) -> None:
        size = self.dice.choice(("160", "360"))
        photo = self.dice.choice(self.ids)
        status, data = self.ask("GET", f"/api/photos/{photo}/thumbnail?size={size}")
        require(
            status == 200 and data[8:12] == b"WEBP", f"thumbnail {photo}: {status} {data[:99]!r}"
        )

    def original(self) -> None:
        status, data = self.ask("GET", f"/api/photos/{self.dice.choice(self.ids)}/original")
        require(status == 200 and data[:2] == b"\xff\xd8", f"original: {status} {data[:99]!r}")

    def upload(self) -> None:
        colour = self.dice.choice(NAMES)
        form, kind = picture(colour, self.dice)
        status, data = self.ask("POST", "/api/search", form, **{"Content-Type": kind})
        require(status == 200, f"upload: {status} {data[:200]!r}")
        first = json.loads(data)["hits"][0]["name"]
        require(first.startswith(colour), f"upload of {colour}: {first}")

    def captions(self) -> None:
        wanted = {"photo": self.dice.choice(self.ids), "texts": list(NAMES)}
        name = self.ask_json("GET", f"/api/photos/{wanted['photo']}")["name"]
        best = self.ask_json("POST", "/api/captions", wanted)["captions"][0]["text"]
        require(name.startswith(best), f"{name} is {best}")

    def tag(self) -> None:
        photo, tag = self.dice.choice(self.ids), f"tag {self.dice.randrange(50)}"
        found = self.ask_json("POST", f"/api/photos/{photo}/tags", {"add": [tag]})
        require(tag in {each["label"] for each in found["tags"]}, f"{tag} of {photo}: {found}")
        self.ask_json("POST", f"/api/photos/{photo}/tags", {"reset": [tag]})

    def facets(self) -> None:
        found = self.ask_json("GET", "/api/facets")
        require(found["photos"] >= FIXED * len(NAMES), f"facets: {found['photos']}")

    def mistake(self) -> None:
        address, wanted = self.dice.choice(
            (("/nowhere", 404), ("/api/search?q=a:b", 400), ("/api/photos/99999999", 404))
        )
        status, data = self.ask("GET", address)
        require(status == wanted and json.loads(data)["ok"] is False, f"{address}: {status}")

    def stranger(self) -> None:
        other = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        other.request("GET", "/api/status", headers={"Authorization": "Bearer wrong"})
        answer = other.getresponse()
        answer.read()
        other.close()
        require(answer.status in (401, 429), f"a stranger: {answer.status}")

    def listen(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as own:
            own.sendall(
                b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
            )
            first = own.recv(100)
        require(first[9:12] in (b"200", b"503"), f"events: {first!r}")  # six listen at a time

    def abort(self) -> None:
        form, kind = picture("red", self.dice)
        head = (
            f"POST /api/search HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(form) + 1_000_000}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as own:
            own.sendall(head.encode() + form + bytes(self.dice.randrange(900_000)))


def picture(colour: str, dice: random.Random) -> tuple[bytes, str]:
    """Return a form with a picture, and its type."""
    buffer = io.BytesIO()
    side = dice.randint(200, 1500)
    Image.new("RGB", (side, side), COLOURS[colour]).save(buffer, "JPEG")
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'
    return head + buffer.getvalue() + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


def require(holds: bool, said: str) -> None:
    """Fail with what was wrong, also where Python leaves assertions out."""
    if not holds:
        raise AssertionError(said)
