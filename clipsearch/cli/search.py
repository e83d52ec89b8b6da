"""search, similar: questions that are answered with photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clipsearch.cli.common import (
    json_option,
    library_options,
    opened,
    photo_of,
    print_json,
    print_line,
)
from clipsearch.cli.preview import draw
from clipsearch.cli.queries import QueryCommand, query_text

if TYPE_CHECKING:
    from clipsearch.library import Library
    from clipsearch.records import SearchResult


def page_options(function: Any) -> Any:
    """Add the options that choose which hits are printed, and how."""
    for option in reversed(
        [
            click.option(
                "-k", default=10, show_default=True, type=click.IntRange(min=1), help="Hits."
            ),
            click.option(
                "--offset",
                default=0,
                show_default=True,
                type=click.IntRange(min=0),
                help="Leave out the first hits: the next page.",
            ),
            click.option("--paths", is_flag=True, help="Print paths only, one a line."),
            click.option(
                "--print0", is_flag=True, help="Print paths only, each ended by a NUL for xargs -0."
            ),
            click.option("--preview", is_flag=True, help="Draw thumbnails where the terminal can."),
        ]
    ):
        function = option(function)
    return function


@click.command(cls=QueryCommand)
@click.argument("query", nargs=-1, required=True, metavar="QUERY...")
@page_options
@json_option
@library_options
def search(query: tuple[str, ...], k: int, offset: int, **options: Any) -> None:
    """Find photos by phrase.

    \b
      clipsearch search dog on a beach
      clipsearch search dog on a beach -people         away from people
      clipsearch search '"red ball" +2:grass'          two phrases, grass counts double
      clipsearch search image:12 +snow                 photo 12, but with snow
      clipsearch search ./pool.jpg -water              any image file is a term too

    Bare words make one phrase, "quoted words" one of their own. + and - before a term add and
    subtract it, 2:term weights it. The score is a cosine: it ranks photos for one query and says
    nothing about another query.
    """
    with _library(options) as library:
        _show(library, library.search(query_text(query), k=k, offset=offset), **options)


@click.command()
@click.argument("photo")
@page_options
@json_option
@library_options
def similar(photo: str, k: int, offset: int, **options: Any) -> None:
    """Find photos like PHOTO: a photo's number, or the path of any image file."""
    with _library(options) as library:
        _show(library, library.similar(photo_of(photo), k=k, offset=offset), **options)


def _library(options: dict[str, Any]) -> Library:
    return opened(**{name: options[name] for name in ("library", "model", "device", "quiet")})


def _show(
    library: Library,
    result: SearchResult,
    /,
    *,
    as_json: bool,
    paths: bool,
    print0: bool,
    preview: bool,
    **_: Any,
) -> None:
    if as_json:
        print_json(result)
        return
    for hit in result.hits:
        if paths or print0:
            print_line(hit.path, end="\0" if print0 else "\n")
            continue
        date = (hit.taken_at or "")[:10]
        print_line(f"{hit.score:6.3f}  {date:10}  {hit.id:>6}  {hit.path}")
        if preview:
            preview = draw(library, hit.id)
