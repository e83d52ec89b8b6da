"""What the routes of one server share: its library, its jobs, its counters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from clipsearch import vocabularies
from clipsearch.library.serving import ServedLibrary
from clipsearch.service.answers import Answers
from clipsearch.service.errors import RequestError
from clipsearch.service.events import Events
from clipsearch.service.jobs import Jobs
from clipsearch.service.metrics import Metrics

MEGABYTE = 1_000_000
UPLOAD_PIXELS = 100 * MEGABYTE
DECODERS = 2
PATIENCE = 20.0  # seconds that a request waits for its turn to decode


@dataclass(slots=True)
class Service:
    """A library on its way to many clients.

    `max_upload` is in bytes; `max_pixels` are those of the largest picture that a client may
    send. Two pictures are decoded at a time, whoever asks: each may need much memory.
    """

    library: ServedLibrary
    jobs: Jobs
    events: Events
    metrics: Metrics
    answers: Answers = field(default_factory=Answers)
    max_upload: int = 50 * MEGABYTE
    max_pixels: int = UPLOAD_PIXELS
    started: float = field(default_factory=monotonic)
    _limits: dict[tuple[str, str], float] = field(default_factory=dict)
    _decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(DECODERS))

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Wait for one of the places where pictures are decoded.

        Raises: RequestError with 503 where none gets free.
        """
        if not self._decoding.acquire(timeout=PATIENCE):
            raise RequestError("too many pictures are being decoded; try again soon", 503)
        try:
            yield
        finally:
            self._decoding.release()

    def synonym_limit(self) -> float:
        """Return the cosine above which the model takes two labels for one thing."""
        embedder = self.library.embedder
        key = (embedder.name, embedder.fingerprint)
        if key not in self._limits:
            self._limits[key] = vocabularies.synonym_limit(embedder.texts)
        return self._limits[key]

    def close(self) -> None:
        """End streams and the work on jobs; the library stays open."""
        self.events.close()
        self.jobs.close()
