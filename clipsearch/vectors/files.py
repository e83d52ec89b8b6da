"""Index files: written aside, put in place, checked when they are read."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import LibraryError
from clipsearch.vectors.flat import FlatPart
from clipsearch.vectors.rows import STORED, Ids

_FLAT = b"clipsearch index 3\n"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file beside `path` to write, and put it in its place at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(partial, path)  # noqa: PTH105 - atomic on every platform
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def save_flat(path: Path, part: FlatPart) -> None:
    """Write ids and vectors: magic, CRC-32 of all that follows, counts, ids, vectors."""
    counts = np.array([len(part.ids), part.dimensions], "<i8")
    pieces = [octets(each) for each in (counts, part.ids.astype("<i8"), part.vectors)]
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    with replacing(path) as file:
        file.write(_FLAT + checksum.to_bytes(4, "little"))
        for piece in pieces:
            file.write(piece)


def octets(values: NDArray[Any]) -> memoryview:
    """Return the bytes of an array, (n,), without a copy where it is contiguous."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def load_flat(path: Path, dimensions: int) -> tuple[Ids, NDArray[np.float16]]:
    """Return the ids (n,) and vectors (n, dimensions) that `save_flat` wrote.

    Raises: LibraryError for a file that is absent, damaged or of other dimensions.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LibraryError(f"{path}: the index file cannot be read: {error.strerror}") from error
    damaged = LibraryError(f"{path}: the index file is damaged")
    start = len(_FLAT) + 4
    checksum = int.from_bytes(data[len(_FLAT) : start], "little")
    if not data.startswith(_FLAT) or len(data) < start + 16:
        raise damaged
    if zlib.crc32(memoryview(data)[start:]) != checksum:
        raise damaged
    count, width = np.frombuffer(data, "<i8", 2, start).tolist()
    if width != dimensions or len(data) != start + 16 + count * (8 + 2 * width):
        raise damaged
    start += 16
    return (
        np.frombuffer(data, "<i8", count, start).astype(np.int64),
        np.frombuffer(data, STORED, offset=start + 8 * count).reshape(count, width),
    )
