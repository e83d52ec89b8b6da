"""export: tags and alt text out, for other programs."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipsearch.cli.common import (
    library_options,
    limit_option,
    opened,
    print_document,
    print_line,
    progress,
    say,
)
from clipsearch.cli.queries import QueryCommand, query_text
from clipsearch.errors import ExportError

if TYPE_CHECKING:
    from clipsearch.library import Library

NAMES = {"csv": "tags.csv", "json": "tags.json", "html": "contact-sheet.html", "folders": "folders"}


@click.command(cls=QueryCommand)
@click.argument("query", nargs=-1, metavar="[QUERY]...")
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["xmp", "csv", "json", "html", "folders"]),
    help="xmp: sidecars beside the photos; html: a contact sheet; folders: one a label.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="File or folder to write; - is stdout.  [default: tags.csv, tags.json, "
    "contact-sheet.html, folders]",
)
@click.option("--dry-run", is_flag=True, help="xmp: show the difference, write nothing.")
@click.option("--copy", is_flag=True, help="folders: copies instead of links.")
@limit_option
@library_options
def export(
    query: tuple[str, ...],
    form: str,
    output: Path | None,
    dry_run: bool,
    copy: bool,
    k: int | None,
    **options: Any,
) -> None:
    """Write tags and alt text for all photos, or those that answer QUERY.

    \b
      clipsearch export --to xmp --dry-run     what would change beside the photos
      clipsearch export --to xmp               IMG.jpg.xmp, read by Lightroom and digiKam
      clipsearch export --to csv -o - | less
      clipsearch export --to folders --copy    training data, with scores.csv

    Sidecars are merged: what other programs wrote stays. `clipsearch undo RUN` restores them.
    """
    words = query_text(query) or None
    with opened(**options) as library:
        if form == "xmp":
            _sidecars(library, words, k, dry_run, options["quiet"])
        else:
            _file(library, words, k, form, output or Path(NAMES[form]), copy)


def _sidecars(
    library: Library, query: str | None, k: int | None, dry_run: bool, quiet: bool
) -> None:
    with progress(quiet) as show:
        report = library.export_sidecars(query, k=k, dry_run=dry_run, on_progress=show)
    for difference in report.differences:
        print_document(difference)
    for skip in report.skipped:
        say(f"{skip.path}: {skip.reason}")
    verb = "would be written" if dry_run else "written"
    run = f"run {report.run}: " if report.run else ""
    line = f"{run}{report.written} sidecars {verb}, {report.unchanged} unchanged"
    say(line) if dry_run else print_line(line)
    if report.skipped:
        sys.exit(1)


def _file(
    library: Library, query: str | None, k: int | None, form: str, output: Path, copy: bool
) -> None:
    from clipsearch import exporting

    rows = library.described(query, k=k)
    if form == "folders":
        report = exporting.export_folders(output, rows, mode="copy" if copy else "link")
        print_line(f"{report.files} files for {report.labels} labels in {output}")
        for skip in report.skipped:
            say(f"{skip.path}: {skip.reason}")
        return

    def thumbnail(photo_id: int) -> bytes:
        return library.thumbnail(photo_id).read_bytes()

    def write(file: Any) -> None:
        if form == "csv":
            exporting.write_csv(file, rows)
        elif form == "json":
            exporting.write_json(file, rows)
        else:
            exporting.write_html(file, rows, thumbnail)

    if str(output) == "-":
        buffer = io.StringIO(newline="")
        write(buffer)
        print_document(buffer.getvalue())
        return
    if output.is_dir():
        raise ExportError(f"{output}: this is a folder; name a file")
    with exporting.replacing(output) as file:
        write(file)
    print_line(f"{len(rows)} photos written to {output}")
