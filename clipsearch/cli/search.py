"""search, similar: questions that are answered with photos."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from clipsearch.cli.common import (
    json_option,
    library_options,
    opened,
    photo_of,
    print_json,
    print_line,
    say,
)
from clipsearch.cli.preview import draw
from clipsearch.cli.queries import QueryCommand, query_text
from clipsearch.errors import PhotoNotFoundError
from clipsearch.query import KEYS

if TYPE_CHECKING:
    from clipsearch.library import Library
    from clipsearch.records import Explanation, Facets, Hit, SearchResult


PHOTO_ID = click.IntRange(min=1)


def relevance_options(function: Any) -> Any:
    """Add the options that choose which photos answer, and in which order."""
    for option in reversed(
        [
            click.option(
                "--min-relevance",
                type=click.FloatRange(0, 1),
                metavar="P",
                help="Leave out what is less relevant; 0 takes all.  [default: automatic]",
            ),
            click.option(
                "--sort",
                type=click.Choice(["relevance", "date"]),
                default="relevance",
                show_default=True,
                help="date: the relevant photos, the latest first.",
            ),
        ]
    ):
        function = option(function)
    return function


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


def _keys() -> str:
    """Return the filter keys as lines for a help text, the example first."""
    lines = []
    for each in KEYS.values():
        meaning, _, example = each.rpartition(": ")
        lines.append(f"  {example:26} {meaning}")
    return "\n    ".join(lines)


@click.command(cls=QueryCommand)
@click.argument("query", nargs=-1, required=True, metavar="QUERY...")
@page_options
@relevance_options
@click.option("--all-copies", is_flag=True, help="Show photos with the same content each.")
@click.option("--like", multiple=True, type=PHOTO_ID, metavar="ID", help="More like this hit.")
@click.option("--unlike", multiple=True, type=PHOTO_ID, metavar="ID", help="Less like it.")
@click.option("--explain", is_flag=True, help="Say of each hit why it is where it is.")
@click.option("--facets", is_flag=True, help="Count the answers by year, camera, folder and tag.")
@json_option
@library_options
def search(
    query: tuple[str, ...],
    explain: bool,
    facets: bool,
    **options: Any,
) -> None:
    """Find photos by phrase, by what is known of them, or both.

    \b
      clipsearch search dog on a beach
      clipsearch search dog on a beach -people         away from people
      clipsearch search '"red ball" +2:grass'          two phrases, grass counts double
      clipsearch search image:12 +snow                 photo 12, but with snow
      clipsearch search ./pool.jpg -water              any image file is a term too
      clipsearch search sunset after:2019-06 -camera:iphone
      clipsearch search tag:animal folder:trips near:43.3,-1.98,20km

    Bare words make one phrase, "quoted words" one of their own. + and - before a term add and
    subtract it, 2:term weights it. Filters are exact, a comma in one means or, - its opposite:

    \b
    {KEYS}

    Photos that are not relevant are left out. Relevance is the probability that a photo answers
    the phrase; strong, likely and weak put it in words. The score behind it is a cosine: it ranks
    photos for one query and says nothing about another. Where only plain phrases are asked for,
    photos whose name, folder, tags or alt text hold all their words are mixed in from the front
    on, marked with a *.
    """
    feedback = {name: options[name] for name in ("like", "unlike")}
    limits = {name: options[name] for name in ("min_relevance", "sort", "all_copies")}
    text = query_text(query)
    with _library(options) as library:
        if facets:
            _show_facets(library.facets(text, min_relevance=limits["min_relevance"]), **options)
            return
        page = {"k": options["k"], "offset": options["offset"]}
        answer = None
        if options["model"] == "auto":
            from clipsearch.cli import remote

            answer = remote.search(
                library.folder, text, explain=explain, **page, **limits, **feedback
            )
        if answer is not None:
            result, reasons = answer.result, {each.id: each for each in answer.reasons}
        else:
            result = library.search(text, **page, **limits, **feedback)
            reasons = _explained(library, text, result, feedback) if explain else {}
        _show(library, result, reasons, **options)
        if not result.total and not options["quiet"]:
            say(_nothing(result))


search.help = (search.help or "").replace("{KEYS}", _keys())


@click.command()
@click.argument("photo")
@page_options
@click.option("--all-copies", is_flag=True, help="Show photos with the same content each.")
@json_option
@library_options
def similar(photo: str, k: int, offset: int, all_copies: bool, **options: Any) -> None:
    """Find photos like PHOTO: a photo's number, or the path of any image file."""
    with _library(options) as library:
        found = library.similar(photo_of(photo), k=k, offset=offset, all_copies=all_copies)
        _show(library, found, {}, **options)


def _library(options: dict[str, Any]) -> Library:
    return opened(**{name: options[name] for name in ("library", "model", "device", "quiet")})


def _explained(
    library: Library, text: str, result: SearchResult, feedback: dict[str, Any]
) -> dict[int, Explanation]:
    found = {}
    for hit in result:
        with suppress(PhotoNotFoundError):  # dropped by an indexer since it was found
            found[hit.id] = library.explain(text, hit.id, **feedback)
    return found


def _nothing(result: SearchResult) -> str:
    if not result.cut:
        return "no photo passes the filters"
    looked_at = f"{result.cut} photo{'s' * (result.cut != 1)} looked at"
    return f"nothing relevant, {looked_at}; --min-relevance 0 shows the nearest"


def _show(
    library: Library,
    result: SearchResult,
    reasons: Mapping[int, Explanation],
    /,
    *,
    as_json: bool,
    paths: bool,
    print0: bool,
    preview: bool,
    **_: Any,
) -> None:
    if as_json:
        document = dataclasses.asdict(result)
        if reasons:
            document["explanations"] = list(reasons.values())
        print_json(document)
        return
    for hit in result.hits:
        if paths or print0:
            print_line(hit.path, end="\0" if print0 else "\n")
            continue
        print_line(hit_line(hit))
        if hit.id in reasons:
            _show_reasons(reasons[hit.id])
        if preview:
            preview = draw(library, hit.id)


def hit_line(hit: Hit) -> str:
    """Return the line of a hit: relevance and band, score, date, number and path."""
    # Rounded down: 34.9 % is not yet what 35 % is called.
    relevance = "" if hit.relevance is None else f"{int(hit.relevance * 100)}%"
    score = "" if hit.score is None else f"{hit.score:.3f}"
    mark = "*" if hit.named else " "
    date = (hit.taken_at or "")[:10]
    return f"{relevance:>4} {hit.band or '':6} {score:>6} {date:10} {hit.id:>6} {mark} {hit.path}"


def _show_reasons(why: Explanation) -> None:
    rows = [
        (f"{each.contribution:+.3f}", f"{each.term}  (cosine {each.cosine:.3f} x {each.weight:g})")
        for each in why.terms
    ]
    rows += [
        ("passes" if each.passes else "fails", f"{each.filter}  ({', '.join(each.facts) or '-'})")
        for each in why.filters
    ]
    if why.words:
        rows.append(("words" if why.named else "no", f"{' '.join(why.words)}  (in name or tags)"))
    rows += [
        (f"{each.logit:+.2f}", f"log-odds: {each.name}  ({each.value:.2f})")
        for each in why.evidence
    ]
    for value, text in rows:
        print_line(f"{'':12}{value:>7}  {text}")


def _show_facets(facets: Facets, *, as_json: bool, **_: Any) -> None:
    if as_json:
        print_json(facets)
        return
    print_line(f"{facets.photos} photos")
    for name in ("years", "months", "cameras", "folders", "tags"):
        if counts := getattr(facets, name):
            print_line("")
            print_line(name)
            for each in counts:
                print_line(f"{each.count:>8}  {each.value}")
