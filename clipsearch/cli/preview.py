"""Draw thumbnails in terminals that can."""

from __future__ import annotations

import base64
import io
import os
import sys
from typing import TYPE_CHECKING, Literal

import click

from clipsearch.cli.common import say
from clipsearch.errors import PhotoError

if TYPE_CHECKING:
    from clipsearch.library import Library

_CHUNK = 4096  # bytes of base64 in one escape of the kitty protocol
_HEIGHT = 160  # pixels


def protocol() -> Literal["kitty", "iterm2"] | None:
    """Return how the terminal on stdout takes pictures, if it does."""
    if not sys.stdout.isatty():
        return None
    program = os.environ.get("TERM_PROGRAM", "")
    if "kitty" in os.environ.get("TERM", "") or program.lower() == "ghostty":
        return "kitty"
    if program in {"iTerm.app", "WezTerm"}:
        return "iterm2"
    return None


def draw(library: Library, photo_id: int) -> bool:
    """Draw the thumbnail of a photo; say once on stderr, and return false, where that cannot be."""
    how = protocol()
    if how is None:
        say("no preview: this terminal shows no pictures; kitty, Ghostty, iTerm2 and WezTerm do")
        return False
    try:
        click.echo(escape(_png(library, photo_id), how))
    except PhotoError as error:
        say(error)
    return True


def escape(png: bytes, how: Literal["kitty", "iterm2"]) -> str:
    """Return the escape sequence that draws a PNG.

    Kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol/ ·
    iTerm2: https://iterm2.com/documentation-images.html
    """
    data = base64.b64encode(png).decode("ascii")
    if how == "iterm2":
        return f"\033]1337;File=inline=1;size={len(png)}:{data}\a"
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    head = "a=T,f=100,"
    return "".join(
        f"\033_G{head if number == 0 else ''}m={int(number < len(chunks) - 1)};{chunk}\033\\"
        for number, chunk in enumerate(chunks)
    )


def _png(library: Library, photo_id: int) -> bytes:
    from PIL import Image

    with Image.open(library.thumbnail(photo_id)) as image:
        image.thumbnail((4 * _HEIGHT, _HEIGHT))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
