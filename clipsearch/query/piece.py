"""A stretch of a query that knows where it stands, so that every error can point at it."""

from __future__ import annotations

from dataclasses import dataclass

from clipsearch.errors import QueryError


@dataclass(frozen=True, slots=True)
class Piece:
    """`text` begins at `start` of `query`; `quoted` if it stood between quotes."""

    query: str
    start: int
    text: str
    quoted: bool = False

    def error(self, message: str, at: int = 0) -> QueryError:
        """Return an error that points at the character `at` of this piece."""
        return QueryError(message, self.query, min(self.start + at, len(self.query)))

    def part(self, start: int, end: int | None = None) -> Piece:
        """Return the characters from `start` to `end`, without blanks around them."""
        text = self.text[start:end]
        blanks = len(text) - len(text.lstrip())
        return Piece(self.query, self.start + start + blanks, text.strip(), self.quoted)


def shown(text: str) -> str:
    """Quote what was typed for a message: short, on one line, without control characters."""
    clipped = text if len(text) <= 30 else text[:29] + "…"
    return '"' + "".join(char if char.isprintable() else "�" for char in clipped) + '"'
