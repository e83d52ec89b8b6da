"""Grow a well-formed XMP packet out of any bytes, so that mutation does not end at the parser."""

from __future__ import annotations

from collections.abc import Sequence

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PROPERTIES = (
    ("dc", "http://purl.org/dc/elements/1.1/", "subject"),
    ("dc", "http://purl.org/dc/elements/1.1/", "description"),
    ("lr", "http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject"),
    ("digiKam", "http://www.digikam.org/ns/1.0/", "TagsList"),
    ("Iptc4xmpCore", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "AltTextAccessibility"),
    ("xmp", "http://ns.adobe.com/xap/1.0/", "Rating"),
    ("other", "urn:other", "subject"),
    ("other", "urn:other", "thing"),
)
WORDS = (
    *("dog", "animal|dog", "animal/dog", "fuzzed|\u2603 &amp; &lt;leaf&gt;", "\u2603 &#38; x", ""),
    *("3", "-1", "nan", " ", "a&#13;b", "a\nb", "&quot;", "darktable|x", "|", "/a//b", "&#x1F415;"),
    *("What &quot;we&quot; say: 1 &lt; 2 &amp; \u00fc", "]]&gt;", "\u00e9", "e\u0301", "\u2028"),
)
GAPS = ("", "\n", "\r\n", "  ", "\t", "\n   ", "<!-- <rdf:li>no</rdf:li> -->", "<?pi ?>", "\n\n")


class _Choices:
    """Take one choice after another out of bytes; where they are used up, the first one."""

    def __init__(self, data: bytes) -> None:
        self._left = list(reversed(data))

    def number(self, below: int) -> int:
        return self._left.pop() % below if self._left else 0

    def one(self, of: Sequence[str]) -> str:
        return of[self.number(len(of))]


def packet(data: bytes) -> bytes:
    """Return a packet in UTF-8 or UTF-16, with properties in every form that XMP has."""
    pick = _Choices(data)
    rdf = pick.one(("rdf", "rdf", "r", "RDF"))
    inner = "".join(pick.one(GAPS) + _description(pick, rdf) for _ in range(pick.number(4)))
    body = f'<{rdf}:RDF xmlns:{rdf}="{RDF}">{inner}{pick.one(GAPS)}</{rdf}:RDF>'
    if pick.number(2):
        inner = f"{pick.one(GAPS)}{body}{pick.one(GAPS)}"
        body = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{inner}</x:xmpmeta>"
    head = pick.one(("", '<?xml version="1.0"?>', '<?xpacket begin="\ufeff" id="W5"?>\n', "\n"))
    if head == "\n":
        head = ""
        body += "\n"
    text = head + body
    kind = pick.number(6)
    if kind == 4:
        return b"\xff\xfe" + text.encode("utf-16-le")
    if kind == 5:
        return b"\xfe\xff" + text.encode("utf-16-be")
    return (b"\xef\xbb\xbf" if kind == 3 else b"") + text.encode()


def _description(pick: _Choices, rdf: str) -> str:
    names: dict[str, str] = {}
    chosen = []
    for _ in range(pick.number(5)):
        prefix, uri, local = PROPERTIES[pick.number(len(PROPERTIES))]
        if pick.number(4) == 3:
            prefix = pick.one(("a", "dc", "lr", "xmp"))
        # One prefix stands for one namespace here.
        while names.setdefault(prefix, uri) != uri:
            prefix += "x"
        chosen.append(f"{prefix}:{local}")
    declared = "".join(
        f"{pick.one((' ', chr(10) + '  '))}xmlns:{p}='{u}'" for p, u in names.items()
    )
    attributes, children, used = "", "", set()
    for name in chosen:
        if pick.number(5) == 4 and name not in used:
            used.add(name)
            quote = pick.one(('"', "'"))
            attributes += f" {name} = {quote}{pick.one(WORDS)}{quote}"
        else:
            children += pick.one(GAPS) + _property(pick, rdf, name)
    about = pick.one((f' {rdf}:about=""', "", f" {rdf}:about='>'"))
    start = f"<{rdf}:Description{about}{declared}{attributes}"
    if not children and pick.number(2):
        return f"{start}{pick.one(('', ' '))}/>"
    return f"{start}{pick.one(('', ' '))}>{children}{pick.one(GAPS)}</{rdf}:Description>"


def _property(pick: _Choices, rdf: str, name: str) -> str:
    kind = pick.number(8)
    if kind == 0:
        return f"<{name}>{pick.one(WORDS)}</{name}>"
    if kind == 1:
        return f"<{name}/>"
    if kind == 2:
        return f"<{name}><![CDATA[{pick.one(('dog', '<x>', 'a|b'))}]]></{name}>"
    if kind == 3:
        value = f"<{rdf}:value>{pick.one(WORDS)}</{rdf}:value>"
        return f'<{name} {rdf}:parseType="Resource">{value}</{name}>'
    array = f"{rdf}:{pick.one(('Bag', 'Seq', 'Alt'))}"
    items = "".join(pick.one(GAPS) + _item(pick, rdf) for _ in range(pick.number(4)))
    inner = f"<{array}>{items}{pick.one(GAPS)}</{array}>" if items else f"<{array}/>"
    return f"<{name}>{pick.one(GAPS)}{inner}{pick.one(GAPS)}</{name}>"


def _item(pick: _Choices, rdf: str) -> str:
    language = pick.one(
        ("", "", ' xml:lang="x-default"', " xml:lang='de'", ' xml:lang="X-DEFAULT"')
    )
    kind = pick.number(6)
    if kind == 5:
        return f"<{rdf}:li{language}/>"
    if kind == 4:
        value = f"<{rdf}:value>{pick.one(WORDS)}</{rdf}:value>"
        return f"<{rdf}:li{language}><{rdf}:Description>{value}</{rdf}:Description></{rdf}:li>"
    return f"<{rdf}:li{language}>{pick.one(WORDS)}{pick.one(('', '', '<!-- x -->'))}</{rdf}:li>"
