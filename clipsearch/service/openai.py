"""The wire format of OpenAI's embeddings, so that its clients work unchanged.

The format is that of https://platform.openai.com/docs/api-reference/embeddings. Beyond it, an
input that is a `data:` address of a picture is embedded as a picture. Errors have the shape of
all errors of this server.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from clipsearch.models.embedder import Embedder, Vectors
from clipsearch.service import fields, uploads
from clipsearch.service.context import Service
from clipsearch.service.contract import Route
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Given

MOST_INPUTS = 2048


def embeddings(service: Service, given: Given) -> Mapping[str, Any]:
    """Embed texts, and pictures that come as `data:` addresses."""
    embedder = service.library.embedder
    inputs = _inputs(given.get("input"))
    form = given.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise RequestError(f"encoding_format is float or base64, not {fields.shown(form)}")
    wanted = given.get("dimensions")
    if wanted is not None and (isinstance(wanted, bool) or wanted != embedder.dimensions):
        raise RequestError(
            f"the vectors of {embedder.name} have {embedder.dimensions} dimensions and are not "
            "shortened; leave dimensions out"
        )
    model = given.get("model")
    if not isinstance(model, str):
        raise RequestError("model is missing; any name does, the library's model answers")
    # A word is the nearest thing to a token that all models share.
    words = sum(len(each.split()) for each in inputs if not _is_image(each))
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": _encoded(row, form)}
            for place, row in enumerate(_embedded(service, embedder, inputs))
        ],
        "model": embedder.name,
        "usage": {"prompt_tokens": words, "total_tokens": words},
    }


def models(service: Service, _: Given) -> Mapping[str, Any]:
    """List the model in use, and the others that the library has vectors of."""
    found = service.library.status()
    names = dict.fromkeys([found.model or service.library.embedder.name, *found.models])
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "clipsearch"}
            for name in names
        ],
    }


def _inputs(value: object) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_INPUTS:
        raise RequestError(f"input is a text, or a list of 1 to {MOST_INPUTS} texts")
    if any(isinstance(each, int | list) for each in values):
        raise RequestError("input holds tokens; send the text itself, models count differently")
    for each in values:
        if not isinstance(each, str):
            raise RequestError(f"input holds {fields.shown(each)}; send texts")
        if not _is_image(each):
            if not each:
                raise RequestError("input holds an empty text; leave it out")
            fields.from_json(fields.text("input", ""), each)
    return values


def _embedded(service: Service, embedder: Embedder, inputs: list[str]) -> Vectors:
    rows = np.empty((len(inputs), embedder.dimensions), np.float32)
    texts = [place for place, each in enumerate(inputs) if not _is_image(each)]
    if texts:
        rows[texts] = embedder.texts([inputs[place] for place in texts])
    pictures = uploads.Pictures(service)
    for place, each in enumerate(inputs):
        if _is_image(each):
            image = pictures.decoded(uploads.from_base64(each))
            rows[place] = embedder.images([embedder.prepare(image)])[0]
    return rows


def _is_image(text: str) -> bool:
    return text.startswith("data:image/")


def _encoded(row: Vectors, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
    found: list[float] = row.tolist()
    return found


_TEXT = {"type": "string", "minLength": 1}
_REQUEST = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "input": {
            "anyOf": [
                _TEXT,
                {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_INPUTS},
            ]
        },
        "encoding_format": {"enum": ["float", "base64"]},
        "dimensions": {"type": "integer"},
    },
    "required": ["model", "input"],
}
_VECTOR = {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]}
_ITEM = {
    "type": "object",
    "properties": {
        "object": {"const": "embedding"},
        "index": {"type": "integer"},
        "embedding": _VECTOR,
    },
    "required": ["object", "index", "embedding"],
}
_COUNT = {"type": "integer"}
_ANSWER = {
    "type": "object",
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": _ITEM},
        "model": {"type": "string"},
        "usage": {
            "type": "object",
            "properties": {"prompt_tokens": _COUNT, "total_tokens": _COUNT},
            "required": ["prompt_tokens", "total_tokens"],
        },
    },
    "required": ["object", "data", "model", "usage"],
}
_MODELS = {
    "type": "object",
    "properties": {"object": {"const": "list"}, "data": {"type": "array"}},
    "required": ["object", "data"],
}
ROUTES = (
    Route(
        "POST",
        "/v1/embeddings",
        embeddings,
        "Embed texts and pictures: OpenAI's format.",
        _ANSWER,
        body=(),
        others=(400, 413, 415),
        foreign=_REQUEST,
    ),
    Route("GET", "/v1/models", models, "Models: OpenAI's format.", _MODELS, foreign={}),
)
