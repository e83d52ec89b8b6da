"""The file of a clustered index, mapped: a head that is read and checked, clusters that are not.

magic, length and CRC-32 of the head, head (JSON), CRC-32 of the tables
tables: ids, sizes and checksums of clusters, centroids, ranges of the codes
clusters, each: codes, a byte a dimension, room up to a multiple of 8 rows; rows as int64
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import LibraryError
from clipsearch.vectors.files import octets, replacing
from clipsearch.vectors.rows import Cosines, Ids

MAGIC = b"clipsearch clusters 1\n"
_ALIGNED = 8

Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a clustered index.

    `reaches` says, for each kind of held-out query, the cosine of its tenth photo and how many
    spreads of a cluster above the cosine of its centre such a photo may be. `slack` is how far
    the score of a code was from the cosine at most, in a sample of pairs and a quarter more; a
    photo far out of all that was learned from may exceed it. `learned` is the number of photos
    when the clusters were made.
    """

    count: int
    dimensions: int
    clusters: int
    reaches: list[list[float]]
    slack: float
    learned: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A clustered index as it lies in the memory of a mapped file.

    `ids` (n,) ascending, `centroids` (c, dimensions) float32, `ranges` (2, dimensions) float32:
    the least residual of each dimension and its width; `spreads` (c,) the usual length of a
    residual; `sizes`, `offsets`, `checksums` (c,).
    """

    path: Path
    head: Head
    ids: Ids
    centroids: Cosines
    ranges: Cosines
    spreads: Cosines
    sizes: Ids
    offsets: Ids
    checksums: NDArray[np.uint32]
    lists: Any  # FAISS's, which hold the mapping
    data: NDArray[np.uint8]  # the mapping

    def cluster(self, number: int) -> NDArray[np.uint8]:
        """Return the bytes of a cluster."""
        room = _room(int(self.sizes[number]))
        start = int(self.offsets[number])
        found: NDArray[np.uint8] = self.data[start : start + _length(room, self.head.dimensions)]
        return found

    def members(self, number: int) -> tuple[Codes, Ids]:
        """Return codes (m, dimensions) and rows (m,) of a cluster."""
        size, width = int(self.sizes[number]), self.head.dimensions
        octets = self.cluster(number)
        rows = octets[_room(size) * width :].view("<i8")[:size].astype(np.int64)
        return octets[: size * width].reshape(size, width), rows


def write(
    path: Path,
    head: Head,
    ids: Ids,
    centroids: Cosines,
    ranges: Cosines,
    spreads: Cosines,
    clusters: Iterable[tuple[Codes, Ids]],
) -> None:
    """Write a file from codes (m, dimensions) and rows (m,) of each cluster, in order."""
    with replacing(path) as file:
        sizes = np.zeros(head.clusters, "<i8")
        checksums = np.zeros(head.clusters, "<u4")
        _write_tables(file, head, ids, sizes, checksums, (centroids, ranges, spreads))
        for number, (codes, rows) in enumerate(clusters):
            room = _room(len(rows))
            block = np.zeros(_length(room, head.dimensions), np.uint8)
            block[: codes.size] = codes.reshape(-1)
            block[room * head.dimensions :].view("<i8")[: len(rows)] = rows
            sizes[number] = len(rows)
            checksums[number] = zlib.crc32(block.data)
            file.write(block.data)
        file.seek(0)
        _write_tables(file, head, ids, sizes, checksums, (centroids, ranges, spreads))


def read(path: Path, dimensions: int) -> Layout:
    """Map a file and check all but its clusters.

    Raises: LibraryError for a file that is absent, damaged or of other dimensions.
    """
    import faiss

    damaged = LibraryError(f"{path}: the index file is damaged")
    try:
        with path.open("rb") as file:
            known = path.stat()
            start = file.read(len(MAGIC) + 8)
            length, checksum = np.frombuffer(start[len(MAGIC) :].ljust(8, b"\0"), "<u4").tolist()
            text = file.read(min(length, 4096))
            if not start.startswith(MAGIC) or zlib.crc32(text) != checksum:
                raise damaged
            head = Head(**json.loads(text))
            if head.dimensions != dimensions:
                raise damaged
            sums = np.frombuffer(file.read(4).ljust(4, b"\0"), "<u4")
            file.seek(_padded(file.tell()))
            tables = file.read(_table_length(head))
            begin = _padded(file.tell())
        if zlib.crc32(tables) != int(sums[0]):
            raise damaged
        ids, sizes, checksums, centroids, ranges, spreads = _tables(head, tables)
        lengths = _length(_room(sizes), dimensions)
        offsets = begin + np.cumsum(lengths) - lengths
        if known.st_size != begin + int(lengths.sum()):
            raise damaged
        lists: Any = faiss.OnDiskInvertedLists()
        lists.nlist, lists.code_size = head.clusters, dimensions
        lists.filename, lists.read_only = str(path), True
        lists.totsize = known.st_size
        for size, offset in zip(sizes.tolist(), offsets.tolist(), strict=True):
            each = faiss.OnDiskOneList()
            each.size, each.capacity, each.offset = size, _room(size), offset
            lists.lists.push_back(each)
        lists.do_mmap()
        now = path.stat()  # what FAISS has mapped by its name is what was read, if it still is
        if (now.st_ino, now.st_size) != (known.st_ino, known.st_size):
            raise LibraryError(f"{path}: the index file was replaced")
    except OSError as error:
        raise LibraryError(f"{path}: the index file cannot be read: {error.strerror}") from error
    except RuntimeError as error:  # of FAISS: the file is gone by now
        raise LibraryError(f"{path}: the index file cannot be read") from error
    data = faiss.rev_swig_ptr(lists.ptr, known.st_size)
    return Layout(
        path, head, ids, centroids, ranges, spreads, sizes, offsets, checksums, lists, data
    )


def _write_tables(
    file: BinaryIO,
    head: Head,
    ids: Ids,
    sizes: NDArray[Any],
    checksums: NDArray[Any],
    tables_of_floats: tuple[Cosines, ...],
) -> None:
    text = json.dumps(asdict(head)).encode()
    pieces = [ids.astype("<i8"), sizes, checksums]
    pieces += [table.astype("<f4") for table in tables_of_floats]
    tables = b"".join(octets(piece) for piece in pieces)
    prefix = MAGIC + np.array([len(text), zlib.crc32(text)], "<u4").tobytes() + text
    prefix += zlib.crc32(tables).to_bytes(4, "little")
    file.write(prefix.ljust(_padded(len(prefix)), b"\0"))
    file.write(tables.ljust(_padded(len(tables)), b"\0"))


def _tables(
    head: Head, data: bytes
) -> tuple[Ids, Ids, NDArray[np.uint32], Cosines, Cosines, Cosines]:
    found, at = [], 0
    for kind, count in _kinds(head):
        found.append(np.frombuffer(data, kind, count, at))
        at += found[-1].nbytes
    ids, sizes, checksums, centroids, ranges, spreads = found
    return (
        ids.astype(np.int64, copy=False),
        sizes.astype(np.int64, copy=False),
        checksums.astype(np.uint32, copy=False),
        centroids.astype(np.float32, copy=False).reshape(head.clusters, head.dimensions),
        ranges.astype(np.float32, copy=False).reshape(2, head.dimensions),
        spreads.astype(np.float32, copy=False),
    )


def _kinds(head: Head) -> tuple[tuple[str, int], ...]:
    wide = head.clusters * head.dimensions
    return (
        *(("<i8", head.count), ("<i8", head.clusters), ("<u4", head.clusters)),
        *(("<f4", wide), ("<f4", 2 * head.dimensions), ("<f4", head.clusters)),
    )


def _table_length(head: Head) -> int:
    return sum(np.dtype(kind).itemsize * count for kind, count in _kinds(head))


def _padded(length: int) -> int:
    return length + -length % 64


def _room(size: Any) -> Any:
    return size + -size % _ALIGNED


def _length(room: Any, dimensions: int) -> Any:
    return room * (dimensions + 8)
