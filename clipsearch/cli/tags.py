"""tag, tags, runs, undo, vocabulary: labels for an archive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from clipsearch.cli.common import (
    backup_option,
    json_option,
    library_options,
    limit_option,
    opened,
    photo_of,
    print_document,
    print_json,
    print_line,
    progress,
    say,
)
from clipsearch.cli.queries import QueryCommand, query_text

FILE = click.Path(path_type=Path)


@click.command(cls=QueryCommand)
@click.argument("query", nargs=-1, metavar="[QUERY]...")
@click.option(
    "--vocabulary",
    type=FILE,
    help="Labels: a TOML file, or text with one a line.  [default: labels for personal photos]",
)
@limit_option
@json_option
@library_options
def tag(
    query: tuple[str, ...], vocabulary: Path | None, k: int | None, as_json: bool, **options: Any
) -> None:
    """Tag all photos, or those that answer QUERY, with a vocabulary.

    \b
      clipsearch tag                                  the default vocabulary
      clipsearch tag --vocabulary mine.toml           yours; see `clipsearch vocabulary`
      clipsearch undo RUN                             as if it had never been

    Works from stored vectors: no photo is opened. A label is given where it stands out from the
    library and beats neutral sentences, not above one flat score. Tags set or removed by hand,
    and those in the photos themselves, stay.
    """
    with opened(**options) as library, progress(options["quiet"]) as show:
        report = library.tag(vocabulary, query_text(query) or None, k=k, on_progress=show)
    if as_json:
        print_json(report)
        return
    print_line(
        f"run {report.run}: {report.tags} tags for {report.photos} photos "
        f"from {report.labels} labels"
    )


@click.command()
@click.argument("photo", required=False)
@click.option("--add", multiple=True, metavar="TAG", help="The tag holds, whatever runs say.")
@click.option("--remove", multiple=True, metavar="TAG", help="It does not, whatever runs say.")
@click.option("--reset", multiple=True, metavar="TAG", help="Leave it to file and runs again.")
@json_option
@library_options
def tags(
    photo: str | None,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    reset: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """List tags with their counts, or those of PHOTO; edit them by hand."""
    if photo is None and (add or remove or reset):
        raise click.UsageError("name the PHOTO whose tags to edit")
    with opened(**options) as library:
        if photo is None:
            counts = library.tag_counts()
            if as_json:
                print_json({"tags": [{"tag": name, "photos": count} for name, count in counts]})
                return
            for name, count in counts:
                print_line(f"{count:7}  {name}")
            return
        which = photo_of(photo)
        if add or remove or reset:
            found = library.edit_tags(which, add=add, remove=remove, reset=reset)
        else:
            found = library.tags(which)
    if as_json:
        print_json({"tags": found})
        return
    for each in found:
        score = f"{each.score:.2f}" if each.score is not None else "    "
        print_line(f"{score}  {each.origin:4}  {each.label}")


@click.command()
@json_option
@library_options
def runs(as_json: bool, **options: Any) -> None:
    """List tagging, captioning and export runs, the latest first."""
    with opened(**options) as library:
        found = library.runs()
    if as_json:
        print_json({"runs": found})
        return
    for run in found:
        state = "undone" if run.undone else ""
        print_line(
            f"{run.id:5}  {run.made_at[:16]}  {run.kind:8} {run.results:8} for {run.photos} photos"
            f"  {run.source}  {run.model}  {state}".rstrip()
        )


@click.command()
@click.argument("run", type=click.IntRange(1, 2**63 - 1))
@backup_option
@library_options
def undo(run: int, **options: Any) -> None:
    """Take a run back; later runs and edits by hand stay."""
    with opened(**options) as library:
        skipped = library.undo(run)
    print_line(f"run {run} is undone")
    for file in skipped:
        say(f"{file.path}: {file.reason}")
    if skipped:
        sys.exit(1)


@click.group()
def vocabulary() -> None:
    """Work on vocabularies: files of labels to tag with.

    \b
    Plain text has one label a line, with synonyms behind "=":
      animal/dog = puppy, hound
      beach
    TOML adds groups: `clipsearch vocabulary show` prints the default one as an example.
    """


@vocabulary.command("check")
@click.argument("file", type=FILE)
@json_option
@library_options
def check(file: Path, as_json: bool, **options: Any) -> None:
    """Warn of what makes zero-shot tagging fail, and propose the fix.

    Near-synonyms that take each other's photos, exclusive groups without a background class,
    labels longer than the model reads, duplicates. Exit 1 if there is something to fix.
    """
    from clipsearch import vocabularies

    found = vocabularies.read(file)
    with opened(**options, create=True) as library:
        texts = library.embedder.texts
        findings = vocabularies.check(found, texts, limit=vocabularies.synonym_limit(texts))
    if as_json:
        print_json({"findings": findings})
    else:
        for finding in findings:
            print_line(f"{finding.kind}: {finding.message}")
            print_line(f"    {finding.fix}")
        if not findings:
            print_line(f"{len(found.labels)} labels, nothing to fix")
    if findings:
        sys.exit(1)


@vocabulary.command("show")
@click.argument("file", type=FILE, required=False)
def show(file: Path | None) -> None:
    """Print a vocabulary as TOML: FILE, or the default one."""
    from clipsearch import vocabularies

    found = vocabularies.read(file) if file else vocabularies.default()
    print_document(vocabularies.to_toml(found))
