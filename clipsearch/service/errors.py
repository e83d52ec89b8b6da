"""One shape for everything that goes wrong: `{"ok": false, "error": "sentence", "status": 404}`."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from clipsearch.errors import (
    ClipsearchError,
    DecoderError,
    LibraryBusyError,
    LibraryError,
    ModelError,
    PhotoError,
    PhotoNotFoundError,
    QueryError,
    UnknownModelError,
)
from clipsearch.library.serving import EmptyLibraryError

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("clipsearch.service")

_SENTENCES = {
    404: "there is nothing at this address; /openapi.json lists what there is",
    405: "this address does not take that method; /openapi.json lists what it takes",
    413: "the request is larger than this server takes; send a smaller image",
    416: "the file has no such range; ask for bytes that it has",
}


class RequestError(ClipsearchError):
    """A request that cannot be understood or is not allowed; `status` is that of the answer.

    `wait` are the seconds after which it may be sent again.
    """

    def __init__(self, message: str, status: int = 400, wait: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.wait = wait


def answer(status: int, sentence: str, **more: Any) -> Response:
    """Return the answer to a request that failed."""
    body = {"ok": False, "error": sentence, "status": status, **more}
    return Response(json.dumps(body), status, mimetype="application/json")


def refusal(error: RequestError) -> Response:
    """Return the answer to a request that is refused."""
    found = answer(error.status, str(error))
    if error.wait is not None:
        found.headers["Retry-After"] = str(error.wait)
    return found


def register(app: Flask) -> None:
    """Let every error of an application have the one shape."""
    app.register_error_handler(ClipsearchError, _known)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unknown)


def _known(error: ClipsearchError) -> Response:
    if isinstance(error, RequestError):
        return refusal(error)
    if isinstance(error, QueryError):
        return answer(400, error.reason, position=error.position)
    if isinstance(error, PhotoNotFoundError):
        return answer(404, str(error))
    if isinstance(error, LibraryBusyError):
        return answer(409, str(error))
    if isinstance(error, PhotoError) and error.transient:
        return answer(404, str(error))
    if isinstance(error, UnknownModelError | EmptyLibraryError):
        return answer(400, str(error))
    if isinstance(error, LibraryError | ModelError | DecoderError):
        # Nothing about the request is wrong: it may be sent again once the server is in order.
        log.error("a request failed: %s", error)
        return answer(503, str(error))
    return answer(400, str(error))


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    found = answer(status, _SENTENCES.get(status) or _plain(error))
    kept: Mapping[str, str] = dict(error.get_headers())
    for name in ("Allow", "Content-Range", "Retry-After"):
        if name in kept:
            found.headers[name] = kept[name]
    return found


def _plain(error: HTTPException) -> str:
    return (error.description or error.name).split("\n")[0].rstrip(".").lower()


def _unknown(error: Exception) -> Response:
    log.exception("a request failed", exc_info=error)
    return answer(500, "the server failed at this request; its log says more")
