"""Texts on their way into a text tower: characters that tokenizers accept, batches by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def encodable(text: str) -> str:
    """Replace lone surrogates, which arguments and file names may hold, by a question mark.

    Tokenizers written in Rust refuse strings that are no UTF-8.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def batches_by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield the positions of `lengths` in batches, shortest first, of at most `tokens` padded.

    Texts of like length share a batch, so that little is spent on padding. A text longer than
    `tokens` makes a batch of its own.
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda position: lengths[position]):
        if batch and (len(batch) + 1) * lengths[position] > tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
