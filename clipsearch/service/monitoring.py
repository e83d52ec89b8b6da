"""Routes for those who watch the server: health, metrics, and the description of the interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from flask import Response, current_app

from clipsearch.errors import LibraryError
from clipsearch.library import note
from clipsearch.service import fields
from clipsearch.service.context import Service
from clipsearch.service.contract import Route
from clipsearch.service.fields import Given

NONCE = "CLIPSEARCH_NONCE"
"""Where the configuration of the application keeps the nonce of the server's note."""


@dataclass(frozen=True, slots=True)
class Health:
    """That the server answers, for which library, and with which model.

    `active_model` is the one that the library takes by itself. `proof` is the HMAC-SHA256 of the
    `challenge`, made with the nonce in the library's server.json.
    """

    ok: bool
    version: str
    library: str
    revision: int
    model: str | None
    active_model: str | None
    proof: str | None


def health(service: Service, given: Given) -> Health:
    """Say that the server and its catalogue answer."""
    from clipsearch import __version__

    library = service.library
    if not library.is_there():
        raise LibraryError("the catalogue of this library is gone; restore it and start again")
    found, model = library.identity(), library.model_name()
    nonce, challenge = current_app.config.get(NONCE), given["challenge"]
    proof = note.proof(nonce, challenge) if nonce and challenge else None
    return Health(True, __version__, found.library, found.revision, model, found.model, proof)


def metrics(service: Service, _: Given) -> Response:
    """Write the counters for Prometheus."""
    status = service.library.status()
    states = [job.state for job in service.jobs.all()]
    gauges = [
        ("clipsearch_photos", "Photos in the library.", float(status.photos)),
        ("clipsearch_vectors", "Vectors that answer.", float(service.library.vector_count())),
        ("clipsearch_skipped", "Files that were not indexed.", float(status.skipped)),
        ("clipsearch_revision", "Revision of the library.", float(status.revision)),
        ("clipsearch_jobs_running", "Jobs at work.", float(states.count("running"))),
        ("clipsearch_jobs_waiting", "Jobs in line.", float(states.count("waiting"))),
        ("clipsearch_jobs_failed", "Jobs that failed lately.", float(states.count("failed"))),
        ("clipsearch_streams", "Open event streams.", float(len(service.events))),
        ("clipsearch_uptime_seconds", "Since the start.", monotonic() - service.started),
    ]
    text = service.metrics.text(gauges)
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def routes(document: Mapping[str, Any]) -> tuple[Route, ...]:
    """Return the routes; `document` is the OpenAPI description of all."""

    def openapi(_: Service, __: Given) -> Mapping[str, Any]:
        """Describe the interface."""
        return document

    return (
        Route(
            "GET",
            "/health",
            health,
            "Whether the server works.",
            Health,
            query=(fields.text("challenge", "What `proof` is made of.", most=128),),
            others=(400,),
            free=True,
        ),
        Route("GET", "/metrics", metrics, "Counters for Prometheus.", "text/plain"),
        Route("GET", "/openapi.json", openapi, "This document.", Mapping[str, Any], foreign={}),
    )
