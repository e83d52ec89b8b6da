"""Keywords and texts inside a packet: read them, and change those that are clipsearch's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from clipsearch.photos.sidecars.packet import (
    RDF,
    Edit,
    Packet,
    encode,
    escaped,
    sanitize,
    with_children,
    without,
)
from clipsearch.photos.sidecars.properties import (
    ALT_TEXT,
    DESCRIPTION,
    HIERARCHY,
    RATING,
    SUBJECT,
    TAGS_LIST,
    default_item,
    edited,
    find_property,
    item_name,
    known_texts,
    new_property,
    parse_packet,
    with_default,
    without_default,
    without_occurrence,
)

_NEW = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="clipsearch">\n'
    f' <rdf:RDF xmlns:rdf="{RDF}">\n'
    '  <rdf:Description rdf:about="">\n'
    "  </rdf:Description>\n"
    " </rdf:RDF>\n"
    "</x:xmpmeta>\n"
    '<?xpacket end="w"?>\n'
).encode()

# Lightroom separates levels by "|" and digiKam by "/", so neither can be part of a word.
_LEVELS = re.compile(r"[/|]")

# What darktable and digiKam note for themselves among the keywords.
_INTERNAL = ("darktable", "_Digikam_Internal_Tags_")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says of its photo; tags are hierarchical, `animal/dog`.

    `rating` is 0 to 5 stars, or -1 for rejected.
    """

    tags: tuple[str, ...] = ()
    alt_text: str | None = None
    description: str | None = None
    rating: int | None = None


def normalize_tag(tag: str) -> str:
    """Return a tag as sidecars hold it: levels separated by `/`, without what XML cannot hold.

    Both `/` and `|` separate levels; commas and semicolons are part of a word. A tag of
    nothing else becomes the empty string.
    """
    return "/".join(_levels(tag))


def extract(data: bytes) -> Sidecar:
    """Read the keywords, the texts and the rating of a packet.

    A word of dc:subject that is a level of a hierarchical keyword is not a tag of its own:
    Lightroom and digiKam write each keyword, and some settings its ancestors, there as well.

    Raises:
        SidecarError: it is no XMP.
    """
    packet, _ = parse_packet(data)
    paths = [path for name in (HIERARCHY, TAGS_LIST) for path in _paths(packet, name)]
    covered = {level for path in paths for level in path}
    for path in _paths(packet, SUBJECT):
        if len(path) != 1 or path[0] not in covered:
            paths.append(path)
    tags = dict.fromkeys("/".join(path) for path in paths if path[0] not in _INTERNAL)
    return Sidecar(
        tags=tuple(tags),
        alt_text=_read_text(packet, ALT_TEXT),
        description=_read_text(packet, DESCRIPTION),
        rating=_read_rating(packet),
    )


def merge(
    existing: bytes | None,
    *,
    tags: Sequence[str],
    alt_text: str | None,
    previous_tags: Sequence[str] = (),
    previous_alt_text: str | None = None,
    foreign_tags: Sequence[str] = (),
) -> bytes:
    """Return the bytes of a sidecar that also holds these tags and this alt text.

    Keywords and texts of others stay, and every other byte does. What clipsearch wrote
    before (`previous_tags`, `previous_alt_text`) and no longer holds is taken out, except the
    keywords in `foreign_tags`, which somebody else wrote as well. A text that is neither
    empty nor clipsearch's is a human's, and stays. Where nothing changes, the same bytes
    come back; merging twice is merging once.

    Raises:
        SidecarError: the existing sidecar is no XMP, or holds one of the properties in a form
            that XMP does not know.
    """
    packet, encoding = parse_packet(_NEW if existing is None else existing)
    before = packet.data
    held = list(dict.fromkeys(path for path in map(_levels, tags) if path))
    safe = {*held, *map(_levels, foreign_tags)}
    stale = {path for path in map(_levels, previous_tags) if path and path not in safe}

    packet = _merge_hierarchies(packet, HIERARCHY, "Bag", "|", held, stale)
    packet = _merge_hierarchies(packet, TAGS_LIST, "Seq", "/", held, stale)
    packet = _merge_words(packet, held, stale, safe)
    for name in (ALT_TEXT, DESCRIPTION):
        packet = _merge_text(packet, name, _clean(alt_text), _clean(previous_alt_text))
    if existing is not None and packet.data == before:
        return existing
    return encode(packet.data, encoding)


def _clean(text: str | None) -> str | None:
    text = sanitize(text or "")
    return text if text.strip() else None


def _levels(tag: str) -> tuple[str, ...]:
    levels = (level.strip() for level in _LEVELS.split(sanitize(tag)))
    return tuple(level for level in levels if level)


def _paths(packet: Packet, name: str) -> Iterator[tuple[str, ...]]:
    for occurrence in find_property(packet, name):
        for text in occurrence.texts:
            path = _levels(text or "")
            if path:
                yield path


def _read_text(packet: Packet, name: str) -> str | None:
    for occurrence in find_property(packet, name):
        text = default_item(occurrence)[1]
        if text and text.strip():
            return text
    return None


def _read_rating(packet: Packet) -> int | None:
    for occurrence in find_property(packet, RATING):
        for text in occurrence.texts:
            try:
                stars = float(text or "")
            except ValueError:
                continue
            if stars in (-1, 0, 1, 2, 3, 4, 5):
                return int(stars)
    return None


def _merge_hierarchies(
    packet: Packet,
    name: str,
    array: str,
    separator: str,
    held: Sequence[tuple[str, ...]],
    stale: set[tuple[str, ...]],
) -> Packet:
    present = set(_paths(packet, name))
    added = [separator.join(path) for path in held if path not in present]
    removed = {separator.join(path) for path in stale}
    return _edit_array(packet, name, array, added, removed.__contains__)


def _merge_words(
    packet: Packet,
    held: Sequence[tuple[str, ...]],
    stale: set[tuple[str, ...]],
    safe: set[tuple[str, ...]],
) -> Packet:
    """Bring dc:subject, the flat list of words, in line with the hierarchies, already merged."""
    present = set(_paths(packet, SUBJECT))
    wanted = dict.fromkeys(path[-1] for path in held if path not in present)
    added = [word for word in wanted if (word,) not in present]
    # A word may belong to several keywords, also to those of others: to them as any level.
    paths = {path for name in (HIERARCHY, TAGS_LIST) for path in _paths(packet, name)}
    kept = {path[-1] for path in safe if path}
    kept |= {level for path in paths.difference(held) for level in path}
    removed = {path[-1] for path in stale} - kept
    return _edit_array(packet, SUBJECT, "Bag", added, removed.__contains__)


def _edit_array(
    packet: Packet,
    name: str,
    array: str,
    added: Sequence[str],
    is_removed: Callable[[str], bool],
) -> Packet:
    occurrences = find_property(packet, name)
    data = packet.data
    edits: list[Edit] = []
    carried: list[str] = []
    target = next((found for found in occurrences if found.array is not None), None)
    for found in occurrences:
        texts = known_texts(found, name) if added else found.texts
        gone = [text is not None and is_removed(text) for text in texts]
        if found.array is None and added and target is None:
            # One value without an array: the array that replaces it begins with it.
            kept = (text or "" for text, out in zip(texts, gone, strict=True) if not out)
            carried += [text for text in kept if text.strip()]
            edits.append(without_occurrence(data, found, name))
        elif any(gone) and all(gone) and not (found is target and added):
            edits.append(without_occurrence(data, found, name))
        else:
            items = zip(found.items, gone, strict=False)
            edits += [without(data, item) for item, out in items if out]
    if added and target is not None and target.array is not None:
        li = item_name(target.array)
        lines = [(0, f"<{li}>{escaped(word)}</{li}>") for word in added]
        edits += with_children(data, target.array, lines)
    elif added:
        edits += new_property(packet, name, array, [*carried, *added])
    return edited(packet, edits)


def _merge_text(packet: Packet, name: str, text: str | None, previous: str | None) -> Packet:
    occurrences = find_property(packet, name)
    currents = [default_item(found)[1] for found in occurrences]
    ours = [current is not None and current == previous for current in currents]
    blank = [current is not None and not current.strip() for current in currents]
    if text is None:
        gone = [found for found, is_ours in zip(occurrences, ours, strict=True) if is_ours]
        return edited(packet, [without_default(packet.data, found, name) for found in gone])
    if text in currents or not all(a or b for a, b in zip(ours, blank, strict=True)):
        return packet  # there already, or a human's
    edits: list[Edit] = []
    for found in occurrences:
        if found.array is None:
            edits.append(without_occurrence(packet.data, found, name))
        else:
            edits += with_default(packet.data, found, found.array, text)
    if all(found.array is None for found in occurrences):
        edits += new_property(packet, name, "Alt", [text])
    return edited(packet, edits)
