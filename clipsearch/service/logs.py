"""What a server writes about itself: one line of printable text an event, and no secrets."""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Collection
from typing import TextIO

LEVELS = ("error", "warning", "info", "debug")
LONGEST = 4000

_SECRETS = re.compile(
    r"(?i)\b(?P<name>api_key|token)(?P<between>[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;]+"
    r"|\b(?P<scheme>bearer)\s+\S+"
    r"|\b[0-9]{1,12}\.[0-9a-f]{32}\.[0-9a-f]{64}\b"
)


class Lines(logging.Formatter):
    """Writes each record as one line; what strangers sent cannot begin a second one.

    Neither `secrets` nor what looks like a token or a cookie of ours is written.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(sorted((each for each in secrets if each), key=len, reverse=True))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {_told(record.exc_info[1])}"
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        text = _SECRETS.sub(_hidden, text)
        return f"clipsearch: {record.levelname.lower()}: {printable(text)[:LONGEST]}"


def printable(text: str) -> str:
    """Return text with everything escaped that is no letter, sign or blank."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def start(level: str, secrets: Collection[str], stream: TextIO | None = None) -> logging.Handler:
    """Write what all loggers of this process have to say from `level` on; return the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines(secrets))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    if level != "debug":
        # One line for each request that waits for its turn would be many.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed
    return handler


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None:
        logging.getLogger("clipsearch.service").error("a thread failed", exc_info=failure.exc_value)


def _told(error: BaseException) -> str:
    """Tell an error and its causes in one line: what it says, and where it came from."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 4:
        places = " < ".join(
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in reversed(traceback.extract_tb(seen.__traceback__)[-8:])
        )
        parts.append(f"{type(seen).__name__}: {seen} [{places}]")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "; because of ".join(parts)


def _hidden(found: re.Match[str]) -> str:
    if found["name"]:
        return f"{found['name']}{found['between']}[secret]"
    return f"{found['scheme']} [secret]" if found["scheme"] else "[secret]"
