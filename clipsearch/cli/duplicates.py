"""duplicates: photos that the library has more than once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from clipsearch.cli.common import (
    json_option,
    library_options,
    limit_option,
    opened,
    print_json,
    print_line,
    progress,
    say,
)
from clipsearch.cli.queries import QueryCommand, query_text

if TYPE_CHECKING:
    from clipsearch.duplicates import Duplicate, DuplicateReport


@click.command(cls=QueryCommand)
@click.argument("query", nargs=-1, metavar="[QUERY]...")
@limit_option
@click.option("--identical", is_flag=True, help="Only files of the same bytes.")
@click.option(
    "--similarity",
    metavar="COSINE",
    type=click.FloatRange(min=0.5, max=1),
    help="Group by this cosine alone, as for bursts and similar shots: 0.95, say.",
)
@click.option("--paths", is_flag=True, help="Print all but the best of each group, one a line.")
@click.option("--print0", is_flag=True, help="The same, each ended by a NUL for xargs -0.")
@json_option
@library_options
def duplicates(
    query: tuple[str, ...],
    k: int | None,
    identical: bool,
    similarity: float | None,
    paths: bool,
    print0: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Group near-identical photos, in the whole library or around those that answer QUERY.

    \b
      clipsearch duplicates                          look at the groups first
      clipsearch duplicates --identical              only files of the same bytes
      clipsearch duplicates --similarity 0.95        bursts and similar shots, too
      clipsearch duplicates --print0 | xargs -0 -r trash
                                                     all but the best of each group, to the trash

    The first of a group, marked *, is the best: more pixels, then the larger file, then the
    earlier date. = marks files with the very bytes of the best; the others are the same picture
    encoded again, resized or brightened. clipsearch itself never deletes a photo.
    """
    if identical and similarity is not None:
        raise click.UsageError("--identical and --similarity exclude each other")
    with opened(**options) as library, progress(options["quiet"]) as show:
        report = library.duplicates(
            query_text(query) or None,
            k=k,
            similarity=similarity,
            identical=identical,
            on_progress=show,
        )
    if as_json:
        print_json(report)
    elif paths or print0:
        for group in report.groups:
            for duplicate in group[1:]:
                print_line(duplicate.path, end="\0" if print0 else "\n")
    else:
        for number, group in enumerate(report.groups):
            if number:
                print_line("")
            for place, duplicate in enumerate(group):
                print_line(_line(duplicate, best=place == 0))
    if not options["quiet"]:
        _sum_up(report)


def _line(duplicate: Duplicate, *, best: bool) -> str:
    mark = "*" if best else "=" if duplicate.identical else " "
    pixels = f"{duplicate.width} x {duplicate.height}"
    date = (duplicate.taken_at or "")[:10]
    return (
        f"{mark} {duplicate.score:.3f}  {pixels:>13}  {_size(duplicate.size):>8}  {date:10}  "
        f"{duplicate.id:>6}  {duplicate.path}"
    )


def _size(count: float) -> str:
    """Write a number of bytes in the units that file managers show."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5 or unit == "GB":
            break
    return f"{count:.1f} {unit}"


def _sum_up(report: DuplicateReport) -> None:
    rest = [duplicate for group in report.groups for duplicate in group[1:]]
    if rest:
        size = _size(sum(duplicate.size for duplicate in rest))
        line = f"{len(report.groups)} groups; {len(rest)} photos beside the best, {size}"
    else:
        line = "no near-identical photos"
    say(line)
    for reason, count in Counter(skip.reason for skip in report.skipped).most_common(8):
        say(f"{count:6} not compared: {reason}", start="  ")
