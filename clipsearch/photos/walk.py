"""Find the photos under a root without opening a single file."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clipsearch.config import LIBRARY_MARKER
from clipsearch.errors import LibraryError
from clipsearch.photos.formats import MAX_FILE_BYTES, SUFFIXES, refusal, suffix_of, too_large
from clipsearch.records import Skipped

SIDECAR_SUFFIX = ".xmp"

_PHOTO_SUFFIXES = frozenset(suffix.encode() for suffix in SUFFIXES)
_USUAL = frozenset(
    each
    for suffix in SUFFIXES
    if len(suffix) == 4
    for each in (suffix.encode(), suffix.upper().encode())
)
_DOT = ord(".")
_LIBRARY = frozenset({os.fsencode(LIBRARY_MARKER), b"catalog.db"})

Stamp = tuple[bytes, int, int, str]
"""A file as it is met: `FoundFile` with the path in the file system's own bytes."""

IGNORED_FOLDERS = frozenset(
    {"@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"},
)
"""Folders that file servers and systems keep for themselves: thumbnails, deleted files."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that may be a photo.

    `path` is relative to the root, separated by `/`, and round-trips with `os.fsencode`
    also where its bytes are not UTF-8. Size in bytes, time in nanoseconds since 1970; both
    are of the target where the file is a symbolic link. `sidecar` changes whenever the photo's
    XMP sidecars do; it is empty where there are none.
    """

    path: str
    size: int
    mtime_ns: int
    sidecar: str = ""


@dataclass
class Walk:
    """What a walk of one root saw, sorted by the bytes of the path.

    `seen` counts the files that may be photos, those that were not picked too. `unreadable`
    lists folders whose content is not known (`''` is the root itself): photos that were indexed
    below one of them may well exist still. `mounts` are the folders where another file system
    begins, and `away` those of the known ones where none does any more; they are unreadable, too.
    """

    seen: int = 0
    files: list[FoundFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)


def ignore_count(_: int) -> None:
    """Report nothing: the default of `on_progress`."""


def all_of(_: bytes, files: Sequence[Stamp]) -> Iterable[Stamp]:
    """Pick every file: the default of `pick`."""
    return files


def walk(
    root: Path,
    on_progress: Callable[[int], None] = ignore_count,
    pick: Callable[[bytes, Sequence[Stamp]], Iterable[Stamp]] = all_of,
    known_mounts: Collection[str] = (),
) -> Walk:
    """List the photos under a folder, and every file that was passed over with its reason.

    `on_progress` gets the number of photos met so far, once a folder. `pick` gets the path of
    each folder and its files, and gives back those to list; the folders come in the order of
    the bytes of their paths, so that a million files need not be in memory at once. Where one of
    `known_mounts` is no mount point now, a disk is away: its folder is not looked into.

    Raises:
        LibraryError: the root is not there, is no folder or holds a library.
    """
    identity = _identity_of_root(root)
    found = Walk()
    # Subfolders come after their folder in the order of bytes, so the least of those that wait
    # is the next of all.
    folders = [(b"", identity[0])]  # each with the device of the folder that it is in
    missing = {os.fsencode(path) for path in known_mounts}
    while folders:
        folder, outer = heapq.heappop(folders)
        device = _device(os.path.join(os.fsencode(root), folder), outer)  # noqa: PTH118
        if device != outer:
            found.mounts.append(os.fsdecode(folder))
            missing.discard(folder)
        elif folder in missing:
            continue
        subfolders: list[bytes] = []
        files = _walk_folder(os.fsencode(root), folder, found, subfolders)
        for subfolder in subfolders:
            heapq.heappush(folders, (subfolder, device))
        found.seen += len(files)
        found.files += (
            FoundFile(os.fsdecode(path), size, mtime_ns, sidecar)
            for path, size, mtime_ns, sidecar in pick(folder, files)
        )
        on_progress(found.seen)
    if _identity(root) != identity and "" not in found.unreadable:
        # A disk that went away during the walk looks like folders that were deleted.
        _not_listed(found, "", "the folder went away while it was read")
    for path in sorted(missing):
        found.away.append(os.fsdecode(path))
        _not_listed(found, os.fsdecode(path), "the disk that was mounted here is away")
    found.files.sort(key=lambda file: os.fsencode(file.path))
    found.skipped.sort(key=lambda file: os.fsencode(file.path))
    found.unreadable.sort(key=os.fsencode)
    return found


def _identity_of_root(root: Path) -> tuple[int, int]:
    try:
        status = root.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise LibraryError(
            f"{root}: there is no such folder; if it is on a disk, connect the disk"
        ) from None
    except (OSError, ValueError) as error:
        raise LibraryError(f"{root}: the folder cannot be read: {_why(error)}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise LibraryError(f"{root}: not a folder; give the folder that holds the photos")
    if (root / LIBRARY_MARKER).exists() and (root / "catalog.db").exists():
        raise LibraryError(f"{root}: holds a clipsearch library; give a folder of photos instead")
    return status.st_dev, status.st_ino


def _device(folder: bytes, outer: int) -> int:
    """Return the device of a folder; of one that cannot be asked, that of the folder around it."""
    try:
        return os.stat(folder).st_dev  # noqa: PTH116 - 3x faster than Path
    except OSError:
        return outer


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _walk_folder(root: bytes, folder: bytes, found: Walk, folders: list[bytes]) -> list[Stamp]:
    """Return the files of one folder; its subfolders go to the list `folders`."""
    try:
        with os.scandir(os.path.join(root, folder)) as listing:  # noqa: PTH118 - 3x faster than Path
            entries = list(listing)
    except FileNotFoundError:
        # Deleted in this moment, or the disk is away for a moment: the next run will tell.
        _not_listed(found, os.fsdecode(folder), "the folder went away while it was read")
        return []
    except OSError as error:
        _not_listed(found, os.fsdecode(folder), f"the folder cannot be listed: {_why(error)}")
        return []
    prefix = folder + b"/" if folder else b""
    files: list[Stamp] = []
    sidecars: dict[bytes, str] = {}
    skipped: list[Skipped] = []
    subfolders: list[bytes] = []
    others: set[bytes] = set()  # names
    unreadable = False
    for entry in entries:
        name = entry.name
        path = prefix + name
        try:
            # Nearly all files are so, and take this short way.
            if (
                (name[-4:] in _USUAL or name[name.rfind(b".") :].lower() in _PHOTO_SUFFIXES)
                and name[0] != _DOT
                and entry.is_file(follow_symlinks=False)
            ):
                status = entry.stat(follow_symlinks=False)
                if status.st_size <= MAX_FILE_BYTES:
                    files.append((path, status.st_size, status.st_mtime_ns, ""))
                    continue
            elif entry.is_dir(follow_symlinks=False):
                if name[0] != _DOT and os.fsdecode(name) not in IGNORED_FOLDERS:
                    subfolders.append(path)
                continue
            others.add(name)
            answer = _look_at(entry, os.fsdecode(name))
        except FileNotFoundError:  # as above
            unreadable = True
            continue
        except OSError as error:
            # The folder could be listed but not entered: its photos are still there.
            skipped.append(Skipped(os.fsdecode(path), _why(error)))
            unreadable = True
            continue
        if isinstance(answer, os.stat_result):
            if _suffix(name) == SIDECAR_SUFFIX:
                sidecars[path] = f"{answer.st_size}:{answer.st_mtime_ns}"
            else:
                files.append((path, answer.st_size, answer.st_mtime_ns, ""))
        elif answer is not None:
            skipped.append(Skipped(os.fsdecode(path), answer))
    if others >= _LIBRARY:
        return []
    if sidecars:
        files = _with_sidecars(files, sidecars)
        skipped += (
            Skipped(os.fsdecode(path), "XMP sidecar without its photo") for path in sidecars
        )
    folders += subfolders
    found.skipped += skipped
    if unreadable:
        found.unreadable.append(os.fsdecode(folder))
    return files


def _suffix(name: bytes) -> str:
    return suffix_of(os.fsdecode(name))


def _with_sidecars(files: list[Stamp], sidecars: dict[bytes, str]) -> list[Stamp]:
    """Return the files with what their sidecars are like; those are taken out of `sidecars`."""
    ending = SIDECAR_SUFFIX.encode()
    used: set[bytes] = set()
    result = []
    for path, size, mtime_ns, _ in files:
        stem, suffix = os.path.splitext(path)  # noqa: PTH122 - names may hold any byte
        stem += b"." if suffix == b"." else b""
        own = [name for name in dict.fromkeys([path + ending, stem + ending]) if name in sidecars]
        used.update(own)
        result.append((path, size, mtime_ns, " ".join(sidecars[name] for name in own)))
    for name in used:
        del sidecars[name]
    return result


def _look_at(entry: os.DirEntry[bytes], name: str) -> os.stat_result | str | None:
    """Return what a file to index is like, a reason to skip it, or None for what is not worth
    a word."""
    suffix = suffix_of(name)
    if name.startswith("."):
        return _look_at_hidden(name)
    if entry.is_symlink():
        try:
            status = entry.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return "link that leads back to itself"
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return "link to a file that is not there"
            return f"link that cannot be followed: {_why(error)}"
        if stat.S_ISDIR(status.st_mode):
            return "link to a folder, not followed; index its target as a root of its own"
        special = _kind(status.st_mode)
        if special:
            return f"link to {special}, not a file"
    else:
        status = entry.stat(follow_symlinks=False)
        special = _kind(status.st_mode)
        if special:
            return f"{special}, not a file"
    reason = None if suffix == SIDECAR_SUFFIX else refusal(suffix)
    if reason:
        return reason
    if status.st_size > MAX_FILE_BYTES:
        return too_large(status.st_size)
    return status


def _look_at_hidden(name: str) -> str | None:
    # `.jpg` alone is a hidden file whose name happens to be a suffix.
    if suffix_of(name) not in SUFFIXES:
        return None
    if name.startswith("._"):
        return "AppleDouble resource fork, not a photo"
    return "hidden file"


def _kind(mode: int) -> str | None:
    """Name what is not a regular file."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "a device"
    return "a special file"


def _not_listed(found: Walk, folder: str, reason: str) -> None:
    found.unreadable.append(folder)
    found.skipped.append(Skipped(folder, reason))


def _why(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
