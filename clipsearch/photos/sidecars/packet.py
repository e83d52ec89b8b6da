"""Parse an XMP packet so that parts of it can be replaced and all other bytes stay as they are.

XMP specification, part 1 (ISO 16684-1), section 7: properties are child elements, or
attributes, of the top-level rdf:Description elements of rdf:RDF.

Expat and no tree library, because it tells at which byte an element begins and ends: quotes,
order of attributes, comments and white space that other programs wrote are never rewritten.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat  # a document type is refused, so there are no entities to expand
from xml.sax.saxutils import escape  # a function that replaces characters; nothing is parsed

from clipsearch.errors import SidecarError

MAX_BYTES = 16 << 20
MAX_ELEMENTS = 200_000
MAX_DEPTH = 250
"""Far more than anybody has; they bound the memory that a hostile file can take."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
ARRAYS = (f"{RDF} Bag", f"{RDF} Seq", f"{RDF} Alt")
LANG = f"{XML} lang"

_SEPARATOR = "\x1f"  # no XML document can hold it
_START_TAG = re.compile(rb"<[^\s/>]+((?:\s+[^\s=]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)(\s*/?>)")
_ATTRIBUTE = re.compile(rb"\s+([^\s=]+)\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Edit = tuple[int, int, bytes]
"""Replace the bytes from the first offset up to the second."""


@dataclass(eq=False, slots=True)
class Element:
    """An element and where its tags are; names are `namespace local-name`, as `written` has them.

    `close` is the offset of the end tag, or of the first byte after an empty-element tag.
    """

    name: str
    written: str
    attributes: dict[str, str]
    declared: Mapping[str, str]
    parent: Element | None
    start: int
    close: int = 0
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def scope(self) -> dict[str, str]:
        """Return the namespaces of the prefixes that are bound here; `""` is the default one."""
        # Put together when asked for: a copy in each element would be a way to fill the memory.
        scope: dict[str, str] = {}
        element: Element | None = self
        while element is not None:
            scope = {**element.declared, **scope}
            element = element.parent
        return scope


@dataclass(frozen=True, slots=True)
class Packet:
    """A parsed packet; `rdf` are its rdf:RDF elements, of which there should be one."""

    data: bytes
    rdf: tuple[Element, ...]

    def descriptions(self) -> Iterator[Element]:
        """Yield the top-level descriptions in document order."""
        for rdf in self.rdf:
            yield from (child for child in rdf.children if child.name == f"{RDF} Description")


def decode(data: bytes) -> tuple[bytes, str]:
    """Return a sidecar as UTF-8, and the encoding that `encode` restores.

    Raises:
        SidecarError: it is too large or not the UTF-16 that it claims to be.
    """
    if len(data) > MAX_BYTES:
        raise SidecarError(f"larger than {MAX_BYTES >> 20} MiB, which is no sidecar")
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding).encode(), encoding
            except UnicodeError as error:
                raise SidecarError("not well-formed: damaged UTF-16") from error
    return data, "utf-8"


def encode(data: bytes, encoding: str) -> bytes:
    """Return UTF-8 in the encoding that `decode` found."""
    if encoding == "utf-8":
        return data
    return ("\ufeff" + data.decode()).encode(encoding)


def parse(data: bytes, wanted: frozenset[str], *, declared: bool = True) -> Packet:
    """Parse a UTF-8 packet; of properties that are not `wanted` only the place is kept.

    With `declared` the encoding of the XML declaration counts, if there is one.

    Raises:
        SidecarError: it is no well-formed XML, has a document type, or holds no rdf:RDF.
    """
    stack: list[Element] = []
    rdf: list[Element] = []
    declarations: dict[str, str] = {}
    state = {"skipped": 0, "elements": 0}
    parser = expat.ParserCreate("utf-8", _SEPARATOR)
    parser.namespace_prefixes = True
    parser.buffer_text = True
    parser.buffer_size = 1 << 18

    def namespace(prefix: str | None, uri: str | None) -> None:
        declarations[prefix or ""] = uri or ""

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) + state["skipped"] >= MAX_DEPTH:
            raise SidecarError(f"nested deeper than {MAX_DEPTH} levels, which is no sidecar")
        if state["skipped"] or not _is_kept(stack, wanted):
            state["skipped"] += 1
            declarations.clear()
            return
        state["elements"] += 1
        if state["elements"] > MAX_ELEMENTS:
            raise SidecarError(f"more than {MAX_ELEMENTS} entries, which is no sidecar")
        declared = dict(declarations)
        declarations.clear()
        named, written = _name(name)
        plain = {_name(key)[0]: value for key, value in attributes.items()}
        parent = stack[-1] if stack else None
        element = Element(named, written, plain, declared, parent, parser.CurrentByteIndex)
        if parent is not None:
            parent.children.append(element)
        if named == f"{RDF} RDF" and len(stack) < 2:
            rdf.append(element)
        stack.append(element)

    def end(_: str) -> None:
        if state["skipped"]:
            state["skipped"] -= 1
            return
        stack.pop().close = parser.CurrentByteIndex

    def text(characters: str) -> None:
        if stack and not state["skipped"]:
            stack[-1].text += characters

    def declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if declared and (encoding or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
            raise SidecarError(f"its encoding is {encoding}, where XMP has UTF-8 or UTF-16")

    def doctype(*_: object) -> None:
        raise SidecarError("it has a document type, which XMP has not and which is not safe")

    parser.StartNamespaceDeclHandler = namespace
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.XmlDeclHandler = declaration
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise SidecarError(f"not well-formed XML: {error}") from error
    if not rdf:
        raise SidecarError("there is no rdf:RDF in it, so it is no XMP")
    return Packet(data, tuple(rdf))


def _is_kept(stack: list[Element], wanted: frozenset[str]) -> bool:
    # An element below a property: kept where the property is wanted. The property itself is
    # the child of a description, which is the child of rdf:RDF at the first or second level.
    depth = next((i for i, element in enumerate(stack[:2]) if element.name == f"{RDF} RDF"), None)
    return depth is None or len(stack) < depth + 3 or stack[depth + 2].name in wanted


def _name(name: str) -> tuple[str, str]:
    parts = name.split(_SEPARATOR)
    if len(parts) == 1:
        return name, name
    uri, local, *prefix = parts
    return f"{uri} {local}", ":".join([*prefix, local])


def splice(data: bytes, edits: Iterable[Edit]) -> bytes:
    """Apply edits that do not overlap; those at the same place in the order given."""
    parts, position = [], 0
    for start, end, replacement in sorted(edits, key=lambda edit: edit[0]):
        parts += [data[position:start], replacement]
        position = end
    return b"".join([*parts, data[position:]])


def end_of(data: bytes, element: Element) -> int:
    """Return the offset of the first byte after the element."""
    tag = _start_tag(data, element)
    if tag[2].endswith(b"/>"):
        return tag.end()
    return data.index(b">", element.close) + 1


def without(data: bytes, element: Element) -> Edit:
    """Take an element out, and the white space before it."""
    return _back_over_space(data, element.start), end_of(data, element), b""


def without_attribute(data: bytes, element: Element, name: str) -> Edit:
    """Take an attribute out of a start tag."""
    tag, scope = _start_tag(data, element), element.scope()
    for attribute in _ATTRIBUTE.finditer(data, tag.start(1), tag.end(1)):
        prefix, colon, local = attribute[1].decode().rpartition(":")
        if colon and f"{scope.get(prefix)} {local}" == name:
            return attribute.start(), attribute.end(), b""
    raise ValueError(f"no attribute {name} in {element.written}")


def with_text(data: bytes, element: Element, text: str) -> Edit:
    """Replace everything inside an element by a text."""
    tag = _start_tag(data, element)
    if tag[2].endswith(b"/>"):
        closing = f">{escaped(text)}</{element.written}>".encode()
        return tag.start(2), tag.end(2), closing
    return tag.end(), element.close, escaped(text).encode()


def with_children(
    data: bytes,
    parent: Element,
    lines: Iterable[tuple[int, str]],
    *,
    attributes: Iterable[str] = (),
    first: bool = False,
) -> list[Edit]:
    """Put lines of markup after the last child, or before the `first`, laid out like the rest.

    Each line comes with its depth below the children. `attributes` go into the start tag.
    """
    newline = "\r\n" if b"\r\n" in data else "\n"
    indent = _indent(data, parent)
    inner = _indent(data, parent.children[0]) if parent.children else ""
    if not inner.startswith(indent) or inner == indent:
        inner = indent + " "
    step = inner[len(indent) :]
    block = "".join(f"{newline}{inner}{step * depth}{line}" for depth, line in lines).encode()
    added = "".join(f"{newline}{inner}{step}{attribute}" for attribute in attributes).encode()
    tag = _start_tag(data, parent)
    if tag[2].endswith(b"/>"):
        closing = f"{newline}{indent}</{parent.written}>".encode()
        return [(tag.start(2), tag.end(2), added + b">" + block + closing)]
    place = tag.end()
    if parent.children and not first:
        place = end_of(data, parent.children[-1])
    elif b"\n" not in data[place : parent.close]:
        block += f"{newline}{indent}".encode()
    edits = [(tag.start(2), tag.start(2), added)] if added else []
    return [*edits, (place, place, block)]


def prefix_for(scope: Mapping[str, str], uri: str, preferred: str) -> tuple[str, str | None]:
    """Return a prefix for a namespace, and its declaration where the scope lacks it."""
    bound = sorted(prefix for prefix, bound in scope.items() if prefix and bound == uri)
    if bound:
        return (preferred if preferred in bound else bound[0]), None
    prefix, number = preferred, 1
    while prefix in scope:
        prefix, number = f"{preferred}{number}", number + 1
    return prefix, f'xmlns:{prefix}="{uri}"'


def sanitize(text: str) -> str:
    """Drop the characters that XML cannot hold: most controls, lone surrogates, U+FFFE, U+FFFF."""
    return _FORBIDDEN.sub("", text)


def escaped(text: str) -> str:
    """Return a text as the content of an element."""
    # A parser turns a bare carriage return into a line feed.
    return escape(sanitize(text), {"\r": "&#13;"})


def _start_tag(data: bytes, element: Element) -> re.Match[bytes]:
    tag = _START_TAG.match(data, element.start)
    if tag is None:  # pragma: no cover - the parser has seen a start tag there
        raise SidecarError(f"not well-formed XML near byte {element.start}")
    return tag


def _back_over_space(data: bytes, position: int) -> int:
    while position and data[position - 1] in b" \t\r\n":
        position -= 1
    return position


def _indent(data: bytes, element: Element) -> str:
    line = data[data.rfind(b"\n", 0, element.start) + 1 : element.start].decode()
    return line if not line.strip(" \t") else ""
