"""A library opened: catalogue, model and index, each once, for all that is asked of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from clipsearch.catalog import Catalog, runs
from clipsearch.config import LIBRARY_MARKER, Settings, default_library
from clipsearch.errors import LibraryBusyError, LibraryError
from clipsearch.space import Space

if TYPE_CHECKING:
    from clipsearch.models.embedder import Embedder

OnNotice = Callable[[str], None]


class Session:
    """The resources of a library, and the lock that only one process may hold."""

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        model: str | Embedder = "auto",
        *,
        device: str = "auto",
        precision: str = "auto",
        settings: Settings | None = None,
        on_notice: OnNotice | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser().absolute() if folder else default_library()
        self.settings = settings or Settings()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            marker = self.folder / LIBRARY_MARKER
            if not marker.exists():
                marker.write_text("This folder belongs to clipsearch.\n", encoding="utf-8")
        except OSError as error:
            raise LibraryError(
                f"{self.folder}: the library folder cannot be made: {error.strerror}"
            ) from error
        self._catalog = Catalog(self.folder / "catalog.db")
        self._space = Space(
            self.folder,
            self._catalog,
            model,
            device=device,
            precision=precision,
            settings=self.settings,
            on_notice=on_notice or (lambda _: None),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalogue and let go of model and index."""
        self._catalog.close()
        self._space.close()

    @property
    def embedder(self) -> Embedder:
        """The model in use, loaded on first access.

        Raises: ModelError.
        """
        return self._space.embedder

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let no other process index or export meanwhile.

        Raises: LibraryBusyError.
        """
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.folder / "index.lock", timeout=0):
                yield
        except Timeout:
            raise LibraryBusyError(
                f"{self.folder}: another clipsearch is changing this library; wait until it is done"
            ) from None

    def _take_back_killed_exports(self) -> None:
        from clipsearch import exporting

        with self._catalog.read() as db:
            killed = runs.open_exports(db)
        for run in killed:
            exporting.take_back(self._catalog, run)
