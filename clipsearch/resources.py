"""Find the files that travel with the package: migrations and the web page.

A wheel carries them inside the package, a checkout (and an editable install of it)
has them beside it.
"""

from __future__ import annotations

from pathlib import Path

from clipsearch.errors import ClipsearchError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Return the folder `name` ("migrations", "web").

    Raises: ClipsearchError where the installation lacks it.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise ClipsearchError(f"the installation lacks its folder {name}; install clipsearch again")
