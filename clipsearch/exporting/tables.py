"""Photos with tags and texts as CSV for people and as JSON for programs."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import TextIO

from clipsearch.exporting.described import Described

COLUMNS = (
    "id",
    "path",
    "taken_at",
    "width",
    "height",
    "tags",
    "tag_scores",
    "alt_text",
    "caption_score",
)

# What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2})")


def write_csv(file: TextIO, rows: Iterable[Described]) -> None:
    """Write a header and one line a photo, as RFC 4180 has it.

    Tags are separated by `; `, and so are their scores, in the same order. Paths and tags are
    escaped as by `escape_path`; in a tag a semicolon is `\\x3b`. A text cell that a spreadsheet
    would take for a formula gets an apostrophe in front.
    """
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in rows:
        tags = "; ".join(escape_path(tag.name).replace(";", r"\x3b") for tag in row.tags)
        scores = "; ".join(number(tag.score) for tag in row.tags)
        texts = [guarded(text or "") for text in (row.taken_at, tags, row.alt_text)]
        writer.writerow(
            [
                row.id,
                guarded(escape_path(row.path)),
                texts[0],
                row.width,
                row.height,
                texts[1],
                scores,
                texts[2],
                number(row.caption_score),
            ]
        )


def write_json(file: TextIO, rows: Iterable[Described]) -> None:
    """Write an array of one object a photo, a line each, as the rows come.

    The bytes of a path that are not UTF-8 are `\\udcxx`, as everywhere in clipsearch's JSON.
    """
    separator = "[\n"
    for row in rows:
        text = json.dumps(_finite(asdict(row)), ensure_ascii=False, allow_nan=False)
        file.write(separator + text.encode("utf-8", "backslashreplace").decode())
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def escape_path(path: str) -> str:
    r"""Return a path as printable Unicode, reversibly: a byte that is no UTF-8 becomes `\xff`.

    So do control characters, and a backslash is doubled.
    """

    def escaped(character: str) -> str:
        if character == "\\":
            return "\\\\"
        if "\udc80" <= character <= "\udcff":
            return f"\\x{ord(character) - 0xDC00:02x}"
        return f"\\x{ord(character):02x}" if character < " " or character == "\x7f" else character

    return "".join(map(escaped, path))


def unescape_path(text: str) -> str:
    """Return the path that `escape_path` wrote."""

    def plain(match: re.Match[str]) -> str:
        if match[1] == "\\":
            return "\\"
        code = int(match[1][1:], 16)
        return chr(code if code < 0x80 else 0xDC00 + code)

    return _ESCAPE.sub(plain, text)


def guarded(text: str) -> str:
    """Return a text cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def number(value: float | None) -> str:
    """Return a score with four decimals; nothing where there is none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
