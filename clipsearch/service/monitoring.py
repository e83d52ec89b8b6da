"""Routes for those who watch the server: health, metrics, and the description of the interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from flask import Response

from clipsearch.service.context import Service
from clipsearch.service.contract import Route
from clipsearch.service.fields import Given


@dataclass(frozen=True, slots=True)
class Health:
    """That the server answers, and for which library."""

    ok: bool
    version: str
    library: str
    revision: int


def health(service: Service, _: Given) -> Health:
    """Say that the server and its catalogue answer."""
    from clipsearch import __version__

    found = service.library.identity()
    return Health(True, __version__, found.library, found.revision)


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
        Route("GET", "/health", health, "Whether the server works.", Health, free=True),
        Route("GET", "/metrics", metrics, "Counters for Prometheus.", "text/plain"),
        Route("GET", "/openapi.json", openapi, "This document.", Mapping[str, Any], foreign={}),
    )
