"""The file of a large index: codes that are mapped, tables that are read and checked.

magic, length and CRC-32 of the head, head (JSON), CRC-32 of the tables; room up to `_BEGIN`
blocks, of `BLOCK` rows each: codes, a byte a dimension; rows as int64; room up to a multiple of 8
rows, and behind them to one of 8 codes, so that all codes are rows of one table
tables: ids, checksums of blocks, mean, ranges, centres, rotation, codebooks, the centre of each
row, sketches
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import LibraryError
from clipsearch.vectors.files import octets, replacing
from clipsearch.vectors.rows import Cosines, Ids

MAGIC = b"clipsearch sketches 3\n"
BLOCK = 8192
"""Rows that are checked, and given to a thread, together."""
_ALIGNED = 8
_BEGIN = 4096  # where the blocks begin

Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a large index.

    `depth` is how many of the best sketches are looked at closer, so that the ten best photos are
    among them. `error` is the mean square of how far sketches were from what they stand for, in
    the sample that they were learned from. `slack` is how far the score of a code was from the
    cosine at most, in a sample of pairs and a quarter more; a photo far out of all that was
    learned from may exceed it. `learned` is the number of photos at that time.
    """

    count: int
    dimensions: int
    kept: int
    centres: int
    depth: int
    error: float
    slack: float
    learned: int

    @property
    def blocks(self) -> int:
        return -(-self.count // BLOCK)

    @property
    def sketch_bytes(self) -> int:
        """Length of a sketch: four bits for each two of the dimensions kept."""
        return self.kept // 4


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """How vectors become codes and sketches.

    Codes are those of the residual to the `mean` (dimensions,), between the least of each
    dimension and that plus its width: `ranges` (2, dimensions). Sketches are those of the
    residual to the nearest of `centres` (c, dimensions), times `rotation` (dimensions, kept), by
    `codebooks` (kept / 2, 16, 2).
    """

    mean: Cosines
    ranges: Cosines
    centres: Cosines
    rotation: Cosines
    codebooks: Cosines


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A large index as it lies in memory and in the mapped file.

    `ids` (n,) ascending, `centres` (n,) the number of each one's centre, `sketches`
    (n, sketch_bytes), `checksums` (blocks,), `data` the mapping. All but codes were read and
    compared with their checksum: what lies in the mapping may be damaged at any time.
    """

    path: Path
    head: Head
    ids: Ids
    space: Space
    centres: Codes
    sketches: Codes
    checksums: NDArray[np.uint32]
    lists: Any  # FAISS's, which hold the mapping
    data: Codes

    def block(self, number: int) -> Codes:
        """Return the bytes of a block."""
        width = self.head.dimensions
        start = _BEGIN + number * _length(BLOCK, width)
        found: Codes = self.data[start : start + _length(_room(self._size(number)), width)]
        return found

    def codes(self, rows: Ids) -> Codes:
        """Return the codes of rows, (m, dimensions)."""
        width = self.head.dimensions
        table = self.data[_BEGIN : _BEGIN + (len(self.data) - _BEGIN) // width * width]
        between = _length(BLOCK, width) // width - BLOCK
        found: Codes = table.reshape(-1, width).take(rows + rows // BLOCK * between, axis=0)
        return found

    def _size(self, number: int) -> int:
        return min(BLOCK, self.head.count - number * BLOCK)


class Writer:
    """Writes a file: codes, piece by piece, then all that is known of them."""

    def __init__(self, file: BinaryIO, dimensions: int) -> None:
        self._file, self._dimensions = file, dimensions
        self._waiting: Codes = np.zeros((0, dimensions), np.uint8)
        self._count = 0
        self._checksums: list[int] = []
        file.seek(_BEGIN)

    def add(self, codes: Codes) -> None:
        """Write the codes (m, dimensions) of the next rows."""
        self._waiting = np.concatenate([self._waiting, codes])
        while len(self._waiting) >= BLOCK:
            self._write(self._waiting[:BLOCK])
            self._waiting = self._waiting[BLOCK:]

    def finish(self, head: Head, ids: Ids, space: Space, centres: Codes, sketches: Codes) -> None:
        """Write what belongs to the rows, all of which were added."""
        if len(self._waiting):
            self._write(self._waiting)
        floats = (space.mean, space.ranges, space.centres, space.rotation, space.codebooks)
        tables = [ids.astype("<i8"), np.array(self._checksums, "<u4")]
        tables += [each.astype("<f4") for each in floats] + [centres, sketches]
        checksum = 0
        for piece in map(octets, tables):
            checksum = zlib.crc32(piece, checksum)
            self._file.write(piece)
        text = json.dumps(asdict(head)).encode()
        start = MAGIC + np.array([len(text), zlib.crc32(text)], "<u4").tobytes() + text
        self._file.seek(0)
        self._file.write(start + checksum.to_bytes(4, "little"))

    def _write(self, codes: Codes) -> None:
        room = _room(len(codes))
        block = np.zeros(_length(room, self._dimensions), np.uint8)
        block[: codes.size] = codes.reshape(-1)
        rows = np.arange(self._count, self._count + len(codes))
        block[room * self._dimensions :].view("<i8")[: len(rows)] = rows
        self._count += len(codes)
        self._checksums.append(zlib.crc32(block.data))
        self._file.write(block.data)


@contextmanager
def writing(path: Path, dimensions: int) -> Iterator[Writer]:
    """Give what writes a file aside; it is put in place at the end."""
    with replacing(path) as file:
        yield Writer(file, dimensions)


def read(path: Path, dimensions: int) -> Layout:
    """Map a file and check all but its blocks.

    Raises: LibraryError for a file that is absent, damaged or of other dimensions.
    """
    damaged = LibraryError(f"{path}: the index file is damaged")
    try:
        with path.open("rb") as file:
            known = os.fstat(file.fileno())
            start = file.read(len(MAGIC) + 8)
            if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 8:
                raise damaged
            length, checksum = np.frombuffer(start, "<u4", 2, len(MAGIC)).tolist()
            text = file.read(min(length, _BEGIN))
            if zlib.crc32(text) != checksum:
                raise damaged
            head = Head(**json.loads(text))
            if head.dimensions != dimensions:
                raise damaged
            sums = np.frombuffer(file.read(4).ljust(4, b"\0"), "<u4")
            last = _room(head.count - (head.blocks - 1) * BLOCK) if head.count else 0
            whole = max(head.blocks - 1, 0) * _length(BLOCK, dimensions)
            file.seek(_BEGIN + whole + _length(last, dimensions))
            tables = file.read(_table_length(head))
            is_whole = len(tables) == _table_length(head) and not file.read(1)
        if not is_whole or zlib.crc32(tables) != int(sums[0]):
            raise damaged
        lists = _mapped(path, head)
        now = path.stat()  # what FAISS has mapped by its name is what was read, if it still is
        if (now.st_ino, now.st_size) != (known.st_ino, known.st_size):
            raise LibraryError(f"{path}: the index file was replaced")
    except OSError as error:
        raise LibraryError(f"{path}: the index file cannot be read: {error.strerror}") from error
    except RuntimeError as error:  # of FAISS: the file is gone by now
        raise LibraryError(f"{path}: the index file cannot be read") from error
    import faiss

    data = faiss.rev_swig_ptr(lists.ptr, known.st_size)
    ids, checksums, *floats, centres, sketches = _tables(head, tables)
    return Layout(path, head, ids, Space(*floats), centres, sketches, checksums, lists, data)


def _mapped(path: Path, head: Head) -> Any:
    import faiss

    lists: Any = faiss.OnDiskInvertedLists()
    lists.nlist, lists.code_size = head.blocks, head.dimensions
    lists.filename, lists.read_only = str(path), True
    lists.totsize = path.stat().st_size
    for number in range(head.blocks):
        each = faiss.OnDiskOneList()
        each.size = min(BLOCK, head.count - number * BLOCK)
        each.capacity = _room(each.size)
        each.offset = _BEGIN + number * _length(BLOCK, head.dimensions)
        lists.lists.push_back(each)
    lists.do_mmap()
    return lists


def _tables(head: Head, data: bytes) -> Iterator[NDArray[Any]]:
    at = 0
    for kind, shape in _kinds(head):
        values = np.frombuffer(data, kind, int(np.prod(shape)), at).reshape(shape)
        at += values.nbytes
        yield values.astype(values.dtype.newbyteorder("="), copy=False)


def _kinds(head: Head) -> tuple[tuple[str, tuple[int, ...]], ...]:
    width = head.dimensions
    return (
        ("<i8", (head.count,)),
        ("<u4", (head.blocks,)),
        ("<f4", (width,)),
        ("<f4", (2, width)),
        ("<f4", (head.centres, width)),
        ("<f4", (width, head.kept)),
        ("<f4", (head.kept // 2, 16, 2)),
        ("u1", (head.count,)),
        ("u1", (head.count, head.sketch_bytes)),
    )


def _table_length(head: Head) -> int:
    return sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in _kinds(head))


def _room(size: int) -> int:
    return size + -size % _ALIGNED


def _length(room: int, dimensions: int) -> int:
    """Return the bytes of a block with room for so many rows."""
    return (room + _ALIGNED * -(-room // dimensions)) * dimensions
