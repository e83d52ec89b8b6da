"""Routes that put texts and labels to one picture: captions and classification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipsearch import prompts, vocabularies
from clipsearch.records import Caption, ScoredLabel
from clipsearch.service import fields, uploads
from clipsearch.service.context import Service
from clipsearch.service.contract import Route
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Given
from clipsearch.vocabularies import Finding, Group, Label, Vocabulary

MOST_LABELS = 200
MOST_CAPTIONS = 500
NEUTRAL = frozenset(
    {"something else", "anything else", "none of these", "none", "other", "nothing", "background"}
)
"""Labels that say that no other label fits."""


@dataclass(frozen=True, slots=True)
class CaptionsAnswer:
    """Captions in rank order; `fits` and `margin` as in the library's records."""

    photo: int | None
    model: str
    logit_scale: float
    fits: bool
    margin: float | None
    captions: tuple[Caption, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two labels that are nearly one thing to the model, under the first template."""

    one: str
    other: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates that labels are put into where none is chosen."""

    templates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassifyAnswer:
    """Labels in rank order, and what makes such labels fail.

    `logit_scale` is what the cosines were multiplied with before the softmax: one divided by
    the temperature.
    """

    photo: int | None
    model: str
    templates: tuple[str, ...]
    logit_scale: float
    logit_bias: float | None
    fits: bool
    margin: float | None
    labels: tuple[ScoredLabel, ...]
    near: tuple[Pair, ...]
    warnings: tuple[Finding, ...]


@contextmanager
def subject(service: Service, given: Given) -> Iterator[int | Path]:
    """Give the photo that a request is about: its id, or the path of what was sent.

    Raises: RequestError.
    """
    file = given.get("image")
    if (file is None) == (given["photo"] is None):
        raise RequestError("give one of photo, an id, and a file named image")
    if file is None:
        yield int(given["photo"])
        return
    with uploads.kept(service, file.stream) as path:
        yield path


def captions(service: Service, given: Given) -> CaptionsAnswer:
    """Rank captions for one picture; without texts, the bank that ships with clipsearch."""
    library = service.library
    texts = given["texts"] or prompts.captions()
    with subject(service, given) as photo:
        found = library.captions(photo, texts, temperature=given["temperature"])
    return CaptionsAnswer(
        given["photo"],
        found.model,
        _scale(service, given),
        found.fits,
        found.margin,
        found.captions[: given["k"]],
    )


def classify(service: Service, given: Given) -> ClassifyAnswer:
    """Score labels for one picture."""
    library, labels, template = service.library, given["labels"], given["template"]
    templates = prompts.TEMPLATES if template is None else (template,)
    with subject(service, given) as photo:
        found = library.classify(photo, labels, template=template, temperature=given["temperature"])
    return ClassifyAnswer(
        given["photo"],
        found.model,
        templates,
        _scale(service, given),
        library.embedder.logit_bias,
        found.fits,
        found.margin,
        found.labels,
        tuple(_near(service, labels, templates[:1])),
        tuple(_warnings(service, labels)),
    )


def templates(_: Service, __: Given) -> Templates:
    """List the templates."""
    return Templates(prompts.TEMPLATES)


def _near(service: Service, labels: Sequence[str], templates: Sequence[str]) -> Iterator[Pair]:
    """Yield the pairs of labels that are closer than two words for one thing usually are."""
    names = list(dict.fromkeys(labels))
    rows = prompts.embed_labels(service.library.embedder.texts, names, templates)
    cosines = np.triu(rows @ rows.T, 1)
    places = np.argwhere(cosines > service.synonym_limit())
    for one, other in sorted(places.tolist(), key=lambda pair: -cosines[pair[0], pair[1]]):
        yield Pair(names[one], names[other], float(cosines[one, other]))


def _scale(service: Service, given: Given) -> float:
    temperature = given["temperature"]
    return service.library.embedder.logit_scale if temperature is None else 1 / temperature


def _warnings(service: Service, labels: tuple[str, ...]) -> list[Finding]:
    """Say which labels the model cannot tell apart, and whether one of them means none.

    Whether two words are one thing to the model is judged as for vocabularies.
    """
    texts = service.library.embedder.texts
    names = dict.fromkeys(" ".join(label.split()) for label in labels)
    group = Group("labels", "any", tuple(Label(name, (name,)) for name in names))
    chosen = Vocabulary("labels", (group,), prompts.TEMPLATES)
    found = vocabularies.check(chosen, texts, limit=service.synonym_limit())
    if not any(name.casefold() in NEUTRAL for name in names):
        found.append(
            Finding(
                "no-background",
                tuple(names),
                "the probabilities are shared among these labels even if none of them is right",
                'add a label such as "something else", and look at fits',
            )
        )
    return found


IMAGE = fields.integer("photo", "Id of a photo; or send a file named image.", 1, fields.LARGEST_ID)
TEMPERATURE = fields.number(
    "temperature",
    "Divides the cosines before the softmax; the model's own unless given.",
    1e-4,
    100,
)
ROUTES = (
    Route("GET", "/api/templates", templates, "Templates for labels.", Templates),
    Route(
        "POST",
        "/api/captions",
        captions,
        "Captions for one picture, the best first.",
        CaptionsAnswer,
        body=(
            IMAGE,
            fields.texts("texts", "Captions; the shipped ones unless given.", most=MOST_CAPTIONS),
            TEMPERATURE,
            fields.integer("k", "How many captions at most.", 1, 1000, 1000),
        ),
        image=True,
        others=(400, 404, 413, 415),
    ),
    Route(
        "POST",
        "/api/classify",
        classify,
        "Labels for one picture with cosines and probabilities, and what to beware of.",
        ClassifyAnswer,
        body=(
            IMAGE,
            fields.texts("labels", "Labels.", least=2, most=MOST_LABELS, required=True),
            fields.text("template", 'Such as "a photo of a {}."; seven unless given.', most=1000),
            TEMPERATURE,
        ),
        image=True,
        others=(400, 404, 413, 415),
    ),
)
