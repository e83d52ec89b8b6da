"""index, forget: what the library follows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from clipsearch.cli.common import (
    backup_option,
    json_option,
    library_options,
    opened,
    print_json,
    print_line,
    progress,
    say,
    visible,
)

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("roots", nargs=-1, metavar="[ROOT]...", type=FOLDER)
@click.option(
    "--max-pixels",
    metavar="MEGAPIXELS",
    type=click.FloatRange(min=0, min_open=True),
    help="Skip photos larger than this.  [default: 300, less where memory is short]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads that read and decode photos.  [default: one a processor]",
)
@click.option("--retry", is_flag=True, help="Open files again that could not be decoded before.")
@backup_option
@json_option
@library_options
def index(
    roots: tuple[Path, ...],
    max_pixels: float | None,
    threads: int | None,
    retry: bool,
    backups: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring folders of photos into the library, or refresh all of them.

    \b
      clipsearch index ~/Pictures /mnt/scans    add folders (each is a ROOT)
      clipsearch index                          refresh every folder added so far

    New and changed photos are embedded; a file that is as it was is not opened again; a photo
    that moved keeps its vector; a photo that is gone is dropped. A folder that cannot be reached
    (an unmounted disk) loses nothing. Stop at any time: the next run goes on from there.
    """
    limit = None if max_pixels is None else int(max_pixels * 1e6)
    options |= {"max_pixels": limit, "threads": threads, "backups": backups}
    with (
        opened(**options, create=True) as library,
        progress(options["quiet"]) as show,
    ):
        report = library.index(*roots, retry=retry, on_progress=show)
    if not options["quiet"]:
        for notice in report.notices:
            say(notice)
    if as_json:
        names = ("added", "updated", "moved", "unchanged", "removed", "skipped", "seconds", "model")
        print_json({name: getattr(report, name) for name in names})
        return
    print_line(
        f"{report.added} added, {report.updated} updated, {report.moved} moved, "
        f"{report.unchanged} unchanged, {report.removed} removed, {len(report.skipped)} skipped "
        f"in {report.seconds:.1f} s with {report.model}"
    )
    if report.skipped and not options["quiet"]:
        for reason, count in Counter(skip.reason for skip in report.skipped).most_common(8):
            say(f"{count:6} skipped: {reason}", start="  ")
        say("`clipsearch status --skipped` lists every file", start="  ")


@click.command()
@click.argument("root", type=FOLDER)
@click.option("--yes", is_flag=True, help="Do not ask.")
@backup_option
@library_options
def forget(root: Path, yes: bool, **options: Any) -> None:
    """Drop a folder and what is known of its photos; the files stay."""
    with opened(**options) as library:
        if not yes and not click.confirm(f"Forget all photos of {visible(str(root))}?", err=True):
            say("nothing was forgotten")
            return
        count = library.forget(root)
    print_line(f"{count} photos forgotten")
