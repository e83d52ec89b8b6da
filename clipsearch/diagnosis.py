"""Examine an installation and a library: each finding says what is so, and what to do if wrong."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.catalog.faults import damaged
from clipsearch.errors import ClipsearchError, LibraryError

if TYPE_CHECKING:
    from clipsearch.library import Library

_PACKAGES = (
    "torch",
    "open_clip_torch",
    "timm",
    "faiss-cpu",
    "sqlite-utils",
    "pillow",
    "pillow-heif",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked thing."""

    what: str
    ok: bool
    detail: str


def examine(open_library: Callable[[], Library]) -> Iterator[Finding]:
    """Yield one finding after another; none of the checks changes anything.

    A library that cannot be opened is a finding, too.
    """
    yield from _installation()
    try:
        library = open_library()
    except LibraryError as error:
        yield from _models(None)
        yield Finding("library", False, str(error))
        return
    with library:
        yield from _models(library)
        yield from _library(library)


def _installation() -> Iterator[Finding]:
    yield Finding("Python", True, f"{platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        yield _package(package)
    yield _sqlite()
    yield from _photo_formats()


def _library(library: Library) -> Iterator[Finding]:
    try:
        found = _catalogue(library)
        yield found
        wrong = [] if not found.ok else list(library.faults())
        for each in wrong:
            yield Finding("library", False, each)
        yield from _backups(library)
        roots = library.status().roots
    except LibraryError as error:
        yield Finding("library", False, str(error))
        return
    for root in roots:
        there = Path(root).is_dir()
        yield Finding("root", there, root if there else f"{root} cannot be reached; is it mounted?")


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "is not installed; run pip install clipsearch again")


def _sqlite() -> Finding:
    enough = sqlite3.sqlite_version_info >= (3, 37)
    remedy = "" if enough else "; STRICT tables need 3.37: use a newer Python"
    return Finding("SQLite", enough, sqlite3.sqlite_version + remedy)


def _photo_formats() -> Iterator[Finding]:
    from PIL import features

    for name in ("jpg", "webp", "avif", "libtiff"):
        ok = bool(features.check(name))
        yield Finding(f"format {name}", ok, "readable" if ok else "this Pillow cannot read it")
    heif = _package("pillow-heif")
    yield Finding("format heic", heif.ok, "readable" if heif.ok else heif.detail)


def _models(library: Library | None) -> Iterator[Finding]:
    from clipsearch.models import registry, runtime

    device = runtime.choose_device()
    precision = str(runtime.choose_precision("auto", device)).removeprefix("torch.")
    yield Finding("device", True, f"{device}, images in {precision}")
    try:
        starter = registry.load(registry.STARTER)
        starter.texts(["a photo"])
        yield Finding("starter model", True, "weights are whole")
    except ClipsearchError as error:
        yield Finding("starter model", False, str(error))
    cached = registry.recommended_is_cached()
    where = "in the cache" if cached else "not in the cache; it is fetched when first used"
    yield Finding("recommended model", True, f"{registry.RECOMMENDED}: {where}")
    if library is None:
        return
    try:
        own = library.status().model
    except LibraryError:  # a finding about the library says it
        return
    if own not in {None, registry.STARTER}:
        try:
            yield Finding("library's model", True, f"{library.embedder.name} loads")
        except ClipsearchError as error:
            yield Finding("library's model", False, str(error))


def _catalogue(library: Library) -> Finding:
    if fault := library.fault():
        return Finding("library", False, str(damaged(library.folder / "catalog.db", fault)))
    status = library.status()
    detail = f"{library.folder}, {status.photos} photos, {status.skipped} skipped"
    return Finding("library", True, detail)


def _backups(library: Library) -> Iterator[Finding]:
    if found := library.backups():
        size = sum(each.size for each in found) / 1e6
        made = found[-1].made_at[:16].replace("T", " ")
        yield Finding("backups", True, f"{len(found)}, {size:.1f} MB, the last of {made} UTC")
