"""Routes about tags, alt text and runs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from clipsearch import prompts, vocabularies
from clipsearch.errors import VocabularyError
from clipsearch.records import OnProgress, Proposal, Run, Skipped, Tag
from clipsearch.service import fields
from clipsearch.service.context import Service
from clipsearch.service.contract import LIST, Route
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Given
from clipsearch.service.jobs import Job
from clipsearch.service.search import optional_question
from clipsearch.vocabularies import Vocabulary


@dataclass(frozen=True, slots=True)
class TaggedPhoto:
    """A photo, and the tag or the one below it that it has."""

    id: int
    name: str
    width: int
    height: int
    tag: Tag


@dataclass(frozen=True, slots=True)
class TaggedPhotos:
    """The photos that have a tag, from one place in the list on."""

    tag: str
    total: int
    photos: tuple[TaggedPhoto, ...]


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag and the number of photos that have it."""

    tag: str
    photos: int


@dataclass(frozen=True, slots=True)
class TagCounts:
    """All tags, the most frequent first."""

    tags: tuple[TagCount, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs, the latest first."""

    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Undone:
    """What undoing a run could not take back."""

    run: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Proposals:
    """Proposed captions that wait for a decision, the surest first."""

    total: int
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class VocabularyText:
    """A vocabulary as TOML."""

    name: str
    labels: int
    text: str


@dataclass(frozen=True, slots=True)
class GivenTag:
    """A tag that a vocabulary would give."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class PhotoEffect:
    """What a vocabulary would do to a photo."""

    id: int
    tags: tuple[GivenTag, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a vocabulary would do to a sample, and what is wrong with it."""

    labels: int
    photos: tuple[PhotoEffect, ...]
    counts: tuple[TagCount, ...]
    findings: tuple[vocabularies.Finding, ...]


def tagged(service: Service, given: Given) -> TaggedPhotos:
    """List the photos that have a tag."""
    found = service.library.tagged(given["tag"])
    if given["order"] == "borderline":
        found = [each for each in reversed(found) if each.tag.score is not None]
    page = found[given["offset"] : given["offset"] + given["k"]]
    known = service.library.looks([each.id for each in page])
    rows = [
        TaggedPhoto(
            each.id,
            Path(known[each.id][0].path).name,
            known[each.id][0].facts.width,
            known[each.id][0].facts.height,
            each.tag,
        )
        for each in page
        if each.id in known
    ]
    return TaggedPhotos(given["tag"], len(found), tuple(rows))


def tags(service: Service, _: Given) -> TagCounts:
    """Count the photos of each tag."""
    return TagCounts(tuple(TagCount(*each) for each in service.library.tag_counts()))


def runs(service: Service, _: Given) -> Runs:
    """List the runs."""
    return Runs(tuple(service.library.runs()))


def undo(service: Service, given: Given) -> Undone:
    """Take a run back."""
    if given["run"] not in {run.id for run in service.library.runs()}:
        raise RequestError(f"there is no run {given['run']}; /api/runs lists them", 404)
    return Undone(given["run"], service.library.undo(given["run"]))


def tag(service: Service, given: Given) -> Job:
    """Tag photos with a vocabulary."""
    query, vocabulary = optional_question(given["q"]), read_vocabulary(given["vocabulary"])

    def work(on_progress: OnProgress) -> object:
        return service.library.tag(vocabulary, query, on_progress=on_progress)

    return service.jobs.start("tag", work)


def preview(service: Service, given: Given) -> Preview:
    """Say what a vocabulary would do to a sample of photos."""
    query, vocabulary = optional_question(given["q"]), read_vocabulary(given["vocabulary"])
    effects = service.library.preview_tags(vocabulary, query, sample=given["sample"])
    counts: dict[str, int] = {}
    for effect in effects:
        for each in effect.tags:
            counts[each.label] = counts.get(each.label, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    texts = service.library.embedder.texts
    return Preview(
        len(vocabulary.labels),
        tuple(
            PhotoEffect(
                effect.id, tuple(GivenTag(each.label, each.probability) for each in effect.tags)
            )
            for effect in effects
        ),
        tuple(TagCount(*item) for item in ordered),
        tuple(vocabularies.check(vocabulary, texts, limit=service.synonym_limit())),
    )


def read_vocabulary(text: str | None) -> Vocabulary:
    """Read a vocabulary that a client wrote: TOML where it has a table, else labels by line.

    Raises: VocabularyError.
    """
    if text is None or not text.strip():
        return vocabularies.default()
    is_toml = any(line.lstrip().startswith("[") for line in text.split("\n"))
    with tempfile.TemporaryDirectory(prefix="clipsearch-") as folder:
        file = Path(folder) / ("vocabulary.toml" if is_toml else "vocabulary.txt")
        file.write_text(text, encoding="utf-8", newline="")
        try:
            return vocabularies.read(file)
        except VocabularyError as error:
            raise VocabularyError(str(error).replace(str(file), "the vocabulary")) from None


def default_vocabulary(_: Service, __: Given) -> VocabularyText:
    """Return the vocabulary that ships with clipsearch."""
    found = vocabularies.default()
    return VocabularyText(found.name, len(found.labels), vocabularies.to_toml(found))


def propose(service: Service, given: Given) -> Job:
    """Propose captions for photos."""
    query = optional_question(given["q"])
    texts = given["texts"] or None
    if texts:
        prompts.require(texts, "captions")

    def work(on_progress: OnProgress) -> object:
        return service.library.propose_alt_text(texts, query, on_progress=on_progress)

    return service.jobs.start("alt-text", work)


def proposals(service: Service, given: Given) -> Proposals:
    """List the captions that wait for a decision."""
    found = service.library.proposals(min_margin=given["min_margin"] or 0)
    start = given["offset"]
    return Proposals(len(found), tuple(found[start : start + given["k"]]))


Q = fields.text("q", "Only photos that answer this query.")
VOCABULARY = fields.text(
    "vocabulary", "TOML, or labels with one a line; the default one unless given.", most=200_000
)
ROUTES = (
    Route("GET", "/api/tags", tags, "Tags with the number of their photos.", TagCounts),
    Route("GET", "/api/runs", runs, "Tagging, captioning and export runs.", Runs),
    Route(
        "POST", "/api/runs/<int(max=9223372036854775807):run>/undo", undo,
        "Take a run back.", Undone, others=(400, 404, 409),
    ),
    Route(
        "POST", "/api/tag", tag, "Tag photos with a vocabulary: a job.", Job,
        body=(VOCABULARY, Q), status=202, others=(400, 409, 415, 503),
    ),
    Route(
        "POST", "/api/tag/preview", preview,
        "What a vocabulary would do to a sample of photos; nothing is stored.", Preview,
        body=(VOCABULARY, Q, fields.integer("sample", "How many photos.", 1, 500, 60)),
        others=(400, 415),
    ),
    Route(
        "GET", "/api/vocabulary", default_vocabulary, "The default vocabulary.", VocabularyText
    ),
    Route(
        "POST", "/api/alt-text/propose", propose, "Propose a caption for each photo: a job.", Job,
        body=(
            fields.texts("texts", "Captions; the shipped ones unless given."),
            Q,
        ),
        status=202, others=(400, 409, 415, 503),
    ),
    Route(
        "GET", "/api/alt-text/proposals", proposals,
        "Proposed captions that wait for a decision.", Proposals,
        query=(*LIST, fields.number("min_margin", "Least margin to the runner-up.", 0, 2)),
        others=(400,),
    ),
    Route(
        "GET", "/api/tag/photos", tagged, "Photos that have a tag, with its score.", TaggedPhotos,
        query=(
            fields.text("tag", "The tag; those below it count too.", most=200, required=True),
            fields.choice(
                "order", "best: the surest first. borderline: the least sure first.",
                ("best", "borderline"), "best",
            ),
            *LIST,
        ),
        others=(400,),
    ),
)  # fmt: skip
