"""A vector index that grows: a base that is shared, and a small tail of what changed since."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipsearch.vectors import files, sketchfile, sketching
from clipsearch.vectors.flat import FlatPart
from clipsearch.vectors.rows import (
    LOWEST,
    STORED,
    Cosines,
    Ids,
    Mask,
    Part,
    array,
    marked,
    places,
    ranked,
)
from clipsearch.vectors.sketched import Fetch, SketchedPart

STRANGE, FEW = 1.3, 64
"""Times as far from what they stand for as in the sample that they were learned from, that the
sketches of a tail may be; and photos of a tail that is too short to tell."""


class VectorIndex:
    """Search over unit vectors, held as float16; it never changes.

    `ids` is (n,) int64, each once; `vectors` is (n, dimensions), rows of unit length.

    Raises: ValueError for shapes that do not fit, duplicate ids, or vectors that are not finite.
    """

    def __init__(self, ids: Ids, vectors: NDArray[np.floating]) -> None:
        self._hold(_part(ids, vectors), None, None)

    @classmethod
    def over(cls, base: FlatPart | SketchedPart) -> VectorIndex:
        """Return an index of what a part holds."""
        made = cls.__new__(cls)
        made._hold(base, None, None)
        return made

    @classmethod
    def sketched(cls, path: Path, dimensions: int, fetch: Fetch) -> VectorIndex:
        """Open a large index; `fetch` gives the stored vectors of some photos.

        Raises: LibraryError for a file that is absent, damaged or of other dimensions.
        """
        return cls.over(SketchedPart(sketchfile.read(path, dimensions), fetch))

    def _hold(
        self, base: FlatPart | SketchedPart, gone: Mask | None, tail: FlatPart | None
    ) -> None:
        self.base, self.tail = base, tail
        self._gone = gone  # rows of the base that do not count any more

    def changed(self, ids: Ids, present: Ids, vectors: NDArray[np.floating]) -> VectorIndex:
        """Return an index without the photos `ids`, and with those `present` among them.

        `present` is (m,) with its `vectors` (m, dimensions). The base is shared.

        Raises: ValueError as on making an index.
        """
        gone = np.zeros(len(self.base.ids), bool) if self._gone is None else self._gone.copy()
        rows, held = places(self.base.ids, ids)
        gone[rows[held]] = True
        if self.tail is not None:
            keep = ~np.isin(self.tail.ids, ids)
            present = np.concatenate([self.tail.ids[keep], present])
            vectors = np.concatenate([self.tail.vectors[keep], vectors.astype(STORED)])
        grown = VectorIndex.__new__(VectorIndex)
        grown._hold(
            self.base,
            gone if gone.any() else None,
            _part(present, vectors) if len(present) else None,
        )
        return grown

    @property
    def unmerged(self) -> int:
        """How many photos differ from the base."""
        lost = 0 if self._gone is None else int(np.count_nonzero(self._gone))
        return max(lost, 0 if self.tail is None else len(self.tail.ids))

    def __len__(self) -> int:
        lost = 0 if self._gone is None else int(np.count_nonzero(self._gone))
        return len(self.base.ids) - lost + (0 if self.tail is None else len(self.tail.ids))

    def __contains__(self, photo_id: int) -> bool:
        return any(
            bool(held[0]) and (gone is None or not gone[rows[0]])
            for part, gone in self._parts()
            for rows, held in [places(part.ids, np.array([photo_id]))]
        )

    @cached_property
    def ids(self) -> Ids:
        """All ids, (n,) ascending."""
        kept = self.base.ids if self._gone is None else self.base.ids[~self._gone]
        if self.tail is None:
            return kept
        return np.insert(kept, np.searchsorted(kept, self.tail.ids), self.tail.ids)

    @property
    def dimensions(self) -> int:
        return self.base.dimensions

    @property
    def is_exact(self) -> bool:
        """Tell whether every vector is compared with every query."""
        return isinstance(self.base, FlatPart)

    @property
    def slack(self) -> float:
        """How far the cosines of `near` may be from the exact ones."""
        return self.base.slack

    @property
    def is_outgrown(self) -> bool:
        """Tell whether the tail holds photos of a kind that sketches were not made for."""
        if self.tail is None or len(self.tail.ids) < FEW or not isinstance(self.base, SketchedPart):
            return False
        layout = self.base.layout
        found = sketching.Coder(layout.space).error(self.tail.vectors.astype(np.float32))
        return found > STRANGE * layout.head.error

    def sample(self, count: int) -> NDArray[np.float32]:
        """Return the vectors of `count` photos or fewer, spread evenly, (m, dimensions).

        Of a flat index they follow from the photos alone. Of a large one they are those of
        the base, so that they stay the same while it does.
        """
        if isinstance(self.base, FlatPart):
            return self.vectors(self.ids[:: max(1, -(-len(self) // count))])
        return self.base.present(self.base.ids[:: max(1, -(-len(self.base.ids) // count))])

    def nearest(
        self,
        query: Cosines,
        k: int,
        among: Iterable[int] | Ids | None = None,
        *,
        without: Ids | None = None,
        offset: int = 0,
    ) -> list[tuple[int, float]]:
        """Return (id, cosine) from rank `offset` on, at most `k`, best first, ties by id.

        `query` is (dimensions,) of unit length. With `among`, only those ids take part, and
        ids that the index does not hold are passed over; those of `without` never do. Of a large
        index, more is looked at for ranks beyond 128, and again beyond 2,000: there a photo that
        was overlooked may come in between.

        Raises: ValueError for a query of other dimensions or one that is not finite.
        """
        row = self._checked(query)
        if k <= 0:
            return []
        wanted = offset + k
        found = [part.best(row, wanted, mask) for part, mask in self._taking_part(among, without)]
        ids, cosines = ranked(*_joined(found), wanted)
        return list(zip(ids[offset:].tolist(), cosines[offset:].tolist(), strict=True))

    def cosines(
        self,
        query: Cosines,
        among: Iterable[int] | Ids | None = None,
        *,
        above: float = LOWEST,
    ) -> tuple[Ids, Cosines]:
        """Return ids (m,) and cosines (m,) of all photos that reach `above`, best first.

        Otherwise as `nearest`.

        Raises: ValueError for a query of other dimensions or one that is not finite.
        """
        row = self._checked(query)
        return ranked(
            *_joined([part.above(row, above, mask) for part, mask in self._taking_part(among)])
        )

    def near(
        self,
        query: Cosines,
        among: Iterable[int] | Ids | None = None,
        *,
        above: float = LOWEST,
    ) -> tuple[Ids, Cosines]:
        """Return ids (m,) and cosines (m,), good to `slack`, of photos in no order.

        All that reach `above` are among them. Several times as fast as `cosines`. Otherwise as
        `nearest`.

        Raises: ValueError for a query of other dimensions or one that is not finite.
        """
        row = self._checked(query)
        return _joined([part.near(row, above, mask) for part, mask in self._taking_part(among)])

    def held(self, ids: Ids) -> Ids:
        """Return those of `ids` that the index holds, in their order."""
        here = np.zeros(len(ids), bool)
        for part, gone in self._parts():
            rows, held = places(part.ids, ids)
            if gone is not None:
                held[held] = ~gone[rows[held]]
            here |= held
        found: Ids = ids[here]
        return found

    def vectors(self, ids: Iterable[int] | Ids) -> NDArray[np.float32]:
        """Return the vectors of photos in the order of `ids`, (m, dimensions).

        Raises: KeyError for an id that the index does not hold.
        """
        wanted = array(ids)
        result = np.empty((len(wanted), self.dimensions), np.float32)
        missing = np.ones(len(wanted), bool)
        for part, gone in self._parts():
            rows, held = places(part.ids, wanted)
            if gone is not None:
                held[held] = ~gone[rows[held]]
            result[held] = part.stored(rows[held])
            missing &= ~held
        if missing.any():
            raise KeyError(int(wanted[missing][0]))
        return result

    def merged(self) -> VectorIndex:
        """Return an index of the same photos without a tail; the base must be a flat one."""
        if self.tail is None and self._gone is None:
            return self
        return VectorIndex(self.ids, self.vectors(self.ids).astype(STORED))

    def save_sketched(self, path: Path) -> None:
        """Write a file of sketches and codes with the base and the tail."""
        base = self.base
        assert isinstance(base, SketchedPart)  # noqa: S101 - callers look
        tail = self.tail or _part(np.zeros(0, np.int64), np.zeros((0, self.dimensions), STORED))
        sketching.merge(path, base.layout, self._gone, (tail.ids, tail.vectors), base.check)

    def save(self, path: Path) -> None:
        """Write the index aside, then put it in place: a reader never sees half a file."""
        whole = self.merged()
        assert isinstance(whole.base, FlatPart)  # noqa: S101
        files.save_flat(path, whole.base)

    @classmethod
    def load(cls, path: Path, dimensions: int) -> VectorIndex:
        """Read what `save` wrote.

        Raises: LibraryError for a file that is absent, damaged or of other dimensions.
        """
        return cls.over(FlatPart(*files.load_flat(path, dimensions)))

    def _parts(self) -> list[tuple[Part, Mask | None]]:
        found: list[tuple[Part, Mask | None]] = [(self.base, self._gone)]
        return found if self.tail is None else [*found, (self.tail, None)]

    def _taking_part(
        self, among: Iterable[int] | Ids | None, without: Ids | None = None
    ) -> list[tuple[Part, Mask | None]]:
        """Return the parts, each with a mask of the rows to look at; `None` stands for all."""
        wanted = None if among is None else array(among)
        found = []
        for part, gone in self._parts():
            mask = None if gone is None else ~gone
            if wanted is not None:
                chosen = marked(part.ids, wanted)
                mask = chosen if mask is None else chosen & mask
            if without is not None and len(without):
                kept = ~marked(part.ids, without)
                mask = kept if mask is None else kept & mask
            if mask is None or mask.any():
                found.append((part, mask))
        return found

    def _checked(self, query: Cosines) -> Cosines:
        if query.shape != (self.dimensions,):
            raise ValueError(f"a query of shape {query.shape} in {self.dimensions} dimensions")
        if not np.isfinite(query).all():
            raise ValueError("the query is not finite")
        return np.ascontiguousarray(query, np.float32)


def _part(ids: Ids, vectors: NDArray[np.floating]) -> FlatPart:
    if vectors.ndim != 2 or ids.shape != (len(vectors),):
        raise ValueError(f"{ids.shape} ids do not fit vectors of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector is not finite")
    if not (ids[1:] > ids[:-1]).all():
        order = np.argsort(ids, kind="stable")
        ids, vectors = ids[order], vectors[order]
        if not (ids[1:] > ids[:-1]).all():
            raise ValueError("an id occurs twice")
    return FlatPart(ids.astype(np.int64), vectors.astype(STORED, copy=False))


def _joined(found: list[tuple[Ids, Cosines]]) -> tuple[Ids, Cosines]:
    if len(found) == 1:
        return found[0]
    ids = [np.zeros(0, np.int64), *(each[0] for each in found)]
    scores = [np.zeros(0, np.float32), *(each[1] for each in found)]
    return np.concatenate(ids), np.concatenate(scores)
