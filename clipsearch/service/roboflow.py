"""The wire format of Roboflow Inference for CLIP, so that its clients work unchanged.

The format is that of the routes `/clip/...` of https://github.com/roboflow/inference. The model
is the library's, whatever `clip_version_id` asks for, and nothing limits the number of prompts
but the size of a request. Pictures come in base64 only: this server fetches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np

from clipsearch.models.embedder import Vectors
from clipsearch.service import fields, uploads
from clipsearch.service.context import Service
from clipsearch.service.contract import Route
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Given

MOST_TEXTS = 10_000
MOST_IMAGES = 256


def embed_text(service: Service, given: Given) -> Mapping[str, Any]:
    """Embed one text or several."""
    return _timed(given, lambda: {"embeddings": _texts(service, given, "text").tolist()})


def embed_image(service: Service, given: Given) -> Mapping[str, Any]:
    """Embed one picture or several."""
    return _timed(
        given,
        lambda: {
            "embeddings": _images(service, uploads.Pictures(service), given, "image").tolist()
        },
    )


def compare(service: Service, given: Given) -> Mapping[str, Any]:
    """Compare a subject with one prompt, several, or named ones."""

    def similarity() -> Mapping[str, Any]:
        if isinstance(given.get("subject"), list):
            raise RequestError("subject is one picture or one text; prompts may be several")
        pictures = uploads.Pictures(service)
        subject = _side(service, pictures, given, "subject", "image")
        prompt = given.get("prompt")
        names = None
        kind = _type(given, "prompt_type", "text")
        # A single picture is an object too: it has a type.
        if isinstance(prompt, dict) and not (kind == "image" and _is_image(prompt)):
            names = list(prompt)
            given_prompts: Given = {**given, "prompt": list(prompt.values())}
        else:
            given_prompts = given
        scores = (_side(service, pictures, given_prompts, "prompt", "text") @ subject[0]).tolist()
        return {"similarity": scores if names is None else dict(zip(names, scores, strict=True))}

    return _timed(given, similarity)


def _timed(given: Given, work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    started = perf_counter()
    found = work()
    inference = given.get("inference_id")
    return {
        "inference_id": inference if isinstance(inference, str) else None,
        "frame_id": None,
        "time": perf_counter() - started,
        **found,
    }


def _side(
    service: Service, pictures: uploads.Pictures, given: Given, name: str, usual: str
) -> Vectors:
    if _type(given, f"{name}_type", usual) == "image":
        return _images(service, pictures, given, name)
    return _texts(service, given, name)


def _type(given: Given, name: str, usual: str) -> str:
    kind = given.get(name, usual)
    if kind not in ("image", "text"):
        raise RequestError(f"{name} is image or text, not {fields.shown(kind)}")
    return str(kind)


def _texts(service: Service, given: Given, name: str) -> Vectors:
    value = given.get(name)
    values = [value] if isinstance(value, str) else value
    checked = fields.from_json(
        fields.texts(name, "", least=1, most=MOST_TEXTS, required=True), values
    )
    return service.library.embedder.texts(checked)


def _images(service: Service, pictures: uploads.Pictures, given: Given, name: str) -> Vectors:
    value = given.get(name)
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MOST_IMAGES:
        raise RequestError(f"{name} holds {len(values)} pictures; send 1 to {MOST_IMAGES}")
    embedder = service.library.embedder
    prepared = [embedder.prepare(pictures.decoded(_bytes(each, name))) for each in values]
    size = embedder.batch_size
    blocks = [
        embedder.images(prepared[start : start + size]) for start in range(0, len(prepared), size)
    ]
    return np.concatenate(blocks)


def _bytes(value: object, name: str) -> bytes:
    if not isinstance(value, dict) or not isinstance(value.get("value"), str):
        raise RequestError(f'{name} is a picture: {{"type": "base64", "value": "..."}}')
    if value.get("type") != "base64":
        raise RequestError(
            f"{name} is of type {fields.shown(value.get('type'))}; this server takes base64 only "
            "and fetches nothing"
        )
    return uploads.from_base64(value["value"])


def _is_image(value: Mapping[str, Any]) -> bool:
    return set(value) == {"type", "value"} and isinstance(value["type"], str)


_IMAGE = {
    "type": "object",
    "properties": {"type": {"const": "base64"}, "value": {"type": "string"}},
    "required": ["type", "value"],
}
_TEXTS = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_TEXTS},
    ]
}
_IMAGES = {"anyOf": [_IMAGE, {"type": "array", "items": _IMAGE, "minItems": 1}]}
_TYPE = {"enum": ["image", "text"]}
_TIMED = {
    "inference_id": {"type": ["string", "null"]},
    "frame_id": {"type": "null"},
    "time": {"type": "number"},
}
_SCORE = {"type": "number"}
_EMBEDDINGS = {"type": "array", "items": {"type": "array", "items": _SCORE}}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_ANSWER = _object({**_TIMED, "embeddings": _EMBEDDINGS}, "time", "embeddings")
_SIMILARITY = {
    "anyOf": [
        {"type": "array", "items": _SCORE},
        {"type": "object", "additionalProperties": _SCORE},
    ]
}
ERRORS = (400, 413, 415)
ROUTES = (
    Route(
        "POST",
        "/clip/embed_text",
        embed_text,
        "Embed texts: Roboflow's format.",
        _ANSWER,
        body=(),
        others=ERRORS,
        foreign=_object({"text": _TEXTS}, "text"),
    ),
    Route(
        "POST",
        "/clip/embed_image",
        embed_image,
        "Embed pictures: Roboflow's format.",
        _ANSWER,
        body=(),
        others=ERRORS,
        foreign=_object({"image": _IMAGES}, "image"),
    ),
    Route(
        "POST",
        "/clip/compare",
        compare,
        "Compare a picture or text with others: Roboflow's format.",
        _object({**_TIMED, "similarity": _SIMILARITY}, "time", "similarity"),
        body=(),
        others=ERRORS,
        foreign=_object(
            {"subject": {}, "subject_type": _TYPE, "prompt": {}, "prompt_type": _TYPE},
            "subject",
            "prompt",
        ),
    ),
)
