"""Examine an installation and a library: each finding says what is so, and what to do if wrong."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import ClipsearchError

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


def examine(library: Library) -> Iterator[Finding]:
    """Yield one finding after another; none of the checks changes anything."""
    yield Finding("Python", True, f"{platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        yield _package(package)
    yield _sqlite()
    yield from _photo_formats()
    yield from _models(library)
    yield _catalogue(library)
    for root in library.status().roots:
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


def _models(library: Library) -> Iterator[Finding]:
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
    own = library.status().model
    if own not in {None, registry.STARTER}:
        try:
            yield Finding("library's model", True, f"{library.embedder.name} loads")
        except ClipsearchError as error:
            yield Finding("library's model", False, str(error))


def _catalogue(library: Library) -> Finding:
    fault = library.fault()
    status = library.status()
    detail = f"{library.folder}, {status.photos} photos, {status.skipped} skipped"
    return Finding("library", fault is None, detail if fault is None else f"{detail}: {fault}")
