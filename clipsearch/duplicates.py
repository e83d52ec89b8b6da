"""Group near-identical photos, the best of each group first. Nothing is ever deleted.

Copies of a file are identical. Other pictures are near when their perceptual hashes differ in at
most NEAR_BITS bits and the cosine of their vectors is at least NEAR_COSINE: the hash tells a copy
from another picture of the same thing, the cosine catches what the hash confuses in a large
library. Measured with the starter model, on copies made of 181 photos of 512 pixels and of 170
of 150 pixels; in brackets what the hash alone would find, where that is more:

    copy                                          512 pixels        150 pixels
    JPEG quality 75, 50; WebP quality 60          100 %             97.6 % (100)
    JPEG quality 30                               99.4 % (100)      94.7 % (100)
    half the size                                 99.4 % (100)      82.4 % (100)
    40 % of the size                              98.3 % (100)      57.1 % (100)
    twice the size, PNG, turned by EXIF           100 %             100 %
    brightness +-10 %, saturation +30 %           100 %             100 %
    brightness +25 %                              98.9 %            100 %
    contrast +15 %                                100 %             98.8 % (100)
    grey                                          95.0 % (100)      94.1 % (100)
    1 % cut off at every edge                     100 %             99.4 %
    2 % cut off at every edge                     86.7 % (88.4)     81.8 % (85.9)
    4 % cut off at every edge                     36.5 % (37.0)     25.9 % (28.2)
    mirrored                                      0 %               0 %

Of all 1.6 million pairs of 1,796 different photos, 46 count as near: each one the same subject
again, from the same place, at another moment or in another scan; no two different subjects. (At 10
bits 4 % more copies cut at the edges would be found, and 31 more pairs, different subjects among
them.) The starter's cosine is what fails on pictures far smaller than its input of 260 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from clipsearch.catalog import Catalog, pictures, vectors
from clipsearch.catalog.archive import Model
from clipsearch.catalog.pictures import Copy
from clipsearch.config import Settings
from clipsearch.errors import PhotoError
from clipsearch.photos import decode, picturehash
from clipsearch.photos.decode import OpenPhoto
from clipsearch.records import OnProgress, Progress, Skipped, ignore_progress

NEAR_BITS = 8
NEAR_COSINE = 0.8

_HASHED_TOGETHER = 256  # photos a transaction
_HASHED_AT = 224  # pixels, as most models ask for: the hash is the one that indexing makes
_CHANGED = "it changed since it was indexed; run `clipsearch index`"
_CENTRES = 512  # rows of cosines that are computed together
_COLUMNS = 8192

Star = tuple[int, NDArray[np.int64], NDArray[np.float32]]
"""A group as positions of contents: the best, the others, and their cosines with it."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A photo of a group: `score` is the cosine with the first of the group, the best.

    `identical` says that the file has the same bytes as the best. `width` and `height` are of
    the upright picture, `size` is in bytes.
    """

    id: int
    path: str
    score: float
    identical: bool
    width: int
    height: int
    size: int
    taken_at: str | None


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """Groups of near-identical photos, the best of each first; `skipped` were not compared."""

    groups: tuple[tuple[Duplicate, ...], ...]
    skipped: tuple[Skipped, ...]


def find(
    catalog: Catalog,
    model: Model,
    *,
    open_photo: OpenPhoto,
    settings: Settings,
    similarity: float | None = None,
    identical: bool = False,
    among: Collection[int] | None = None,
    on_progress: OnProgress = ignore_progress,
) -> DuplicateReport:
    """Group near-identical photos; with `among`, only groups that one of those photos is in.

    With `similarity`, pictures are grouped by a cosine of at least that alone, so that bursts
    and similar shots come together; `identical` leaves only files of the same bytes.
    Every member is near to the best of its group, not only to some other member, and no photo is
    in two groups. Files that are gone or changed since they were indexed take no part: what is
    no longer there must not count as the copy to keep. Photos that were indexed without a hash
    are opened once.

    Raises: LibraryError, DecoderError.
    """
    skipped: dict[str, str] = {}
    if similarity is None and not identical:
        _hash_missing(catalog, open_photo, settings, skipped, on_progress)
    with catalog.read() as db:
        contents = _contents(pictures.best_first(db))
        there = _presence(contents, skipped)
        if identical:
            found: Iterator[Star] = iter(())
        elif similarity is None:
            found = _near(db, model, contents, there)
        else:
            found = _similar(db, model, contents, there, similarity, on_progress)
        groups = list(_groups(contents, found, there))
    chosen = None if among is None else set(among)
    kept = [
        group
        for group in groups
        if chosen is None or any(duplicate.id in chosen for duplicate in group)
    ]
    return DuplicateReport(
        tuple(sorted(kept, key=lambda group: group[0].path)),
        tuple(Skipped(path, reason) for path, reason in sorted(skipped.items())),
    )


def _contents(ranked: Sequence[Copy]) -> list[list[Copy]]:
    """Gather the photos of each content, both best first."""
    found: dict[bytes, list[Copy]] = {}
    for copy in ranked:
        found.setdefault(copy.content_hash, []).append(copy)
    return list(found.values())


def _presence(
    contents: Sequence[Sequence[Copy]], skipped: dict[str, str]
) -> Callable[[int], list[Copy]]:
    """Return what gives the photos of a content that are as they were indexed, best first.

    The others are noted in `skipped`. Of several names of one file, only one is given: to throw
    away "the other" would throw away the photo, or leave a link to nothing.
    """
    known: dict[int, list[Copy]] = {}

    def there(position: int) -> list[Copy]:
        if position not in known:
            known[position] = _distinct(contents[position], skipped)
        return known[position]

    return there


def _distinct(copies: Sequence[Copy], skipped: dict[str, str]) -> list[Copy]:
    files: dict[tuple[int, int], Copy] = {}
    for copy in copies:
        try:
            status = os.stat(copy.path)  # noqa: PTH116 - a path of bytes that are not UTF-8
        except OSError as error:
            skipped[copy.path] = (error.strerror or "cannot be read").lower()
            continue
        if (status.st_size, status.st_mtime_ns) != (copy.size, copy.mtime_ns):
            skipped[copy.path] = _CHANGED
            continue
        file = (status.st_dev, status.st_ino)
        if file not in files or os.path.islink(files[file].path):  # noqa: PTH114
            files[file] = copy
    order = {copy.id: rank for rank, copy in enumerate(copies)}
    return sorted(files.values(), key=lambda copy: order[copy.id])


def _near(
    db: Database,
    model: Model,
    contents: Sequence[Sequence[Copy]],
    there: Callable[[int], list[Copy]],
) -> Iterator[Star]:
    """Yield a star around each best picture: all that are near to it by hash and cosine."""
    hashes = np.array([copies[0].hash or picturehash.STRUCTURELESS for copies in contents], "u8")
    told = np.flatnonzero(hashes != picturehash.STRUCTURELESS)
    distinct, kind = np.unique(hashes[told], return_inverse=True)
    pairs = picturehash.near_pairs(distinct, NEAR_BITS)
    own = np.repeat(np.arange(len(distinct))[:, None], 2, axis=1)
    neighbours = _Lists(np.concatenate([own, pairs, pairs[:, ::-1]]), len(distinct))
    members = _Lists(np.stack([kind, told], axis=1), len(distinct))
    shared = np.bincount(kind, minlength=len(distinct)) > 1
    shared |= np.bincount(pairs.ravel(), minlength=len(distinct)) > 0
    candidates = told[shared[kind]]
    kinds = np.full(len(contents), -1)
    kinds[told] = kind
    rows, row_of = _vectors(db, model, contents, candidates)
    free = row_of >= 0
    for centre in candidates.tolist():
        if not free[centre]:
            continue
        near = np.concatenate([members[other] for other in neighbours[kinds[centre]]])
        near = np.sort(near[(near > centre) & free[near]])
        cosines = _cosines(rows, row_of[centre], row_of[near])
        close = cosines >= NEAR_COSINE
        if star := _star(centre, near[close], cosines[close], free, there):
            yield star


def _similar(
    db: Database,
    model: Model,
    contents: Sequence[Sequence[Copy]],
    there: Callable[[int], list[Copy]],
    similarity: float,
    on_progress: OnProgress,
) -> Iterator[Star]:
    """Yield a star around each best picture: all that are near to it by cosine."""
    rows, row_of = _vectors(db, model, contents, np.arange(len(contents)))
    free = row_of >= 0
    for start in range(0, len(contents), _CENTRES):
        on_progress(Progress("compare", start, len(contents)))
        centres = start + np.flatnonzero(free[start : start + _CENTRES])
        others = start + np.flatnonzero(free[start:])
        left = rows[row_of[centres]].astype(np.float32)
        close = np.empty((len(centres), len(others)), np.bool_)
        for column in range(0, len(others), _COLUMNS):
            right = rows[row_of[others[column : column + _COLUMNS]]].astype(np.float32)
            close[:, column : column + _COLUMNS] = left @ right.T >= similarity
        for number, centre in enumerate(centres.tolist()):
            if not free[centre]:
                continue
            near = others[close[number] & (others > centre) & free[others]]
            cosines = _cosines(rows, row_of[centre], row_of[near])
            if star := _star(centre, near, cosines, free, there):
                yield star
    on_progress(Progress("compare", len(contents), len(contents)))


def _cosines(
    rows: NDArray[np.float16], centre: int, others: NDArray[np.int64]
) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rows[others].astype(np.float32) @ rows[centre].astype(np.float32)
    return found


def _star(
    centre: int,
    near: NDArray[np.int64],
    cosines: NDArray[np.float32],
    free: NDArray[np.bool_],
    there: Callable[[int], list[Copy]],
) -> Star | None:
    """Take the contents of a group whose files are there; they are free no more."""
    if not len(near) or not there(centre):
        return None
    present = np.array([bool(there(position)) for position in near.tolist()])
    if not present.any():
        return None
    free[centre] = False
    free[near[present]] = False
    return centre, near[present], cosines[present]


def _groups(
    contents: Sequence[Sequence[Copy]],
    found: Iterator[Star],
    there: Callable[[int], list[Copy]],
) -> Iterator[tuple[Duplicate, ...]]:
    """Yield the groups of `found`, and the copies of contents that are in none of them."""
    taken: set[int] = set()
    for centre, near, cosines in found:
        scored = [(centre, 1.0), *zip(near.tolist(), cosines.tolist(), strict=True)]
        taken.update(position for position, _ in scored)
        yield tuple(
            _duplicate(copy, min(round(score, 4), 1.0), identical=position == centre)
            for position, score in scored
            for copy in there(position)
        )
    for position, copies in enumerate(contents):
        if len(copies) > 1 and position not in taken and len(there(position)) > 1:
            yield tuple(_duplicate(copy, 1.0, identical=True) for copy in there(position))


def _duplicate(copy: Copy, score: float, *, identical: bool) -> Duplicate:
    return Duplicate(
        copy.id,
        copy.path,
        score,
        identical,
        copy.width,
        copy.height,
        copy.size,
        copy.taken_at,
    )


def _vectors(
    db: Database,
    model: Model,
    contents: Sequence[Sequence[Copy]],
    positions: NDArray[np.int64],
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Return vectors (m, dimensions) and the row of each content in them, -1 for none."""
    ids = np.array([contents[position][0].id for position in positions.tolist()], np.int64)
    order = np.argsort(ids)
    rows = np.zeros((len(ids), model.dimensions), np.float16)
    row_of = np.full(len(contents), -1)
    filled = 0
    for block_ids, block in vectors.blocks(db, model.id, model.dimensions, ids[order]):
        rows[filled : filled + len(block)] = block
        places = order[np.searchsorted(ids, block_ids, sorter=order)]
        row_of[positions[places]] = np.arange(filled, filled + len(block))
        filled += len(block)
    return rows, row_of


class _Lists:
    """Lists of numbers by number, from pairs (m, 2), without an object for each."""

    def __init__(self, pairs: NDArray[np.int64], count: int) -> None:
        order = np.argsort(pairs[:, 0], kind="stable")
        self._values = pairs[order, 1]
        self._ends = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=count))])

    def __getitem__(self, number: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._values[self._ends[number] : self._ends[number + 1]]
        return found


def _hash_missing(
    catalog: Catalog,
    open_photo: OpenPhoto,
    settings: Settings,
    skipped: dict[str, str],
    on_progress: OnProgress,
) -> None:
    """Hash the pictures that were indexed without; those that cannot be read are noted."""
    with catalog.read() as db:
        missing = list(pictures.without_hash(db).items())
    if not missing:
        return
    max_pixels = decode.limit_of(settings.max_pixels)

    def hashed(item: tuple[bytes, list[str]]) -> tuple[int | None, dict[str, str]]:
        return _hash_of(*item, max_pixels, open_photo)

    on_progress(Progress("hash", 0, len(missing)))
    with ThreadPoolExecutor(settings.threads or os.cpu_count() or 2) as pool:
        for start in range(0, len(missing), _HASHED_TOGETHER):
            part = missing[start : start + _HASHED_TOGETHER]
            found: list[tuple[bytes, int]] = []
            for (content, _), (value, failed) in zip(part, pool.map(hashed, part), strict=True):
                skipped.update(failed)
                if value is not None:
                    found.append((content, value))
            with catalog.write() as db:
                pictures.put(db, found)
            on_progress(Progress("hash", start + len(part), len(missing)))


def _hash_of(
    content: bytes, paths: Sequence[str], max_pixels: int, open_photo: OpenPhoto
) -> tuple[int | None, dict[str, str]]:
    """Hash the picture of a content, from the first of its files that can be read."""
    failed: dict[str, str] = {}
    for path in paths:
        try:
            decoded = open_photo(path, size=_HASHED_AT, max_pixels=max_pixels, hashed=True)
        except PhotoError as error:
            failed[path] = error.reason
            continue
        if decoded.content_hash == content:
            return decoded.picture_hash, {}
        failed[path] = _CHANGED
    return None, failed
