"""Bodies of requests: objects in JSON, and files that end with the request."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from flask import Request, request

from clipsearch.service.errors import RequestError
from clipsearch.service.fields import shown

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class TidyRequest(Request):
    """A request that closes the files it was sent, those of a broken form too."""

    def __init__(self, environ: WSGIEnvironment, *args: Any, **options: Any) -> None:
        super().__init__(environ, *args, **options)
        self._received: list[IO[bytes]] = []

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        stream = super()._get_file_stream(
            total_content_length, content_type, filename, content_length
        )
        self._received.append(stream)
        return stream

    def close(self) -> None:
        """Close everything that came with the request."""
        super().close()
        for stream in self._received:
            stream.close()


def json_object() -> dict[str, Any]:
    """Return the request's body, which must be an object in JSON.

    Raises: RequestError.
    """
    if request.mimetype != "application/json":
        raise RequestError("the body must be JSON, sent as Content-Type: application/json", 415)
    try:
        document = json.loads(request.get_data(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RequestError("the body is not JSON that can be read; correct it") from None
    if not isinstance(document, dict):
        raise RequestError(f"the body is {shown(document)}; send an object")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(name)
