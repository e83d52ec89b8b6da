"""Sidecar files beside photos: plan a change, show it, write it, take it back."""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clipsearch.errors import SidecarError
from clipsearch.photos.sidecars.merging import Sidecar, extract, merge
from clipsearch.photos.sidecars.packet import MAX_BYTES, decode


@dataclass(frozen=True, slots=True)
class Change:
    """What writing one sidecar would do; `before` is None where there is none yet."""

    path: str
    before: bytes | None
    after: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of what is written, in hexadecimal: `revert` asks for it."""
        return hashlib.sha256(self.after).hexdigest()


def sidecar_path(photo: str) -> str:
    """Return where clipsearch writes the sidecar of a photo: `IMG.jpg` has `IMG.jpg.xmp`."""
    return f"{photo}.xmp"


def find(photo: str) -> tuple[str, ...]:
    """Return the sidecars that a photo has: `IMG.jpg.xmp`, and Lightroom's `IMG.xmp`."""
    paths = dict.fromkeys([sidecar_path(photo), str(Path(photo).with_suffix(".xmp"))])
    # Unlike Path.is_file, this one takes names that are too long.
    return tuple(path for path in paths if os.path.isfile(path))  # noqa: PTH113


def read(path: str) -> Sidecar:
    """Read a sidecar file.

    Raises:
        SidecarError: the file is no sidecar, or cannot be read.
    """
    data = _load(path, links=True)
    if data is None:
        raise SidecarError(f"{path}: there is no such file")
    try:
        return extract(data)
    except SidecarError as error:
        raise SidecarError(f"{path}: {error}; repair the file or move it away") from error


def plan(
    photo: str,
    *,
    tags: Sequence[str],
    alt_text: str | None,
    previous_tags: Sequence[str] = (),
    previous_alt_text: str | None = None,
    foreign_tags: Sequence[str] = (),
) -> Change | None:
    """Return what has to change in a photo's sidecar, None where nothing has; see `merge`.

    Nothing is written. A photo without sidecar of which there is nothing to say gets none.

    Raises:
        SidecarError: the sidecar that is there is broken, or no ordinary file.
    """
    path = sidecar_path(photo)
    before = _load(path)
    if before is None and not alt_text and not tags:
        return None
    try:
        after = merge(
            before,
            tags=tags,
            alt_text=alt_text,
            previous_tags=previous_tags,
            previous_alt_text=previous_alt_text,
            foreign_tags=foreign_tags,
        )
    except SidecarError as error:
        raise SidecarError(
            f"{path}: {error}; it is left as it is: repair it or move it away"
        ) from error
    return None if after == before else Change(path, before, after)


def difference(change: Change) -> str:
    """Return a change as a unified diff, with control characters made visible."""
    before = _lines(change.before)
    lines = difflib.unified_diff(
        before,
        _lines(change.after),
        fromfile="/dev/null" if change.before is None else _shown(change.path),
        tofile=_shown(change.path),
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)


def write(change: Change) -> None:
    """Write a sidecar in one step: at every moment it is the old one or the new one, whole.

    The permissions of a sidecar that is there are kept.

    Raises:
        SidecarError: the file is no longer what the change was planned for, or the folder
            cannot be written.
    """
    if _load(change.path) != change.before:
        raise SidecarError(f"{change.path}: another program has changed it meanwhile; export again")
    _replace(change.path, change.after)


def revert(path: str, before: bytes | None, written: str) -> bool:
    """Restore the sidecar that was there before, or remove the one that clipsearch made.

    `written` is the `digest` of the change. False where the file is as before already.

    Raises:
        SidecarError: somebody has changed or removed the file since, or it cannot be written.
    """
    with suppress(OSError):
        _aside(path).unlink()  # left by a kill in the middle of writing
    current = _load(path)
    if current == before:
        return False
    if current is None or hashlib.sha256(current).hexdigest() != written:
        what = "removed" if current is None else "changed"
        raise SidecarError(f"{path}: it was {what} after clipsearch wrote it; it is left as it is")
    if before is not None:
        _replace(path, before)
        return True
    try:
        Path(path).unlink()
    except OSError as error:
        raise _failed(path, "removed", error) from error
    return True


def _load(path: str, *, links: bool = False) -> bytes | None:
    # Without O_NONBLOCK a named pipe would wait for a writer. What is to be written must be no
    # link: replacing it would take the link away and leave the file behind it as it was.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SidecarError(f"{path}: it is a link, which clipsearch leaves alone") from error
        raise _failed(path, "read", error) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SidecarError(f"{path}: it is no ordinary file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _failed(path, "read", error) from error
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise SidecarError(f"{path}: larger than {MAX_BYTES >> 20} MiB, which is no sidecar")
    return data


def _aside(path: str) -> Path:
    """Return where a sidecar is made; the same each time, so that a kill leaves one at most."""
    # Short, since the name of the sidecar may fill what a file system allows.
    name = hashlib.blake2b(os.fsencode(os.path.basename(path)), digest_size=8).hexdigest()  # noqa: PTH119
    return Path(path).with_name(f".clipsearch-{name}.tmp")


def _replace(path: str, data: bytes) -> None:
    folder, aside = Path(path).parent, _aside(path)
    try:
        aside.unlink(missing_ok=True)
        try:
            with os.fdopen(
                os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb"
            ) as file:
                with suppress(FileNotFoundError):
                    os.fchmod(file.fileno(), stat.S_IMODE(Path(path).stat().st_mode))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _sync(folder)
    except OSError as error:
        raise _failed(path, "written", error) from error


def _sync(folder: Path) -> None:
    # The name of the file is durable once the folder is; some file systems refuse to say so.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failed(path: str, what: str, error: OSError) -> SidecarError:
    return SidecarError(f"{path}: it cannot be {what}: {error.strerror or error}")


def _lines(data: bytes | None) -> list[str]:
    if data is None:
        return []
    utf8, _ = decode(data)
    return [_shown(line) for line in utf8.decode("utf-8", "replace").split("\n")]


def _shown(text: str) -> str:
    # The mark in the packet's header, and what could steer a terminal.
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
