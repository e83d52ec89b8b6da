"""The properties of a packet that clipsearch reads and writes, in every form that they have.

XMP specification, part 1 (ISO 16684-1), sections 6.3, 7.5 to 7.9 and C.2.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipsearch.errors import SidecarError
from clipsearch.photos.sidecars.packet import (
    ARRAYS,
    LANG,
    RDF,
    Edit,
    Element,
    Packet,
    decode,
    escaped,
    parse,
    prefix_for,
    splice,
    with_children,
    with_text,
    without,
    without_attribute,
)

_DC = "http://purl.org/dc/elements/1.1/"
SUBJECT = f"{_DC} subject"
DESCRIPTION = f"{_DC} description"
HIERARCHY = "http://ns.adobe.com/lightroom/1.0/ hierarchicalSubject"
TAGS_LIST = "http://www.digikam.org/ns/1.0/ TagsList"
ALT_TEXT = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/ AltTextAccessibility"
RATING = "http://ns.adobe.com/xap/1.0/ Rating"

_PREFERRED = {
    SUBJECT: "dc",
    HIERARCHY: "lr",
    TAGS_LIST: "digiKam",
    ALT_TEXT: "Iptc4xmpCore",
    DESCRIPTION: "dc",
}
_WANTED = frozenset([*_PREFERRED, RATING])


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One place where a property stands: an element, with or without an array, or an attribute."""

    description: Element
    element: Element | None
    array: Element | None
    items: tuple[Element, ...]
    texts: tuple[str | None, ...]


def parse_packet(data: bytes) -> tuple[Packet, str]:
    """Parse a sidecar and return the encoding that it has.

    Raises:
        SidecarError: it is no XMP.
    """
    utf8, encoding = decode(data)
    return parse(utf8, _WANTED, declared=encoding == "utf-8"), encoding


def edited(packet: Packet, edits: Sequence[Edit]) -> Packet:
    """Apply edits; without any it is the same packet."""
    if not edits:
        return packet
    return parse(splice(packet.data, edits), _WANTED, declared=False)


def find_property(packet: Packet, name: str) -> list[Occurrence]:
    """Return every place of a property: XMP wants it once, and not everybody keeps to it."""
    found = []
    for description in packet.descriptions():
        if name in description.attributes:
            texts = (description.attributes[name],)
            found.append(Occurrence(description, None, None, (), texts))
        for element in description.children:
            if element.name == name:
                found.append(_occurrence(description, element))
    return found


def _occurrence(description: Element, element: Element) -> Occurrence:
    if not element.children:
        plain = not any(key.startswith(f"{RDF} ") for key in element.attributes)
        return Occurrence(description, element, None, (), (element.text,) if plain else (None,))
    array = element.children[0]
    if len(element.children) != 1 or array.name not in ARRAYS:
        return Occurrence(description, element, None, (), (None,))
    items = tuple(item for item in array.children if item.name == f"{RDF} li")
    return Occurrence(description, element, array, items, tuple(map(_text_of, items)))


def _text_of(item: Element) -> str | None:
    if not item.children:
        return item.text
    # A value with qualifiers (part 1, section 7.8).
    inner = item.children
    if len(inner) == 1 and inner[0].name == f"{RDF} Description":
        inner = inner[0].children
    return next((child.text for child in inner if child.name == f"{RDF} value"), None)


def known_texts(found: Occurrence, name: str) -> tuple[str | None, ...]:
    """Return the texts of a property that is going to be changed; `None` is a structure.

    Raises:
        SidecarError: it is neither a text nor an array.
    """
    if found.array is None and None in found.texts:
        raise SidecarError(
            f"{_written(name)} has a form that XMP does not know; correct it or take it out"
        )
    return found.texts


def default_item(found: Occurrence) -> tuple[Element | None, str | None]:
    """Return the item of the default language, or the first one, and its text if it is known."""
    if found.array is None:
        return None, found.texts[0]
    pairs = list(zip(found.items, found.texts, strict=True))
    # An empty one says nothing: then it is another language, or the default written twice.
    pairs.sort(key=lambda pair: (_is_blank(pair[1]), not _is_default(pair[0])))
    return pairs[0] if pairs else (None, "")


def _is_blank(text: str | None) -> bool:
    return text is not None and not text.strip()


def _is_default(item: Element) -> bool:
    return item.attributes.get(LANG, "x-default").lower() == "x-default"


def without_default(data: bytes, found: Occurrence, name: str) -> Edit:
    """Take out the text of the default language, and the property where it has no other."""
    item = default_item(found)[0]
    if item is None or len(found.items) == 1:
        return without_occurrence(data, found, name)
    return without(data, item)


def with_default(data: bytes, found: Occurrence, array: Element, text: str) -> list[Edit]:
    """Set the text of the default language, which XMP wants first."""
    item = default_item(found)[0]
    if item is not None and _is_default(item):
        return [with_text(data, item, text)]
    li = item_name(array)
    line = f'<{li} xml:lang="x-default">{escaped(text)}</{li}>'
    return with_children(data, array, [(0, line)], first=True)


def without_occurrence(data: bytes, found: Occurrence, name: str) -> Edit:
    """Take out a property."""
    if found.element is None:
        return without_attribute(data, found.description, name)
    return without(data, found.element)


def new_property(packet: Packet, name: str, array: str, texts: Iterable[str]) -> list[Edit]:
    """Write a property as a new element of the description where it fits best."""
    descriptions = list(packet.descriptions())
    uri, local = name.split(" ")
    parent = _home(descriptions, uri)
    if parent is None:
        rdf = packet.rdf[0]
        prefix, declaration = prefix_for(rdf.scope(), RDF, "rdf")
        attributes = [declaration] if declaration else []
        tag = " ".join([f"{prefix}:Description", *attributes, f'{prefix}:about=""'])
        edits = with_children(packet.data, rdf, [(0, f"<{tag}>"), (0, f"</{prefix}:Description>")])
        again = parse(splice(packet.data, edits), _WANTED, declared=False)
        whole = splice(again.data, new_property(again, name, array, texts))
        return [(0, len(packet.data), whole)]
    prefix, declaration = prefix_for(parent.scope(), uri, _PREFERRED[name])
    rdf_prefix, rdf_declaration = prefix_for(parent.scope(), RDF, "rdf")
    language = ' xml:lang="x-default"' if array == "Alt" else ""
    li = f"{rdf_prefix}:li"
    lines = [
        (0, f"<{prefix}:{local}>"),
        (1, f"<{rdf_prefix}:{array}>"),
        *((2, f"<{li}{language}>{escaped(text)}</{li}>") for text in texts),
        (1, f"</{rdf_prefix}:{array}>"),
        (0, f"</{prefix}:{local}>"),
    ]
    declarations = [line for line in (declaration, rdf_declaration) if line]
    return with_children(packet.data, parent, lines, attributes=declarations)


def _home(descriptions: Sequence[Element], uri: str) -> Element | None:
    def belongs(description: Element) -> bool:
        names = [*description.attributes, *(child.name for child in description.children)]
        return any(name.startswith(f"{uri} ") for name in names)

    def declares(description: Element) -> bool:
        return any(prefix and bound == uri for prefix, bound in description.scope().items())

    for fits in (belongs, declares):
        for description in descriptions:
            if fits(description):
                return description
    return descriptions[0] if descriptions else None


def item_name(array: Element) -> str:
    """Return the name of an item as it is to be written in this array."""
    # The prefix that the array itself has is bound where its items stand.
    prefix, colon, _ = array.written.rpartition(":")
    return f"{prefix}{colon}li"


def _written(name: str) -> str:
    return f"{_PREFERRED[name]}:{name.split(' ')[1]}"
