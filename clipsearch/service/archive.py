"""Routes about the whole library: what it holds, indexing, models, jobs, export."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, request

from clipsearch import exporting
from clipsearch.errors import ClipsearchError
from clipsearch.models.registry import KNOWN, KnownModel
from clipsearch.records import OnProgress, Skipped
from clipsearch.service import fields
from clipsearch.service.context import Service
from clipsearch.service.contract import LIST, MOST_LISTED, Route
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Given
from clipsearch.service.jobs import Job
from clipsearch.service.schemas import plain
from clipsearch.service.search import optional_question

EXPORTS = {
    "csv": ("text/csv", "tags.csv"),
    "json": ("application/json", "tags.json"),
    "html": ("text/html", "contact-sheet.html"),
}


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """What the library holds."""

    library: str
    photos: int
    skipped: int
    roots: tuple[str, ...]
    model: str | None
    dimensions: int | None
    revision: int
    models: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class SkippedFiles:
    """Files that were not indexed, from one place in the list on."""

    total: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class JobList:
    """Jobs, the latest first."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Models:
    """Models that are known, and the one in use."""

    in_use: str | None
    kept: tuple[str, ...]
    models: tuple[KnownModel, ...]


def status(service: Service, _: Given) -> StatusAnswer:
    """Count what the library holds."""
    from clipsearch import __version__

    found = service.library.status()
    identity = service.library.identity()
    return StatusAnswer(
        identity.library,
        found.photos,
        found.skipped,
        found.roots,
        found.model,
        found.dimensions,
        found.revision,
        found.models,
        __version__,
    )


def skipped(service: Service, given: Given) -> SkippedFiles:
    """List the files that were not indexed."""
    files = service.library.skipped()
    start = given["offset"]
    return SkippedFiles(len(files), tuple(files[start : start + given["k"]]))


def index(service: Service, given: Given) -> Job:
    """Bring the library up to date with its roots, or with some of them."""
    known = service.library.roots()
    for root in given["roots"]:
        if root not in known:
            raise RequestError(
                "only folders that the library follows already can be refreshed here; "
                "`clipsearch index FOLDER` adds one"
            )
    if not known:
        raise RequestError("the library follows no folder yet; run `clipsearch index FOLDER`")

    def work(on_progress: OnProgress) -> Mapping[str, Any]:
        report = service.library.index(*given["roots"], on_progress=on_progress)
        names = ("added", "updated", "moved", "unchanged", "removed", "seconds", "model")
        found = {name: getattr(report, name) for name in names}
        return {**found, "skipped": len(report.skipped), "notices": report.notices}

    return service.jobs.start("index", work)


def jobs(service: Service, _: Given) -> JobList:
    """List the jobs."""
    return JobList(tuple(service.jobs.all()))


def job(service: Service, given: Given) -> Job:
    """Say how far a job is."""
    return service.jobs.get(given["job"])


def stop(service: Service, given: Given) -> Job:
    """Stop a job."""
    return service.jobs.stop(given["job"])


def events(service: Service, _: Given) -> Response:
    """Stream the progress of jobs and changes of the library."""
    gone = request.environ.get("waitress.client_disconnected", lambda: False)
    lines = service.events.listen({"job": [plain(each) for each in service.jobs.all()[:5]]}, gone)
    response = Response(lines, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def models(service: Service, _: Given) -> Models:
    """List the models."""
    found = service.library.status()
    return Models(found.model, found.models, KNOWN)


def use_model(service: Service, given: Given) -> Job:
    """Embed the library with another model, then switch to it.

    Only names that are listed or kept are taken: a name may also be the path of a file.
    """
    name = given["name"]
    if name not in {each.name for each in KNOWN} | set(service.library.status().models):
        raise RequestError(
            "only models that /api/models lists can be chosen here; "
            "`clipsearch models use NAME` takes any"
        )

    def work(on_progress: OnProgress) -> Mapping[str, Any]:
        report = service.library.use_model(name, on_progress=on_progress)
        return {"embedded": report.embedded, "model": report.model, "notices": report.notices}

    return service.jobs.start("model", work)


def export(service: Service, given: Given) -> Response:
    """Send tags and alt text of all photos, or of those that answer a query."""
    form = given["to"]
    rows = service.library.described(optional_question(given["q"]))
    buffer = io.StringIO(newline="")
    if form == "csv":
        exporting.write_csv(buffer, rows)
    elif form == "json":
        exporting.write_json(buffer, rows)
    else:
        if len(rows) > MOST_LISTED:
            raise RequestError(
                f"a contact sheet of {len(rows)} photos is too large to send; narrow it by a "
                "query, or run `clipsearch export --to html`"
            )
        exporting.write_html(buffer, rows, lambda photo: _thumbnail(service, photo))
    kind, name = EXPORTS[form]
    data = buffer.getvalue().encode("utf-8", "backslashreplace")
    response = Response(data, mimetype=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _thumbnail(service: Service, photo_id: int) -> bytes:
    try:
        with service.decoding():
            return service.library.thumbnail(photo_id).read_bytes()
    except ClipsearchError:
        return b""


Q = fields.text("q", "Only photos that answer this query.")
ROUTES = (
    Route("GET", "/api/status", status, "What the library holds.", StatusAnswer),
    Route(
        "GET", "/api/skipped", skipped, "Files that were not indexed, and why.", SkippedFiles,
        query=LIST, others=(400,),
    ),
    Route(
        "POST", "/api/index", index, "Bring the library up to date with its folders: a job.", Job,
        body=(fields.texts("roots", "Folders that the library follows; all unless given."),),
        status=202, others=(400, 409, 415, 503),
    ),
    Route("GET", "/api/jobs", jobs, "Jobs, the latest first.", JobList),
    Route(
        "GET", "/api/jobs/<int(max=9223372036854775807):job>", job, "How far a job is.", Job,
        others=(404,),
    ),
    Route(
        "POST", "/api/jobs/<int(max=9223372036854775807):job>/stop", stop,
        "Stop a job at its next step; what it finished stays.", Job, others=(404, 409),
    ),
    Route(
        "GET", "/api/events", events, "Progress of jobs and changes of the library.",
        "text/event-stream", others=(503,),
    ),
    Route("GET", "/api/models", models, "Known models with cost and quality.", Models),
    Route(
        "POST", "/api/models/use", use_model, "Switch to another model: a job.", Job,
        body=(fields.text("name", "A listed model.", most=200, least=1, required=True),),
        status=202, others=(400, 409, 415, 503),
    ),
    Route(
        "GET", "/api/export", export, "Tags and alt text as a file.",
        "text/csv application/json text/html",
        query=(
            fields.choice("to", "The form of the file.", tuple(EXPORTS), required=True),
            Q,
        ),
        others=(400, 404),
    ),
)  # fmt: skip
