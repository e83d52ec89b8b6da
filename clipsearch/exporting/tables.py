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

# What spreadsheets take for the beginning of a formula, full width too (OWASP, "CSV Injection").
# Apostrophes before it count as well, so that `unguarded` knows which one was put there.
_FORMULA = re.compile("'*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]")
_HIDDEN = re.compile(
    "[;\\\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_ESCAPE = re.compile(r"\\(?:\\|x[0-9a-f]{2}|u[0-9a-f]{4})")


def write_csv(file: TextIO, rows: Iterable[Described]) -> None:
    """Write a header and one line a photo, as RFC 4180 has it.

    Tags are separated by `; `, and so are their scores, in the same order. Paths and tags are
    escaped as by `escape_path`. A text cell that a spreadsheet would take for a formula gets an
    apostrophe in front, which `unguarded` takes away.
    """
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in rows:
        tags = "; ".join(escape_path(tag.name) for tag in row.tags)
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

    So do control characters and semicolons, at which some spreadsheets begin a new cell; marks
    that turn the order of letters round become `\u202e`, and a backslash is doubled.
    """
    return _HIDDEN.sub(_escaped, path)


def _escaped(found: re.Match[str]) -> str:
    character, code = found[0], ord(found[0])
    if character == "\\":
        return "\\\\"
    if "\udc80" <= character <= "\udcff":
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def unescape_path(text: str) -> str:
    """Return the path that `escape_path` wrote."""

    def plain(match: re.Match[str]) -> str:
        kind, digits = match[0][1], match[0][2:]
        if kind == "\\":
            return "\\"
        code = int(digits, 16)
        return chr(code if kind == "u" or code < 0x80 else 0xDC00 + code)

    return _ESCAPE.sub(plain, text)


def guarded(text: str) -> str:
    """Return a text cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """Return the text of which `guarded` made a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


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
