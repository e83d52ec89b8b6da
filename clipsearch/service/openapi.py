"""The description of the interface, written from the same table that checks requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from clipsearch import __version__
from clipsearch.service import fields
from clipsearch.service.contract import Route
from clipsearch.service.fields import Field
from clipsearch.service.schemas import schema_of

_PART = re.compile(r"<(?:(int)\([^)]*\):)?([a-z]+)>")
_MEANINGS = {
    200: "The answer.",
    201: "Made.",
    202: "A job was started; /api/jobs/ID says how far it is.",
    206: "The range that was asked for.",
    304: "Not changed since.",
    400: "The request cannot be understood.",
    401: "The token is missing or wrong.",
    403: "The host is not trusted, or another site asked.",
    404: "There is no such thing.",
    409: "The library or the line of jobs is busy.",
    413: "The request is too large.",
    415: "The body is of another type.",
    416: "There is no such range.",
    429: "Too many wrong tokens came from this address.",
    503: "Too much at a time, or the library or its model is in trouble.",
}
_RETRY_AFTER = {
    "description": "Seconds after which it may be tried again.",
    "schema": {"type": "integer", "minimum": 1},
}
_ERROR = {
    "type": "object",
    "properties": {
        "ok": {"const": False},
        "error": {"type": "string"},
        "status": {"type": "integer"},
        "position": {"type": "integer", "description": "Where in the query, if it is one."},
    },
    "required": ["ok", "error", "status"],
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe routes as OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        address = _PART.sub(r"{\2}", route.path)
        paths.setdefault(address, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clipsearch",
            "version": __version__,
            "description": "Search, captions and tags for the photos of one library.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    statuses = {route.status, 401, 403, 429, *route.others}
    if route.body is not None:
        statuses |= {413}
    responses = {str(code): _response(route, code) for code in sorted(statuses)}
    found: dict[str, Any] = {
        "summary": route.about,
        "operationId": f"{route.method.lower()}_{route.view.__module__.rpartition('.')[2]}"
        f"_{route.view.__name__}",
        "parameters": [*_parts(route.path), *map(_parameter, route.query)],
        "responses": responses,
    }
    if route.body is not None:
        found["requestBody"] = _request(route, route.body)
    return found


def _parts(path: str) -> list[dict[str, Any]]:
    found = []
    for number, name in _PART.findall(path):
        shape: dict[str, Any] = {"type": "string", "minLength": 1}
        if number:
            shape = {"type": "integer", "minimum": 0, "maximum": fields.LARGEST_ID}
        found.append({"name": name, "in": "path", "required": True, "schema": shape})
    return found


def _parameter(each: Field) -> dict[str, Any]:
    found = {
        "name": each.name,
        "in": "query",
        "required": each.required,
        "description": each.about,
        "schema": fields.schema(each),
    }
    if each.kind == "ids":
        found |= {"style": "form", "explode": False}
    return found


def _request(route: Route, body: tuple[Field, ...]) -> dict[str, Any]:
    if route.foreign is not None:
        return {"required": True, "content": {"application/json": {"schema": route.foreign}}}
    properties = {each.name: fields.schema(each) for each in body}
    required = [each.name for each in body if each.required]
    shape: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if required:
        shape["required"] = required
    content = {"application/json": {"schema": shape}}
    if route.image:
        image = {"type": "string", "format": "binary", "description": "A picture."}
        form = {**shape, "properties": {**properties, "image": image}}
        content["multipart/form-data"] = {"schema": form}
    return {"required": bool(required), "content": content}


def _response(route: Route, code: int) -> dict[str, Any]:
    if code >= 400:
        shape: dict[str, Any] = {"$ref": "#/components/schemas/Error"}
        content: dict[str, Any] = {"application/json": {"schema": shape}}
    elif code == 304:
        content = {}
    elif isinstance(route.answers, str):
        content = {kind: {"schema": {}} for kind in route.answers.split()}
    else:
        answers = route.answers
        shape = dict(answers) if isinstance(answers, Mapping) else schema_of(answers)
        if route.foreign is None:
            shape["properties"] = {**shape["properties"], "took_ms": {"type": "number"}}
            shape["required"] = [*shape["required"], "took_ms"]
        content = {"application/json": {"schema": shape}}
    found: dict[str, Any] = {"description": _MEANINGS[code]}
    if code == 429:
        found["headers"] = {"Retry-After": _RETRY_AFTER}
    return {**found, "content": content} if content else found
