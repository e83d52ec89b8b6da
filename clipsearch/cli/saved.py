"""saved: searches with a name, and what is new in them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from clipsearch.cli.common import (
    json_option,
    library_options,
    opened,
    print_json,
    print_line,
    say,
)
from clipsearch.cli.queries import QueryCommand, query_text
from clipsearch.cli.search import hit_line, relevance_options
from clipsearch.errors import ClipsearchError

if TYPE_CHECKING:
    from clipsearch.library import Library


@click.group()
def saved() -> None:
    """Keep searches by name: albums that fill themselves.

    \b
      clipsearch saved add "dogs at sea" dog on a beach -people
      clipsearch saved list                    names, queries and what is new
      clipsearch saved new "dogs at sea"       what it finds that it has not shown yet
    """


@saved.command(cls=QueryCommand)
@click.argument("name")
@click.argument("query", nargs=-1, required=True, metavar="QUERY...")
@relevance_options
@library_options
def add(
    name: str, query: tuple[str, ...], min_relevance: float | None, sort: Any, **options: Any
) -> None:
    """Keep QUERY as NAME; what it finds today counts as seen."""
    with opened(**options) as library:
        kept = library.save_search(name, query_text(query), min_relevance=min_relevance, sort=sort)
    if not options["quiet"]:
        say(f'kept as "{kept.name}"')


@saved.command("list")
@json_option
@library_options
def list_(as_json: bool, **options: Any) -> None:
    """List the saved searches with the number of new photos."""
    with opened(**options) as library:
        found = library.saved_searches()
        rows = [(each, *_count_new(library, each.name)) for each in found]
    if as_json:
        print_json(
            {
                "saved": [
                    dataclasses.asdict(each) | {"new": count, "error": error}
                    for each, count, error in rows
                ]
            }
        )
        return
    for each, count, error in rows:
        print_line(f"{'?' if count is None else count:>6} new  {each.name}: {each.query}")
        if error:
            print_line(f"{'':12}{error}")


def _count_new(library: Library, name: str) -> tuple[int | None, str | None]:
    """Count what is new; a search that can no more be answered says why, others still count."""
    try:
        return len(library.new_hits(name, keep=True)), None
    except ClipsearchError as error:
        return None, str(error).splitlines()[0]


@saved.command(cls=QueryCommand)
@click.argument("name")
@click.option("--keep", is_flag=True, help="Leave them new.")
@json_option
@library_options
def new(name: str, keep: bool, as_json: bool, **options: Any) -> None:
    """Print what NAME finds that it has not shown yet."""
    with opened(**options) as library:
        hits = library.new_hits(name, keep=True)
        if as_json:
            print_json({"name": name, "hits": hits})
        for hit in hits if not as_json else ():
            print_line(hit_line(hit))
        if not keep:  # once they are printed: what a broken pipe swallowed stays new
            library.mark_seen(name, [hit.id for hit in hits])


@saved.command(cls=QueryCommand)
@click.argument("name")
@library_options
def remove(name: str, **options: Any) -> None:
    """Forget NAME; no photo is touched."""
    with opened(**options) as library:
        gone = library.forget_search(name)
    if not options["quiet"]:
        say(f"forgotten; it was: {gone.query}")
