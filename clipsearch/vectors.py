"""The vector index: nearest neighbours by cosine. The only file that knows FAISS."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import LibraryError

_MAGIC = b"clipsearch index 1\n"
# Scores of FAISS are float32 sums in an order that depends on the processor. What it finds is
# therefore ranked again in float64; rows this close to the last rank are looked at as well.
_ROUNDING = 1e-5
# Below this share of the library, scoring the chosen rows beats a scan with a selector.
_SMALL_SUBSET = 0.1


class VectorIndex:
    """Exact search over unit vectors, held as float16.

    `ids` is (n,) int64, each once; `vectors` is (n, dimensions), rows of unit length.

    Raises: ValueError for shapes that do not fit, duplicate ids, or vectors that are not finite.
    """

    def __init__(self, ids: NDArray[np.int64], vectors: NDArray[np.floating]) -> None:
        if vectors.ndim != 2 or ids.shape != (len(vectors),):
            raise ValueError(f"{ids.shape} ids do not fit vectors of shape {vectors.shape}")
        if len(np.unique(ids)) != len(ids):
            raise ValueError("an id occurs twice")
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not finite")
        order = np.argsort(ids, kind="stable")
        self._ids = ids[order].astype(np.int64)
        self._index = _flat(vectors.shape[1])
        for start in range(0, len(order), 65_536):  # float32 copies stay small
            self._index.add(vectors[order[start : start + 65_536]].astype(np.float32))

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dimensions(self) -> int:
        return int(self._index.d)

    def nearest(
        self, query: NDArray[np.float32], k: int, among: Iterable[int] | None = None
    ) -> list[tuple[int, float]]:
        """Return the `k` nearest (id, cosine), best first, ties by ascending id.

        `query` is (dimensions,) of unit length. With `among`, only those ids take part, and
        ids that the index does not hold are passed over. The result is exact, whatever `among`.

        Raises: ValueError for a query of other dimensions or one that is not finite.
        """
        if query.shape != (self.dimensions,):
            raise ValueError(f"a query of shape {query.shape} in {self.dimensions} dimensions")
        if not np.isfinite(query).all():
            raise ValueError("the query is not finite")
        query = np.ascontiguousarray(query, np.float32)
        rows = None if among is None else self._rows(among)
        available = len(self._ids) if rows is None else len(rows)
        k = min(k, available)
        if k <= 0:
            return []
        if rows is not None and (k == available or available < _SMALL_SUBSET * len(self._ids)):
            return self._ranked(query, rows)[:k]
        wanted = min(k + 32, available)
        while True:
            candidates, scores = self._search(query, wanted, rows)
            ranked = self._ranked(query, candidates)
            if wanted == available or scores[-1] < ranked[k - 1][1] - _ROUNDING:
                return ranked[:k]
            wanted = min(2 * wanted, available)

    def save(self, path: Path) -> None:
        """Write the index aside, then put it in place: a reader never sees half a file."""
        import faiss

        count = len(self._ids).to_bytes(8, "little")
        body = count + self._ids.tobytes() + faiss.serialize_index(self._index).tobytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
            os.replace(partial, path)  # noqa: PTH105 - atomic on every platform
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path, dimensions: int) -> VectorIndex:
        """Read what `save` wrote.

        Raises: LibraryError for a file that is absent, damaged or of other dimensions.
        """
        import faiss

        try:
            data = path.read_bytes()
        except OSError as error:
            raise LibraryError(
                f"{path}: the index file cannot be read: {error.strerror}"
            ) from error
        damaged = LibraryError(f"{path}: the index file is damaged")
        start = len(_MAGIC) + 4
        checksum = int.from_bytes(data[len(_MAGIC) : start], "little")
        if not data.startswith(_MAGIC) or zlib.crc32(memoryview(data)[start:]) != checksum:
            raise damaged
        count = int.from_bytes(data[start : start + 8], "little")
        start += 8
        loaded = cls.__new__(cls)
        loaded._ids = np.frombuffer(data, np.int64, count, start).copy()
        loaded._index = faiss.deserialize_index(
            np.frombuffer(data, np.uint8, offset=start + 8 * count)
        )
        if loaded._index.d != dimensions or loaded._index.ntotal != count:
            raise damaged
        return loaded

    def _rows(self, ids: Iterable[int]) -> NDArray[np.int64]:
        wanted = np.unique(np.fromiter(ids, np.int64))
        rows = np.searchsorted(self._ids, wanted)
        rows = rows[rows < len(self._ids)]
        return rows[np.isin(self._ids[rows], wanted)].astype(np.int64)

    def _search(
        self, query: NDArray[np.float32], k: int, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and scores of the best `k`, best first; `k` rows exist."""
        import faiss

        parameters = None
        if rows is not None:
            bitmap = np.zeros((len(self._ids) + 7) // 8 * 8, bool)
            bitmap[rows] = True
            packed = np.packbits(bitmap, bitorder="little")
            selector = faiss.IDSelectorBitmap(packed)  # type: ignore[call-arg,arg-type]
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        scores, found = self._index.search(query[None], k, params=parameters)
        return found[0], scores[0]

    def _ranked(
        self, query: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> list[tuple[int, float]]:
        """Score rows in float64, rounded to float32, and sort by (-cosine, id)."""
        scores = np.empty(len(rows), np.float32)
        wide = query.astype(np.float64)
        for start in range(0, len(rows), 65_536):
            block = self._index.reconstruct_batch(rows[start : start + 65_536])
            scores[start : start + 65_536] = block.astype(np.float64) @ wide
        np.minimum(scores, 1, out=scores)  # float16 may round a unit vector up
        order = np.lexsort((rows, -scores))
        return list(zip(self._ids[rows[order]].tolist(), scores[order].tolist(), strict=True))


def _flat(dimensions: int):  # type: ignore[no-untyped-def] # FAISS has no types
    import faiss

    return faiss.IndexScalarQuantizer(
        dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
