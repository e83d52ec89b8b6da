"""The table of routes: what each takes and answers, checked here and described from here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import IntegerConverter, PathConverter

from clipsearch.service import fields
from clipsearch.service.bodies import json_object
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Field, Given
from clipsearch.service.schemas import dumps, plain

if TYPE_CHECKING:
    from clipsearch.service.context import Service

View = Callable[["Service", Given], Any]
"""Answers a request with a record, a mapping or a whole response."""

UNAVAILABLE = 503
MOST_LISTED = 1000
LIST = (
    fields.integer("k", "How many at most.", 1, MOST_LISTED, 100),
    fields.integer("offset", "How many to leave out.", 0, 10_000_000, 0),
)
"""The fields of every list that is too long for one answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address.

    `path` is a rule of Flask with `<int(...)>` and `<name>` parts, which come with the values.
    `body` are the fields of a JSON object; with `image` also of a form with a file `image`.
    `answers` is a record, or the media types of what is no JSON, with blanks between. `others`
    are further statuses that it may have, beside 503: library or model may be in trouble.
    `foreign` marks other programs' formats, whose fields beyond ours are ignored; `free` what
    needs no token; `kept` what need not be worked out again as long as the library stays as it
    is.
    """

    method: str
    path: str
    view: View
    about: str
    answers: Any
    query: tuple[Field, ...] = ()
    body: tuple[Field, ...] | None = None
    image: bool = False
    status: int = 200
    others: tuple[int, ...] = ()
    foreign: Mapping[str, Any] | None = None
    free: bool = False
    kept: bool = False
    name: str = field(default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "others", (*self.others, UNAVAILABLE))


class _Name(PathConverter):
    """A name that people chose: it may have slashes anywhere."""

    regex = ".+?"
    part_isolating = False


class _Number(IntegerConverter):
    """A number as it is written here: Python reads the digits of all scripts."""

    regex = "[0-9]+"


def blueprint(name: str, routes: tuple[Route, ...], service: Service) -> Blueprint:
    """Return a blueprint of routes that check what they are given before they answer."""
    made = Blueprint(name, __name__)
    made.record_once(_learn_parts)
    for number, route in enumerate(routes):
        made.add_url_rule(
            route.path.replace("<name>", "<name_with_slashes:name>"),
            f"{number}-{route.view.__name__}",
            _checked(route, service),
            methods=[route.method],
            provide_automatic_options=False,
        )
    return made


def _learn_parts(state: BlueprintSetupState) -> None:
    state.app.url_map.converters.update(name_with_slashes=_Name, int=_Number)


def _checked(route: Route, service: Service) -> Callable[..., Response]:
    def answer(**parts: Any) -> Response:
        started = time.perf_counter()
        given = {**_query(route), **_body(route), **_parts(parts)}
        work = _kept if route.kept else _worked_out
        try:
            text = work(route, service, given)
        finally:
            if route.method != "GET":
                service.answers.changed()
        if isinstance(text, Response):
            return text
        if route.foreign is None:
            took = round((time.perf_counter() - started) * 1000, 1)
            text = f'{{"took_ms":{took},{text[1:]}'
        return Response(text, route.status, mimetype="application/json")

    return answer


def _worked_out(route: Route, service: Service, given: Given) -> str | Response:
    found = route.view(service, given)
    if isinstance(found, Response):
        return found
    return dumps(plain(found))


def _kept(route: Route, service: Service, given: Given) -> str | Response:
    """Return the answer that was given to the same request, or work it out and keep it."""
    state = (service.library.identity(), service.answers.changes)
    key = f"{route.path} {sorted(given.items())}"
    known = service.answers.get(key, state)
    if known is not None:
        return known
    text = _worked_out(route, service, given)
    if isinstance(text, str):
        service.answers.keep(key, state, text)
    return text


def _parts(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in parts.items():
        if isinstance(value, str):
            fields.from_json(fields.text(name, ""), value)
    return parts


def _query(route: Route) -> Given:
    known = {each.name: each for each in route.query}
    if route.foreign is None:
        _refuse_unknown(request.args, known, "parameter")
    found = {}
    for name, each in known.items():
        if values := request.args.getlist(name):
            found[name] = fields.from_texts(each, values)
        else:
            found[name] = _absent(each)
    return found


def _body(route: Route) -> Given:
    if route.body is None:
        if route.foreign is None and request.content_length:
            request.get_data()
        return {}
    if route.image and request.mimetype == "multipart/form-data":
        return _form(route, route.body)
    if route.foreign is None and not request.content_length and not _required(route):
        return {each.name: _absent(each) for each in route.body}
    document = json_object()
    if route.foreign is not None:
        return document
    known = {each.name: each for each in route.body}
    _refuse_unknown(document, known, "field")
    return {
        name: fields.from_json(each, document[name]) if name in document else _absent(each)
        for name, each in known.items()
    }


def _required(route: Route) -> bool:
    return any(each.required for each in route.body or ())


def _form(route: Route, body: tuple[Field, ...]) -> Given:
    known = {each.name: each for each in body}
    _refuse_unknown(request.form, known, "field")
    _refuse_unknown(request.files, {"image": None}, "file")
    found = {}
    for name, each in known.items():
        if values := request.form.getlist(name):
            found[name] = fields.from_texts(each, values)
        else:
            found[name] = _absent(each)
    files = request.files.getlist("image")
    if len(files) > 1:
        raise RequestError("there is more than one image; send one")
    return {**found, "image": files[0] if files else None}


def _absent(each: Field) -> Any:
    if each.required:
        raise RequestError(f"{each.name} is missing; give it")
    return each.default


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any], what: str) -> None:
    for name in given:
        if name not in known:
            others = f"; there is {', '.join(known)}" if known else ""
            raise RequestError(f"there is no {what} {fields.shown(name)} here{others}")
