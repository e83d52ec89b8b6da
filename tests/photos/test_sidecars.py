"""XMP sidecars, read back by the real exiftool and compared byte by byte."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from PIL import Image

from clipsearch.photos import sidecars
from clipsearch.photos.sidecars import (
    Change,
    Sidecar,
    SidecarError,
    difference,
    extract,
    merge,
    normalize_tag,
    plan,
    read,
    revert,
    sidecar_path,
    write,
)

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = {
    "rdf": RDF,
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "iptc": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
}
OURS = (
    "XMP-dc:Subject",
    "XMP-dc:Description",
    "XMP-lr:HierarchicalSubject",
    "XMP-digiKam:TagsList",
    "XMP-iptcCore:AltTextAccessibility",
)

NAMES = ("subject", "description", "TagsList", "hierarchicalSubject", "AltTextAccessibility")

FOREIGN = """\
<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<?other instruction?>
<!-- before -->
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk="XMP Core 5.6">
  <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description rdf:about=""
        xmlns:crs='http://ns.adobe.com/camera-raw-settings/1.0/'
        xmlns:xmp="http://ns.adobe.com/xap/1.0/"
        xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
        xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
        xmlns:darktable="http://darktable.sf.net/"
        xmlns:acdsee="http://ns.acdsee.com/iptc/1.0/"
        xmlns:dc="http://purl.org/dc/elements/1.1/"
      xmp:Rating="4"   crs:Exposure2012='+0.35'
      darktable:xmp_version="5" acdsee:categories="&lt;Categories&gt;&#10;&lt;/Categories&gt;">
      <!-- a comment > with <signs> -->
      <crs:ToneCurvePV2012><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq>
      </crs:ToneCurvePV2012>
      <xmpMM:History>
        <rdf:Seq>
          <rdf:li stEvt:action="saved" stEvt:when="2020-01-01T00:00:00"/>
          <rdf:li rdf:parseType="Resource"><stEvt:action>derived</stEvt:action></rdf:li>
        </rdf:Seq>
      </xmpMM:History>
      <darktable:history><rdf:Seq>
        <rdf:li darktable:operation="exposure" darktable:params="gz04eJxjYGBgAAA="/>
      </rdf:Seq></darktable:history>
      <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Title</rdf:li>
        <rdf:li xml:lang="de">Titel &amp; mehr</rdf:li></rdf:Alt></dc:title>
      <dc:subject>
        <rdf:Bag>
          <!-- kept -->
          <rdf:li>holiday</rdf:li>
        </rdf:Bag>
      </dc:subject>
    </rdf:Description>
    <?inside pi?>
  </rdf:RDF>
</x:xmpmeta>
<!-- after -->
   \x20
<?xpacket end='w'?>"""

# A carriage return alone, a lone surrogate, a null: every text that Python has.
anything = st.text(max_size=40)


def described(inner: str, attributes: str = "") -> bytes:
    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {names}>'
        f'<rdf:Description rdf:about=""{attributes}>{inner}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def xml_text(text: str) -> str:
    """Return a text as XML can hold it, written apart from the code under test."""
    return "".join(
        c
        for c in text
        if c in "\t\n\r" or " " <= c < "\ud800" or (c >= "\ue000" and c not in "\ufffe\uffff")
    )


def items(data: bytes, name: str) -> list[str]:
    root = etree.fromstring(data)
    found = root.xpath(f"//rdf:Description/{name}/*/rdf:li", namespaces=NAMESPACES)
    return [item.text or "" for item in found]


def exiftool(*arguments: str | Path) -> str:
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("needs exiftool (Debian: libimage-exiftool-perl)")
    command = [program, "-charset", "filename=utf8", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def seen_by_exiftool(*paths: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(exiftool("-j", "-struct", "-G1", "-XMP:all", *paths))
    return found


def as_list(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def test_the_sidecar_lies_beside_the_photo(tmp_path: Path) -> None:
    photo = tmp_path / "IMG.jpg"
    assert sidecar_path(str(photo)) == f"{photo}.xmp"
    assert sidecars.find(str(photo)) == ()
    (tmp_path / "IMG.xmp").write_text("")
    Path(f"{photo}.xmp").write_text("")
    assert sidecars.find(str(photo)) == (f"{photo}.xmp", str(tmp_path / "IMG.xmp"))


def test_every_value_is_read_back_by_exiftool(tmp_path: Path) -> None:
    tags = [
        "animal/dog",
        "Grüße/日本語",
        "a & b < c > \"d\" 'e'",
        "comma, semicolon; colon:",
        "🐕‍🦺",
        "\u202bעברית\u202c",
        *(f"group {number % 7}/tag {number}" for number in range(300)),
    ]
    alt_text = "A \"dog\" & a 'cat' < 3\nsecond line ]]> 🐕 \u200fשלום\u200e &amp; &#65;"
    path = tmp_path / "IMG.jpg.xmp"
    path.write_bytes(merge(None, tags=tags, alt_text=alt_text))
    [seen] = seen_by_exiftool(path)
    assert seen["XMP-digiKam:TagsList"] == tags
    assert seen["XMP-lr:HierarchicalSubject"] == [tag.replace("/", "|") for tag in tags]
    assert seen["XMP-dc:Subject"] == [tag.split("/")[-1] for tag in tags]
    assert seen["XMP-iptcCore:AltTextAccessibility"] == alt_text
    assert seen["XMP-dc:Description"] == alt_text
    assert read(str(path)) == Sidecar(tuple(tags), alt_text, alt_text)
    assert exiftool("-validate", "-a", "-error", "-warning", path).split() == [
        "Validate",
        ":",
        "OK",
    ]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.lists(anything, max_size=4), anything), min_size=1, max_size=25))
def test_exiftool_reads_any_text(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[list[str], str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    paths = [folder / f"{number}.xmp" for number in range(len(said))]
    # In its JSON exiftool turns texts such as TRUE and 1e5 into what JSON has for them.
    said = [([f"x{tag}" for tag in tags], f"x{alt_text}") for tags, alt_text in said]
    for path, (tags, alt_text) in zip(paths, said, strict=True):
        path.write_bytes(merge(None, tags=tags, alt_text=alt_text))
    for (tags, alt_text), seen in zip(said, seen_by_exiftool(*paths), strict=True):
        wanted = list(dict.fromkeys(filter(None, map(normalize_tag, tags))))
        # Line ends and outer white space are exiftool's own business.
        loose = [" ".join(tag.split()) for tag in wanted]
        found = as_list(seen.get("XMP-digiKam:TagsList", []))
        assert [" ".join(tag.split()) for tag in found] == loose
        assert " ".join(str(seen.get("XMP-dc:Description", "")).split()) == " ".join(
            xml_text(alt_text).split()
        )


def test_a_sidecar_made_by_exiftool_keeps_every_foreign_property(tmp_path: Path) -> None:
    path = tmp_path / "IMG.jpg.xmp"
    exiftool(
        *("-XMP-dc:Subject=holiday", "-XMP-dc:Creator=Ann", "-XMP-dc:Title-de=Titel"),
        *("-XMP:City=Bonn", "-XMP:Rating=3", "-XMP-xmp:Label=Red", "-XMP-crs:Exposure2012=0.5"),
        "-XMP-iptcExt:LocationCreated={City=Köln,CountryName=Deutschland}",
        *("-XMP-mwg-rs:RegionInfo={RegionList=[{Name=Ann,Area={X=0.5,Y=0.5}}]}", "-o", path),
    )
    check_kept(path)


def test_properties_copied_from_a_photo_are_kept(tmp_path: Path) -> None:
    photo, path = tmp_path / "IMG.jpg", tmp_path / "IMG.jpg.xmp"
    Image.new("RGB", (8, 8)).save(photo)
    exiftool("-q", "-Make=Maker", "-XMP:Country=Chile", "-IPTC:Keywords=beach", photo)
    exiftool("-tagsfromfile", photo, "-all:all>xmp:all", "-XMP-dc:Subject<IPTC:Keywords", path)
    check_kept(path)


def test_foreign_namespaces_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "IMG.jpg.xmp"
    path.write_text(FOREIGN, encoding="utf-8")
    check_kept(path)


def check_kept(path: Path) -> None:
    """Merge into a sidecar and take it out again; exiftool and a parser see the rest unchanged."""
    original = path.read_bytes()
    [before] = seen_by_exiftool(path)
    tags = [f"animal/dog {number}" for number in range(20)]
    after = merge(original, tags=tags, alt_text="A dog")
    path.write_bytes(after)
    [seen] = seen_by_exiftool(path)
    assert {k: v for k, v in seen.items() if k not in OURS} == {
        k: v for k, v in before.items() if k not in OURS
    }
    kept = [word for word in as_list(before.get("XMP-dc:Subject", [])) if word]
    assert seen["XMP-dc:Subject"] == [*kept, *(tag.split("/")[1] for tag in tags)]
    assert seen["XMP-digiKam:TagsList"] == tags
    assert without_ours(after) == without_ours(original)
    again = merge(after, tags=[], alt_text=None, previous_tags=tags, previous_alt_text="A dog")
    path.write_bytes(again)
    assert seen_by_exiftool(path) == [before]


def without_ours(data: bytes) -> list[str]:
    """Return everything in a packet but the properties that clipsearch writes."""
    root = etree.fromstring(data)
    found = []
    for description in root.iter(f"{{{RDF}}}Description"):
        for child in list(description):
            name = etree.QName(child).localname if isinstance(child.tag, str) else ""
            if name in NAMES:
                description.remove(child)
    for node in [*root.itersiblings(preceding=True), *root.iter(), *root.itersiblings()]:
        tag = node.tag if isinstance(node.tag, str) else node.tag.__name__
        found.append(f"{tag} {sorted(node.attrib.items())} {(node.text or '').strip()}")
    return found


def test_only_the_changed_lines_change() -> None:
    original = FOREIGN.encode()
    after = merge(original, tags=["beach"], alt_text=None)
    lines = difference(Change("IMG.jpg.xmp", original, after)).splitlines()[2:]
    # The last line of the start tag, which goes on with the new namespaces.
    [removed] = [line for line in lines if line.startswith("-")]
    assert "acdsee:categories" in removed
    assert "+          <rdf:li>beach</rdf:li>" in lines
    back = merge(after, tags=[], alt_text=None, previous_tags=["beach"])
    assert re.sub(rb"\s+xmlns:(lr|digiKam)=\"[^\"]*\"", b"", back) == original


def test_the_same_bytes_come_back_when_nothing_changes() -> None:
    for data in (FOREIGN.encode(), b"\xef\xbb\xbf" + FOREIGN.encode(), FOREIGN.encode("utf-16")):
        assert merge(data, tags=[], alt_text=None) is data
        assert merge(data, tags=[], alt_text=None, previous_tags=["x"]) is data


@given(st.lists(anything, max_size=6), anything, st.lists(anything, max_size=6), anything)
def test_merging_twice_is_merging_once(
    tags: list[str], alt_text: str, previous: list[str], previous_text: str
) -> None:
    arguments: dict[str, Any] = {
        "tags": tags,
        "alt_text": alt_text,
        "previous_tags": previous,
        "previous_alt_text": previous_text,
    }
    for start in (None, FOREIGN.encode(), merge(None, tags=previous, alt_text=previous_text)):
        once = merge(start, **arguments)
        assert merge(once, **arguments) == once


@given(st.lists(anything, max_size=6), anything)
def test_any_text_comes_back(tags: list[str], alt_text: str) -> None:
    data = merge(None, tags=tags, alt_text=alt_text)
    wanted = tuple(dict.fromkeys(filter(None, map(normalize_tag, tags))))
    text = xml_text(alt_text)
    found = extract(data)
    assert set(found.tags) == {tag for tag in wanted if tag.split("/")[0] != "darktable"}
    assert found.alt_text == found.description == (text if text.strip() else None)
    etree.fromstring(data)


@given(st.sets(anything, max_size=5), st.sets(anything, max_size=5))
def test_a_later_export_equals_a_fresh_one(earlier: set[str], later: set[str]) -> None:
    first = merge(None, tags=sorted(earlier), alt_text="a")
    second = merge(
        first,
        tags=sorted(later),
        alt_text="b",
        previous_tags=sorted(earlier),
        previous_alt_text="a",
    )
    fresh = extract(merge(None, tags=sorted(later), alt_text="b"))
    assert set(extract(second).tags) == set(fresh.tags)
    assert (extract(second).alt_text, extract(second).description) == ("b", "b")


def test_tags_that_no_longer_hold_are_taken_out_and_others_stay() -> None:
    data = merge(FOREIGN.encode(), tags=["animal/dog", "pet/dog", "beach"], alt_text=None)
    after = merge(data, tags=["beach"], alt_text=None, previous_tags=["animal/dog", "beach"])
    assert items(after, "lr:hierarchicalSubject") == ["pet|dog", "beach"]
    assert items(after, "dc:subject") == ["holiday", "dog", "beach"]
    last = merge(
        after,
        tags=[],
        alt_text=None,
        previous_tags=["pet/dog", "beach", "holiday"],
        foreign_tags=["holiday"],
    )
    assert items(last, "dc:subject") == ["holiday"]
    assert b"hierarchicalSubject>" not in last


def test_both_separators_divide_levels() -> None:
    assert normalize_tag(" a | b//c/ ") == "a/b/c"
    assert normalize_tag("|/ \x00") == ""
    data = merge(None, tags=["AC/DC", "AC|DC", "x, y"], alt_text=None)
    assert items(data, "lr:hierarchicalSubject") == ["AC|DC", "x, y"]
    assert items(data, "dc:subject") == ["DC", "x, y"]
    word = described("<dc:subject><rdf:Bag><rdf:li>AC/DC</rdf:li></rdf:Bag></dc:subject>")
    assert items(merge(word, tags=["AC/DC"], alt_text=None), "dc:subject") == ["AC/DC"]


def test_existing_keywords_are_read_once_each() -> None:
    data = described(
        "<dc:subject><rdf:Bag><rdf:li>dog</rdf:li><rdf:li>animal</rdf:li><rdf:li>sea</rdf:li>"
        "<rdf:li>darktable</rdf:li></rdf:Bag></dc:subject>"
        "<lr:hierarchicalSubject><rdf:Bag><rdf:li>animal|dog</rdf:li>"
        "<rdf:li>darktable|format|jpg</rdf:li></rdf:Bag></lr:hierarchicalSubject>"
        "<digiKam:TagsList><rdf:Seq><rdf:li>animal/dog</rdf:li><rdf:li>place/Rome</rdf:li>"
        "<rdf:li>_Digikam_Internal_Tags_/Pick</rdf:li></rdf:Seq></digiKam:TagsList>"
        "<iptc:AltTextAccessibility><rdf:Alt><rdf:li xml:lang='de'>Hund</rdf:li>"
        "<rdf:li xml:lang='x-default'>dog</rdf:li></rdf:Alt></iptc:AltTextAccessibility>"
        "<dc:description><rdf:Alt><rdf:li xml:lang='de'>Ein Hund</rdf:li></rdf:Alt>"
        "</dc:description>",
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="-1.0"',
    )
    assert extract(data) == Sidecar(("animal/dog", "place/Rome", "sea"), "dog", "Ein Hund", -1)


def test_a_text_that_a_human_wrote_stays() -> None:
    ours = merge(None, tags=[], alt_text="ours")
    edited = ours.replace(
        b">ours</rdf:li>\n    </rdf:Alt>\n   </dc:d", b">mine</rdf:li>\n    </rdf:Alt>\n   </dc:d"
    )
    assert extract(edited).description == "mine"
    after = extract(merge(edited, tags=[], alt_text="new", previous_alt_text="ours"))
    assert (after.alt_text, after.description) == ("new", "mine")
    gone = extract(merge(edited, tags=[], alt_text=None, previous_alt_text="ours"))
    assert (gone.alt_text, gone.description) == (None, "mine")


def test_other_languages_stay() -> None:
    data = described(
        "<dc:description><rdf:Alt><rdf:li xml:lang='x-default'>ours</rdf:li>"
        "<rdf:li xml:lang='de'>Hund</rdf:li></rdf:Alt></dc:description>"
    )
    new = merge(data, tags=[], alt_text="new", previous_alt_text="ours")
    assert items(new, "dc:description") == ["new", "Hund"]
    gone = merge(data, tags=[], alt_text=None, previous_alt_text="ours")
    assert items(gone, "dc:description") == ["Hund"]
    # A description in one language only is a human's, too.
    assert items(merge(gone, tags=[], alt_text="new"), "dc:description") == ["Hund"]


@pytest.mark.parametrize(
    ("inner", "attributes"),
    [
        ("", ' dc:subject="sea" dc:description="ours"'),
        ("<dc:subject>sea</dc:subject><dc:description>ours</dc:description>", ""),
        (
            "<dc:subject><rdf:Seq><rdf:li><rdf:Description><rdf:value>sea</rdf:value>"
            "<dc:note>q</dc:note></rdf:Description></rdf:li></rdf:Seq></dc:subject>"
            "<dc:description><rdf:Alt/></dc:description>",
            "",
        ),
        (
            "<dc:subject><rdf:Bag/></dc:subject></rdf:Description><rdf:Description rdf:about=''>"
            "<dc:subject><rdf:Bag><rdf:li>sea</rdf:li></rdf:Bag></dc:subject>"
            "<dc:description><rdf:Alt><rdf:li xml:lang='x-default'/></rdf:Alt></dc:description>",
            "",
        ),
        (
            "<dc:subject><rdf:Bag><rdf:li>sea</rdf:li></rdf:Bag></dc:subject></rdf:Description>"
            "<rdf:Description rdf:about='' dc:subject='' dc:description=' '>",
            "",
        ),
    ],
)
def test_unusual_forms_of_a_property(inner: str, attributes: str) -> None:
    data = described(inner, attributes)
    after = merge(data, tags=["animal/dog"], alt_text="new", previous_alt_text="ours")
    assert set(extract(after).tags) == {"animal/dog", "sea"}
    assert extract(after).description == "new"
    assert etree.fromstring(after).xpath("count(//dc:description)", namespaces=NAMESPACES) == 1
    back = merge(
        after, tags=[], alt_text=None, previous_tags=["animal/dog"], previous_alt_text="new"
    )
    assert extract(back) == Sidecar(("sea",))


@pytest.mark.parametrize(
    "rdf",
    [
        f"<r:RDF xmlns:r='{RDF}'/>",
        f"<RDF xmlns='{RDF}'><Description/></RDF>",
        f"<r:RDF xmlns:r='{RDF}' xmlns:dc='urn:other' xmlns:lr='urn:2'><r:Description r:about=''/>"
        "</r:RDF>",
        f"<r:RDF xmlns:r='{RDF}'>\r\n\t<r:Description r:about='' x='>'></r:Description>\r\n"
        "</r:RDF>",
    ],
)
def test_other_prefixes_and_empty_packets(rdf: str) -> None:
    after = merge(rdf.encode(), tags=["animal/dog"], alt_text="A dog")
    assert extract(after) == Sidecar(("animal/dog",), "A dog", "A dog")
    assert items(after, "dc:subject") == ["dog"]
    assert (b"\r\n" in after) == ("\r\n" in rdf)
    assert after.count(b"\n") == after.count(b"\r\n") or "\r\n" not in rdf


def test_utf16_stays_utf16() -> None:
    data = ('<?xml version="1.0" encoding="UTF-16"?>' + described("").decode()).encode("utf-16")
    after = merge(data, tags=["Grüße"], alt_text=None)
    assert extract(after).tags == ("Grüße",)
    assert after[:2] == data[:2]
    assert "Grüße" in after.decode("utf-16")


def test_a_large_sidecar_is_edited_at_the_right_places() -> None:
    blob = "<crs:Mask>" + "ä&lt;x>" * 300_000 + "</crs:Mask>"
    data = described(blob, ' xmlns:crs="urn:crs"')
    after = merge(data, tags=["dog"], alt_text="A dog")
    assert extract(after) == Sidecar(("dog",), "A dog", "A dog")
    assert blob.encode() in after


BROKEN = {
    "empty": b"",
    "no XML": b"\xff\xd8\xff\xe0 a picture",
    "cut off": FOREIGN.encode()[:900],
    "no RDF": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
    "RDF too deep": b"<a><b>" + described("") + b"</b></a>",
    "entities": b"<!DOCTYPE a [<!ENTITY b 'bomb'>]>" + described("&b;"),
    "outside": b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>" + described(""),
    "latin": b"<?xml version='1.0' encoding='ISO-8859-1'?>" + described("\xe4"),
    "bad UTF-8": described("").replace(b'about=""', b'about="\xe4"'),
    "bad UTF-16": b"\xff\xfe\x00\xd8",
    "structure": described("<dc:subject rdf:parseType='Resource'><dc:x/></dc:subject>"),
    "link": described("<dc:subject rdf:resource='http://example.org'/>"),
    "too large": described(" " * (16 << 20)),
    "too deep": described("<dc:a>" * 300 + "</dc:a>" * 300),
    "too many": described("<dc:a/>" * 200_001),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_sidecar_is_reported_and_left_untouched(tmp_path: Path, kind: str) -> None:
    photo = str(tmp_path / "IMG.jpg")
    path = Path(sidecar_path(photo))
    path.write_bytes(BROKEN[kind])
    with pytest.raises(SidecarError, match=r"IMG\.jpg\.xmp: "):
        plan(photo, tags=["dog"], alt_text="A dog")
    assert path.read_bytes() == BROKEN[kind]
    if kind not in ("structure", "link"):
        with pytest.raises(SidecarError, match=r"IMG\.jpg\.xmp: "):
            read(str(path))


@given(st.binary(max_size=200), st.integers(0, len(FOREIGN)), st.integers(0, 200))
def test_damage_never_raises_anything_else(noise: bytes, place: int, length: int) -> None:
    data = FOREIGN.encode()
    damaged = data[:place] + noise + data[place + length :]
    try:
        after = merge(damaged, tags=["animal/dog"], alt_text="A dog")
    except SidecarError:
        return
    assert "animal/dog" in extract(after).tags


def test_what_is_no_ordinary_file_is_left_alone(tmp_path: Path) -> None:
    photo = str(tmp_path / "IMG.jpg")
    path = Path(sidecar_path(photo))
    with pytest.raises(SidecarError, match="no such file"):
        read(str(path))
    path.mkdir()
    with pytest.raises(SidecarError, match="no ordinary file"):
        plan(photo, tags=["dog"], alt_text=None)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(SidecarError, match="no ordinary file"):
        plan(photo, tags=["dog"], alt_text=None)
    path.unlink()
    (tmp_path / "real.xmp").write_bytes(FOREIGN.encode())
    path.symlink_to("real.xmp")
    with pytest.raises(SidecarError, match="a link"):
        plan(photo, tags=["dog"], alt_text=None)
    assert read(str(path)).tags == ("holiday",)


def test_plan_shows_and_write_does(tmp_path: Path) -> None:
    photo = str(tmp_path / "IMG.jpg")
    assert plan(photo, tags=[], alt_text=None) is None
    change = plan(photo, tags=["animal/dog"], alt_text="A dog")
    assert change is not None
    assert change.before is None
    assert not Path(change.path).exists()
    shown = difference(change)
    assert shown.startswith(f"--- /dev/null\n+++ {change.path}\n")
    assert "+     <rdf:li>animal|dog</rdf:li>\n" in shown
    assert shown.isascii()
    write(change)
    assert Path(change.path).read_bytes() == change.after
    assert plan(photo, tags=["animal/dog"], alt_text="A dog") is None


def planned(photo: str, *tags: str) -> Change:
    change = plan(photo, tags=tags, alt_text=None)
    assert change is not None
    return change


def test_permissions_of_a_sidecar_are_kept(tmp_path: Path) -> None:
    photo = str(tmp_path / "IMG.jpg")
    path = Path(sidecar_path(photo))
    path.write_bytes(FOREIGN.encode())
    path.chmod(0o604)
    write(planned(photo, "dog"))
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_sidecar_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    photo = str(tmp_path / "IMG.jpg")
    path = Path(sidecar_path(photo))
    change = planned(photo, "dog")
    path.write_bytes(FOREIGN.encode())
    with pytest.raises(SidecarError, match="another program has changed it"):
        write(change)
    assert path.read_bytes() == FOREIGN.encode()


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = str(tmp_path / "IMG.jpg")
    path = Path(sidecar_path(photo))
    path.write_bytes(FOREIGN.encode())
    change = planned(photo, "dog")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, fail)
    with pytest.raises(SidecarError, match="No space left"):
        write(change)
    assert path.read_bytes() == FOREIGN.encode()
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_the_longest_name_that_a_sidecar_can_have(tmp_path: Path) -> None:
    write(planned(str(tmp_path / ("x" * 247 + ".jpg")), "dog"))
    with pytest.raises(SidecarError, match="name too long"):
        planned(str(tmp_path / ("x" * 248 + ".jpg")), "dog")


def test_revert_restores_the_bytes_or_removes_the_file(tmp_path: Path) -> None:
    photo = str(tmp_path / "IMG.jpg")
    path = Path(sidecar_path(photo))
    change = planned(photo, "dog")
    write(change)
    assert revert(change.path, change.before, change.digest)
    assert not path.exists()
    assert not revert(change.path, change.before, change.digest)
    path.write_bytes(FOREIGN.encode())
    change = planned(photo, "dog")
    write(change)
    assert revert(change.path, change.before, change.digest)
    assert path.read_bytes() == FOREIGN.encode()


def test_revert_leaves_a_sidecar_that_somebody_changed(tmp_path: Path) -> None:
    photo = str(tmp_path / "IMG.jpg")
    change = planned(photo, "dog")
    write(change)
    path = Path(change.path)
    path.write_bytes(change.after + b"<!-- mine -->")
    with pytest.raises(SidecarError, match=r"IMG\.jpg\.xmp: it was changed"):
        revert(change.path, change.before, change.digest)
    assert path.read_bytes().endswith(b"<!-- mine -->")
    path.unlink()
    with pytest.raises(SidecarError, match="it was removed"):
        revert(change.path, FOREIGN.encode(), change.digest)
