"""A contact sheet for review: one HTML file that holds everything it shows."""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import TextIO

from clipsearch.errors import ClipsearchError
from clipsearch.exporting.described import Described

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1d21; --quiet: #5b616b; --paper: #f4f5f7;
  --card: #fff; --line: #d9dce1; --chip: #e8eaee; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9ebee; --quiet: #a2a8b2;
  --paper: #15171a; --card: #1f2226; --line: #353a41; --chip: #2d3138; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 100rem; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.45 system-ui, sans-serif; }
h1 { margin: 0 0 1rem; font-size: 1.4rem; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill,
  minmax(min(17rem, 100%), 1fr)); }
article { display: flex; flex-direction: column; overflow: hidden; border: 1px solid var(--line);
  border-radius: .5rem; background: var(--card); break-inside: avoid;
  content-visibility: auto; contain-intrinsic-size: auto 24rem; }
img, .missing { display: block; width: 100%; height: 13rem; object-fit: contain;
  background: var(--chip); }
.missing { display: grid; place-items: center; color: var(--quiet); }
.said { padding: .75rem; overflow-wrap: anywhere; }
.said > * { margin: 0 0 .5rem; }
.said > :last-child { margin: 0; }
.text { font-size: 1.05rem; white-space: pre-line; }
.none, .facts, .score, footer { color: var(--quiet); }
.none { font-style: italic; }
.facts, footer { font-size: .85rem; }
.score { font-size: .8rem; font-variant-numeric: tabular-nums; }
ul { display: flex; flex-wrap: wrap; gap: .35rem; padding: 0; list-style: none; }
li { padding: .1rem .5rem; border-radius: 1rem; background: var(--chip); font-size: .9rem; }
footer { margin-top: 1rem; }
@media print { body { background: none; } article { content-visibility: visible; } }
"""

_TYPES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"RIFF", "image/webp"),
)


def write_html(
    file: TextIO,
    rows: Iterable[Described],
    thumbnail: Callable[[int], bytes],
    *,
    title: str = "Contact sheet",
) -> None:
    """Write a page with every photo's thumbnail, alt text, tags and scores, as the rows come.

    `thumbnail` gives the WebP, JPEG or PNG of a photo's id; where it raises a
    `ClipsearchError`, the page says that there is no picture. The page has no script, loads
    nothing, and forbids itself both.
    """
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    file.write(
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_attribute(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{_text(title)}</h1>\n<main>\n"
    )
    count = 0
    for row in rows:
        file.write(_article(row, thumbnail))
        count += 1
    noun = "photo" if count == 1 else "photos"
    file.write(f"</main>\n<footer>{count} {noun}. Scores are cosines.</footer>\n</body>\n</html>\n")


def _article(row: Described, thumbnail: Callable[[int], bytes]) -> str:
    alt_text = (row.alt_text or "").strip()
    parts = [f'<article id="photo-{row.id}">', _picture(row, thumbnail), '<div class="said">']
    if alt_text:
        score = _score(row.caption_score)
        parts.append(f'<p class="text" dir="auto">{_text(alt_text)}{score}</p>')
    else:
        parts.append('<p class="none">No alt text</p>')
    if row.tags:
        items = (f"<li><bdi>{_text(tag.name)}</bdi>{_score(tag.score)}</li>" for tag in row.tags)
        parts.append(f'<ul aria-label="Tags">{"".join(items)}</ul>')
    facts = [f"<bdi>{_text(row.path)}</bdi>"]
    if row.taken_at:
        facts.append(f'<time datetime="{_attribute(row.taken_at)}">{_text(row.taken_at)}</time>')
    facts.append(f"{row.width} × {row.height}")
    parts += [f'<p class="facts">{"<br>".join(facts)}</p>', "</div>", "</article>\n"]
    return "\n".join(parts)


def _picture(row: Described, thumbnail: Callable[[int], bytes]) -> str:
    try:
        data = thumbnail(row.id)
    except ClipsearchError:
        data = b""
    kind = next((kind for mark, kind in _TYPES if data.startswith(mark)), None)
    if kind is None:
        return '<div class="missing">No picture</div>'
    alt = _attribute((row.alt_text or "").strip() or PurePath(row.path).name)
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" alt="{alt}" decoding="async">'


def _score(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f' <span class="score">{value:.3f}</span>'


def _text(text: str) -> str:
    # Bytes of names that are not UTF-8, and controls, which HTML cannot hold.
    return html.escape("".join(c if _holds(c) else "\ufffd" for c in text))


def _attribute(text: str) -> str:
    return _text(text).replace("\n", "&#10;")


def _holds(character: str) -> bool:
    return character in "\n\t" or (
        character >= " "
        and not "\x7f" <= character <= "\x9f"
        and not 0xD800 <= ord(character) < 0xE000
    )
