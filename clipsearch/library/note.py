"""The note in a library's folder that says where its server listens, and the proof that it does.

A process that died leaves its note behind, and its port may have gone to any other program. The
note therefore holds a nonce that only its owner's user can read, and whoever answers at the
address must show that it knows it, before it is sent a query or a token.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

NAME = "server.json"
PATIENCE = 2.0  # seconds for the proof; a server that is slower than that does not help


@dataclass(frozen=True, slots=True)
class Owner:
    """A server that has proved that it has a library open: its address and the models.

    `model` answers its searches; `active` is the one that the library itself would take.
    """

    host: str
    port: int
    model: str | None
    active: str | None


def proof(nonce: str, challenge: str) -> str:
    """Return the HMAC-SHA256 of a challenge in hexadecimal digits (RFC 2104)."""
    return hmac.new(nonce.encode(), challenge.encode(), hashlib.sha256).hexdigest()


def leave(folder: Path, note: dict[str, Any]) -> None:
    """Write the note of a server; other users cannot read it.

    Raises: OSError.
    """
    status = folder.stat()
    # A copy of the folder is another library, whose note lies.
    text = json.dumps({**note, "folder": [status.st_dev, status.st_ino]})
    partial = folder / f"{NAME}.{secrets.token_hex(8)}.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(folder / NAME)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def take_back(folder: Path, nonce: str) -> None:
    """Remove the note, if it is the one with this nonce.

    Raises: OSError.
    """
    found = _read(folder)
    if found is not None and found.get("nonce") == nonce:
        (folder / NAME).unlink(missing_ok=True)


def is_of(folder: Path, nonce: str, library: str) -> bool:
    """Tell whether the note is the one with this nonce, and about this library."""
    found = _read(folder)
    return found is not None and (found.get("nonce"), found.get("library")) == (nonce, library)


def owner(folder: Path) -> Owner | None:
    """Return the server that has this very folder open, if there is one and it proves it.

    It must listen on this machine alone or for all, so that its note names a loopback address.
    """
    found = _read(folder)
    if found is None:
        return None
    try:
        status = folder.stat()
        address = _address(found["url"])
        is_here = found["folder"] == [status.st_dev, status.st_ino]
        nonce, library = found["nonce"], found["library"]
        if address is None or not is_here or not nonce or not _is_alive(found["pid"]):
            return None
        challenge = secrets.token_hex(16)
        health = get(*address, f"/health?{urlencode({'challenge': challenge})}", PATIENCE)
        if health is None or health["library"] != library:
            return None
        if not hmac.compare_digest(health["proof"].encode(), proof(nonce, challenge).encode()):
            return None
        return Owner(*address, health["model"], health["active_model"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # of another version
        return None


def get(
    host: str, port: int, path: str, timeout: float, *, token: str | None = None
) -> dict[str, Any] | None:
    """Return the object that a server answers, or None where it does not; `timeout` in seconds."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return document if answer.status == 200 and isinstance(document, dict) else None


def _read(folder: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        with (folder / NAME).open(encoding="utf-8") as file:
            # Who else can write into the folder must not lead us to a server of theirs.
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            found = json.load(file)
        return found if isinstance(found, dict) else None
    return None


def _address(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not parts.port or parts.username:
        return None
    return (parts.hostname, parts.port) if _is_loopback(parts.hostname) else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_alive(pid: int) -> bool:
    if not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
