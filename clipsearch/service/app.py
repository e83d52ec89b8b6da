"""The application: the routes of all rooms behind one guard, and one shape for errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from flask import Flask, Response, g, request

from clipsearch.library.serving import ServedLibrary
from clipsearch.service import (
    archive,
    contract,
    errors,
    labels,
    monitoring,
    openai,
    openapi,
    pages,
    photos,
    roboflow,
    saved,
    search,
    words,
)
from clipsearch.service.bodies import TidyRequest
from clipsearch.service.context import MEGABYTE, UPLOAD_PIXELS, Service
from clipsearch.service.contract import Route
from clipsearch.service.errors import RequestError
from clipsearch.service.events import Events
from clipsearch.service.jobs import Job, Jobs
from clipsearch.service.metrics import Metrics
from clipsearch.service.schemas import plain
from clipsearch.service.security import HEADERS, LOOPBACK, Guard, check_origin

API = (
    *search.ROUTES,
    *saved.ROUTES,
    *photos.ROUTES,
    *words.ROUTES,
    *labels.ROUTES,
    *archive.ROUTES,
)
log = logging.getLogger("clipsearch.service")

_PAGES = frozenset({"/", "/login"})
_OPEN = frozenset({"/login", "/logout", "/health"})


def create_app(
    library: ServedLibrary,
    *,
    token: str | None = None,
    hosts: Collection[str] = (),
    addresses: bool = False,
    max_upload: int = 50 * MEGABYTE,
    max_pixels: int = UPLOAD_PIXELS,
) -> Flask:
    """Return the application that serves a library.

    Requests must be sent to a loopback name, one of `hosts` or, with `addresses`, any numeric
    address; with a `token` they must show it. `max_upload` is in bytes. The application's
    `extensions["clipsearch"]` is its `Service`; close that when the server ends.
    """
    app = Flask("clipsearch", static_folder=None)
    app.url_map.merge_slashes = app.url_map.strict_slashes = False  # no redirects
    app.request_class = TidyRequest
    app.config["MAX_CONTENT_LENGTH"] = max_upload
    app.config["MAX_FORM_MEMORY_SIZE"] = MEGABYTE
    events = Events(library.identity)

    def changed(job: Job) -> None:
        if job.state in ("done", "failed"):
            service.answers.changed()
        events.tell("job", job.id, plain(job))

    service = Service(
        library, Jobs(changed), events, Metrics(), max_upload=max_upload, max_pixels=max_pixels
    )
    app.extensions["clipsearch"] = service
    guard = Guard(token, LOOPBACK | {host.lower() for host in hosts}, addresses)
    errors.register(app)
    _watch(app, service)
    _protect(app, guard)
    app.register_blueprint(pages.blueprint(guard))
    rooms = {"api": API, "roboflow": roboflow.ROUTES, "openai": openai.ROUTES}
    known: tuple[Route, ...] = tuple(route for routes in rooms.values() for route in routes)
    watching = monitoring.routes(document := {})
    document.update(openapi.document((*known, *watching)))
    for name, routes in {**rooms, "monitoring": watching}.items():
        app.register_blueprint(contract.blueprint(name, routes, service))
    return app


def _protect(app: Flask, guard: Guard) -> None:
    """Let the guard look at each request, and put the headers on each answer."""

    @app.before_request
    def check() -> None:
        guard.check_host(request)
        check_origin(request, is_page=request.path in _PAGES)
        path = request.path
        if path == "/" and "token" in request.args:
            return  # this page checks it, and says so in words
        if path not in _OPEN and not path.startswith("/static/"):
            guard.check_token(request)

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> Response:
        wants_page = request.path == "/" and request.method == "GET"
        if error.status == 401 and wants_page:
            return Response(status=303, headers={"Location": "/login"})
        return errors.refusal(error)


def _watch(app: Flask, service: Service) -> None:
    """Count each request and the time that it took."""

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule else "none"
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        service.metrics.record(request.method, rule, response.status_code, seconds)
        # Without the query: it may hold a token, and says what somebody looks for.
        log.info(
            "%s %s %s %d %.0f ms",
            request.remote_addr,
            request.method,
            request.path,
            response.status_code,
            seconds * 1000,
        )
        return response
