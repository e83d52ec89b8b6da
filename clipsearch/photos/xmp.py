"""Read the few XMP properties that clipsearch wants, from packets that nobody vouches for.

XMP specification, part 1 (ISO 16684-1): RDF/XML, a property is an attribute or an element
of a top-level rdf:Description; arrays are rdf:Alt, rdf:Bag or rdf:Seq of rdf:li.
"""

from __future__ import annotations

from typing import Any

from lxml import etree
from PIL import Image

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_NAMESPACES = {
    "dc": "{http://purl.org/dc/elements/1.1/}",
    "exif": "{http://ns.adobe.com/exif/1.0/}",
    "photoshop": "{http://ns.adobe.com/photoshop/1.0/}",
    "xmp": "{http://ns.adobe.com/xap/1.0/}",
}

# A packet with a long editing history has some 100 kB; beyond this it is no metadata.
MAX_PACKET_BYTES = 4 << 20

Properties = dict[str, list[str]]


def read_xmp(image: Image.Image) -> Properties:
    """Return the values of each property of the image's XMP packet, by names such as `dc:subject`.

    In a language alternative the default language comes first. A packet that cannot be
    parsed has no properties.
    """
    packet = _packet(image)
    if packet is None or len(packet) > MAX_PACKET_BYTES:
        return {}
    try:
        return _parse(packet)
    except (etree.LxmlError, ValueError, LookupError):
        return {}


def _packet(image: Image.Image) -> bytes | None:
    for key in ("xmp", "XML:com.adobe.xmp"):
        packet = image.info.get(key)
        if isinstance(packet, str):
            packet = packet.encode("utf-8", "replace")
        if isinstance(packet, bytes) and packet.strip(b"\x00 \t\r\n"):
            return packet.strip(b"\x00 \t\r\n")
    return None


def _parse(packet: bytes) -> Properties:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=True
    )
    root: Any = etree.fromstring(packet, parser)
    properties: Properties = {}
    if root is None:
        return properties
    # Only top-level descriptions: a history entry or an ingredient has dates of its own.
    for rdf in root.iter(f"{_RDF}RDF"):
        for description in rdf.iterchildren(f"{_RDF}Description"):
            for name, value in description.attrib.items():
                _add(properties, name, [value])
            for element in description.iterchildren(etree.Element):
                _add(properties, element.tag, _values(element))
    return properties


def _add(properties: Properties, qualified: str, values: list[str]) -> None:
    for prefix, namespace in _NAMESPACES.items():
        if qualified.startswith(namespace):
            name = f"{prefix}:{qualified.removeprefix(namespace)}"
            properties.setdefault(name, []).extend(value for value in values if value.strip())


def _values(element: Any) -> list[str]:
    items = [item for array in element.iterchildren(etree.Element) for item in _items(array)]
    if not len(element):
        return [element.text or ""]
    items.sort(key=lambda item: item[0] != "x-default")
    return [text for _, text in items]


def _items(array: Any) -> list[tuple[str, str]]:
    if array.tag not in (f"{_RDF}Alt", f"{_RDF}Bag", f"{_RDF}Seq"):
        return []
    return [(item.get(_LANG, ""), item.text or "") for item in array.iterchildren(f"{_RDF}li")]
