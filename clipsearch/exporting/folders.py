"""Training data for a smaller model: one folder a label, with the photos that have it.

A hierarchy becomes one flat folder, `animal - dog`: what reads such data (torchvision's
ImageFolder, Keras) takes the folders of the first level for the classes, and would count
every photo of `animal/dog` for `animal` if that folder lay around it.
"""

from __future__ import annotations

import csv
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipsearch.errors import ExportError
from clipsearch.exporting.described import Described
from clipsearch.exporting.names import folder_names, unique_names
from clipsearch.exporting.swapping import exchange, locked, recover
from clipsearch.exporting.tables import escape_path, guarded, number
from clipsearch.records import Skipped

MARKER = ".clipsearch-export"
"""Name of the file that lists what an export made; without it a folder is never replaced."""

SCORES = "scores.csv"

Mode = Literal["link", "copy"]
_HEADER = "clipsearch export 1\n"


@dataclass(frozen=True, slots=True)
class FoldersReport:
    """What an export made: `files` counts a photo once for each of its labels."""

    labels: int
    photos: int
    files: int
    skipped: tuple[Skipped, ...]


def export_folders(
    target: str | os.PathLike[str],
    rows: Sequence[Described],
    *,
    mode: Mode = "link",
) -> FoldersReport:
    """Write one folder a label with links to its photos, or copies, and `scores.csv`.

    All is built in a hidden folder beside the target, and takes its place in one step: a kill
    leaves what was there. An earlier export is replaced as long as nobody has put anything
    into it. Photos that are not there are skipped.

    Raises:
        ExportError: the target holds what no export made, or cannot be written.
    """
    final = Path(os.path.abspath(target))  # noqa: PTH100 - no link is followed
    if final.name == "":
        raise ExportError(f"{final}: it cannot be replaced; name a folder in it")
    aside = final.with_name(f".clipsearch-{final.name}")
    try:
        with locked(final.parent):
            recover(final, aside)
            _check(final)
            _discard(aside)
            aside.mkdir()
            (aside / MARKER).write_text(_HEADER, encoding="utf-8")
            report = _build(aside, rows, mode)
            # Once more: building may have taken an hour, and somebody may have worked in there.
            _check(final)
            if final.exists():
                exchange(aside, final)
                _discard(aside)
            else:
                aside.rename(final)
    except OSError as error:
        raise ExportError(
            f"{error.filename or final}: the export cannot be written: {error.strerror or error}"
        ) from error
    return report


def _build(folder: Path, rows: Sequence[Described], mode: Mode) -> FoldersReport:
    folders = folder_names((tag.name for row in rows for tag in row.tags), taken=[SCORES])
    holders: dict[str, list[tuple[Described, float | None]]] = {label: [] for label in folders}
    for row in sorted(rows, key=lambda row: row.id):
        for tag in {tag.name: tag for tag in row.tags}.values():
            holders[tag.name].append((row, tag.score))
    skipped: dict[str, Skipped] = {}
    photos: set[int] = set()
    files = 0
    with (
        (folder / MARKER).open("a", encoding="utf-8") as manifest,
        (folder / SCORES).open("w", encoding="utf-8", newline="") as scores,
    ):
        table = csv.writer(scores)
        table.writerow(["file", "label", "photo_id", "score"])
        for label, name in folders.items():
            (folder / name).mkdir()
            manifest.write(f"folder\t{name}\n")
            described = holders[label]
            names = unique_names([os.path.basename(row.path) for row, _ in described])  # noqa: PTH119
            for (row, score), file in zip(described, names, strict=True):
                path = f"{name}/{file}"
                try:
                    line = _place(Path(row.path), folder / path, mode)
                except _UnreadableError as error:
                    skipped[row.path] = Skipped(row.path, str(error))
                    continue
                manifest.write(f"{line}\t{path}\n")
                table.writerow([guarded(path), guarded(escape_path(label)), row.id, number(score)])
                photos.add(row.id)
                files += 1
        scores.flush()
        manifest.write(f"{_seen(folder / SCORES)}\t{SCORES}\n")
        for file_object in (scores, manifest):
            file_object.flush()
            os.fsync(file_object.fileno())
    return FoldersReport(len(folders), len(photos), files, tuple(skipped.values()))


class _UnreadableError(Exception):
    """A photo cannot be linked or copied."""


def _place(photo: Path, path: Path, mode: Mode) -> str:
    try:
        if not stat.S_ISREG(photo.stat().st_mode):
            raise _UnreadableError("it is no ordinary file")
        source = photo.open("rb") if mode == "copy" else None
    except OSError as error:
        raise _UnreadableError(f"it cannot be read: {error.strerror or error}") from error
    if source is None:
        path.symlink_to(photo.absolute())
        return "link"
    with source, path.open("xb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    with suppress(OSError):
        facts = photo.stat()
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    return _seen(path)


def _seen(path: Path) -> str:
    facts = path.lstat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _check(folder: Path) -> None:
    """Refuse a target that holds anything which no export made.

    Raises:
        ExportError: it does; the message names the first such file.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExportError(f"{folder}: there is something that is no folder; choose another name")
    if not folder.exists() or not any(folder.iterdir()):
        return
    manifest = _manifest(folder)
    if manifest is None:
        raise ExportError(
            f"{folder}: the folder is not empty and no earlier export; choose another"
        )
    for path, kind in _found(folder):
        if not _is_made(folder / path, manifest.get(path), kind):
            raise ExportError(
                f"{folder / path}: an export would delete it, and none made it or it was "
                "changed since; move it elsewhere or choose another folder"
            )


def _is_made(path: Path, made: str | None, kind: str) -> bool:
    return made is not None and made == (kind or _seen(path))


def _found(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what lies in an export, relative, with `folder`, `link` or nothing for a file."""
    for name, kind in _listed(folder):
        if name != MARKER or kind:
            yield name, kind
        if kind == "folder":
            for inner, inner_kind in _listed(folder / name):
                yield f"{name}/{inner}", inner_kind


def _listed(folder: Path) -> list[tuple[str, str]]:
    with os.scandir(folder) as entries:
        return sorted((entry.name, _kind(entry)) for entry in entries)


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    return "folder" if entry.is_dir(follow_symlinks=False) else ""


def _manifest(folder: Path) -> Mapping[str, str] | None:
    """Return what an export made, by relative path; None where there is no whole list."""
    marker = folder / MARKER
    if marker.is_symlink() or not marker.is_file():
        return None
    made: dict[str, str] = {}
    with marker.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        if next(lines, "") != _HEADER:
            return None
        for line in lines:
            what, _, path = line.rstrip("\n").partition("\t")
            made[path] = what
    return made


def _discard(aside: Path) -> None:
    """Remove the hidden folder, which holds an old export or one that was not finished."""
    if not aside.exists() and not aside.is_symlink():
        return
    if aside.is_symlink() or not aside.is_dir():
        raise ExportError(f"{aside}: an export needs this name; move it elsewhere")
    if any(aside.iterdir()) and not (aside / MARKER).is_file():
        raise ExportError(f"{aside}: an export needs this name; move the folder elsewhere")
    shutil.rmtree(aside)
