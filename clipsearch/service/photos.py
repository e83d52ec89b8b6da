"""Routes about one photo: facts, pictures, tags, alt text."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from flask import Response, request, send_file

from clipsearch.errors import ClipsearchError
from clipsearch.records import AltText, Facts, Proposal, Tag
from clipsearch.service import fields, originals
from clipsearch.service.context import Service
from clipsearch.service.contract import Route
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Given

SIZES = ("160", "360", "720", "1440")
"""Few sizes, so that nobody fills the disk with thumbnails."""

LONGEST_TAG = 200
MOST_EDITS = 100
PHOTO = "/api/photos/<int(max=9223372036854775807):id>"


@dataclass(frozen=True, slots=True)
class PhotoAnswer:
    """A photo with all that is known of it; `inline` tells whether browsers show the original."""

    id: int
    path: str
    name: str
    facts: Facts
    tags: tuple[Tag, ...]
    alt_text: AltText | None
    proposal: Proposal | None
    there: bool
    inline: bool


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a photo."""

    id: int
    tags: tuple[Tag, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """The alt text of a photo, and what is proposed for it."""

    id: int
    alt_text: AltText | None
    proposal: Proposal | None


def photo(service: Service, given: Given) -> PhotoAnswer:
    """Say what is known of a photo."""
    library = service.library
    found = library.photo(given["id"])
    try:
        kind = originals.kind(found, library.roots())
    except ClipsearchError:
        kind = None
    return PhotoAnswer(
        found.id,
        found.path,
        Path(found.path).name,
        found.facts,
        tuple(library.tags(found.id)),
        library.alt_text(found.id),
        library.proposal(found.id),
        kind is not None,
        kind in originals.SHOWN,
    )


def thumbnail(service: Service, given: Given) -> Response:
    """Send a small WebP picture of a photo."""
    library, size = service.library, int(given["size"])
    originals.require_inside(library.photo(given["id"]), library.roots())
    path = library.kept_thumbnail(given["id"], size)
    if path is None:
        with service.decoding():
            path = library.thumbnail(given["id"], size=size)
    # Read at once: a page that goes away would leave the file open. The name of the file is the
    # hash of the photo's content, and the size.
    response = send_file(
        io.BytesIO(path.read_bytes()), mimetype="image/webp", conditional=True, etag=path.stem
    )
    response.headers["Cache-Control"] = "private, max-age=300"
    return response


def original(service: Service, given: Given) -> Response:
    """Send a photo as it is."""
    found = service.library.photo(given["id"])
    return originals.send(found, service.library.roots(), request.environ)


def edit_tags(service: Service, given: Given) -> Tags:
    """Decide tags of a photo by hand."""
    found = service.library.edit_tags(
        given["id"], add=given["add"], remove=given["remove"], reset=given["reset"]
    )
    return Tags(given["id"], tuple(found))


def alt_text(service: Service, given: Given) -> Words:
    """Accept, reject, write or forget the alt text of a photo."""
    library, photo_id = service.library, given["id"]
    chosen = [
        name for name in ("text", "accept", "reject", "reset") if given[name] not in (None, False)
    ]
    if len(chosen) != 1:
        raise RequestError("give one of text, accept, reject and reset")
    if chosen == ["reject"]:
        library.reject_alt_text(photo_id)
    elif chosen == ["reset"]:
        library.forget_alt_text(photo_id)
    else:
        library.accept_alt_text(photo_id, given["text"])
    return Words(photo_id, library.alt_text(photo_id), library.proposal(photo_id))


ROUTES = (
    Route("GET", PHOTO, photo, "A photo with facts, tags and texts.", PhotoAnswer, others=(404,)),
    Route(
        "GET",
        f"{PHOTO}/thumbnail",
        thumbnail,
        "A small picture of a photo, without metadata.",
        "image/webp",
        query=(fields.choice("size", "Pixels of the longer side at most.", SIZES, "360"),),
        others=(304, 400, 404, 503),
    ),
    Route(
        "GET",
        f"{PHOTO}/original",
        original,
        "The file itself; ranges work.",
        "image/*",
        others=(206, 304, 404, 416),
    ),
    Route(
        "POST",
        f"{PHOTO}/tags",
        edit_tags,
        "Add and remove tags by hand, or give them back to file and runs.",
        Tags,
        body=tuple(
            fields.texts(name, about, most=MOST_EDITS)
            for name, about in (
                ("add", "These hold, whatever runs say."),
                ("remove", "These do not, whatever runs say."),
                ("reset", "These are left to file and runs again."),
            )
        ),
        others=(400, 404, 415),
    ),
    Route(
        "POST",
        f"{PHOTO}/alt-text",
        alt_text,
        "Write the alt text, or accept or reject what is proposed.",
        Words,
        body=(
            fields.text("text", "The alt text.", most=1000, least=1),
            fields.flag("accept", "Take the proposal."),
            fields.flag("reject", "Never propose this caption for this photo again."),
            fields.flag("reset", "Forget what was decided, as if nobody had looked."),
        ),
        others=(400, 404, 415),
    ),
)
