"""Small disks in memory: they fill up, become read-only, and are pulled out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.stage import CannotTry

LARGE = 256 << 20  # bytes


class Disk:
    """A tmpfs at a folder; `disk` makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def used(self) -> int:
        """Return the bytes that are taken."""
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def leave(self, free: int) -> None:
        """Leave so many bytes free."""
        self._remount(f"size={(self.used() + free) // 1024 + 1}k")

    def allow(self, *, writing: bool = True) -> None:
        """Give back all the space, and the right to write."""
        self._remount(f"size={LARGE},{'rw' if writing else 'ro'}")

    def _remount(self, options: str) -> None:
        subprocess.run(
            ["mount", "-o", f"remount,{options}", str(self.folder)], check=True, capture_output=True
        )


@contextmanager
def disk(folder: Path, *, filled_from: Path | None = None) -> Iterator[Disk]:
    """Mount a tmpfs over a folder, with a copy of what was there.

    Raises: CannotTry where this user may not mount.
    """
    aside = filled_from or Path(tempfile.mkdtemp(prefix="below-")) / folder.name
    if filled_from is None:
        shutil.copytree(folder, aside, symlinks=True)
    _mount("-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", str(folder))
    try:
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        yield Disk(folder)
    finally:
        unmount(folder)
        if filled_from is None:
            shutil.rmtree(aside.parent)


def bind(source: Path, target: Path) -> None:
    """Show a folder at a second place, as a disk that is plugged in.

    Raises: CannotTry where this user may not mount.
    """
    _mount("--bind", str(source), str(target))


def unmount(folder: Path) -> None:
    """Pull a disk out, whoever has files on it open."""
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def _mount(*words: str) -> None:
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotTry("there is no mount command") from None
    if done.returncode:
        raise CannotTry(f"mounting is not permitted here ({done.stderr.strip()})")
