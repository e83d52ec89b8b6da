"""A library opened: catalogue, model and index, each once, for all that is asked of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from clipsearch.catalog import Catalog, runs
from clipsearch.config import Settings
from clipsearch.errors import LibraryError
from clipsearch.library.place import (
    exclusive,
    is_library,
    library_folder,
    mark_catalogue,
    mark_library,
    refuse_lost,
)
from clipsearch.space import Space

if TYPE_CHECKING:
    from clipsearch.models.embedder import Embedder
    from clipsearch.photos.workers.pool import Workers

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
        create: bool = True,
    ) -> None:
        self.folder = library_folder(folder)
        self.settings = settings or Settings()
        if not (create or is_library(self.folder)):
            raise LibraryError(
                f"{self.folder}: there is no library here; `clipsearch index FOLDER` makes one, "
                "--library DIR chooses another"
            )
        mark_library(self.folder)
        refuse_lost(self.folder)
        self._catalog = Catalog(self.folder / "catalog.db")
        mark_catalogue(self.folder)
        self._workers: Workers | None = None
        self._starting = threading.Lock()
        self._space = Space(
            self.folder,
            self._catalog,
            model,
            device=device,
            precision=precision,
            settings=self.settings,
            on_notice=on_notice or (lambda _: None),
            workers=lambda: self.workers,
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
        """End the workers, close the catalogue and let go of model and index."""
        if self._workers is not None:
            self._workers.close()
        self._catalog.close()
        self._space.close()

    @property
    def embedder(self) -> Embedder:
        """The model in use, loaded on first access.

        Raises: ModelError.
        """
        return self._space.embedder

    @property
    def workers(self) -> Workers:
        """The processes that decode photos; each is started when it is needed."""
        from clipsearch.photos.workers.pool import Workers

        with self._starting:
            if self._workers is None:
                self._workers = Workers(
                    self.settings.threads or os.cpu_count() or 2,
                    memory=self.settings.decode_memory,
                    seconds=self.settings.decode_seconds,
                )
            return self._workers

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let no other process index or export meanwhile.

        Raises: LibraryBusyError.
        """
        with exclusive(self.folder):
            yield

    def _take_back_killed_exports(self) -> None:
        from clipsearch import exporting

        with self._catalog.read() as db:
            killed = runs.open_exports(db)
        for run in killed:
            exporting.take_back(self._catalog, run)
