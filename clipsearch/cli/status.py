"""status, doctor: what there is, and what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipsearch.cli.common import (
    json_option,
    library_options,
    opened,
    print_json,
    print_line,
    progress,
    say,
)

if TYPE_CHECKING:
    from clipsearch.records import Repaired


@click.command()
@click.option("--skipped", is_flag=True, help="List every file that was not indexed, and why.")
@json_option
@library_options
def status(skipped: bool, as_json: bool, **options: Any) -> None:
    """Say what the library holds."""
    with opened(**options) as library:
        if skipped:
            files = library.skipped()
            if as_json:
                print_json({"skipped": files})
            else:
                for file in files:
                    print_line(f"{file.path}: {file.reason}")
            return
        found = library.status()
        if as_json:
            names = ("photos", "skipped", "roots", "model", "dimensions", "revision")
            print_json({name: getattr(found, name) for name in names})
            return
        print_line(f"library     {library.folder}")
        print_line(f"photos      {found.photos}")
        print_line(f"skipped     {found.skipped}")
        print_line(f"model       {found.model or 'none yet'}")
        if others := [name for name in found.models if name != found.model]:
            print_line(f"kept too    {', '.join(others)}")
        for root in found.roots:
            print_line(f"root        {root}")


@click.command()
@click.option("--repair", is_flag=True, help="Mend what is derived; restore a damaged catalogue.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@library_options
def doctor(repair: bool, yes: bool, **options: Any) -> None:
    """Check the installation and the library; exit 1 if something is wrong.

    \b
      clipsearch doctor               look, change nothing
      clipsearch doctor --repair      make it right

    --repair makes anew what is derived: words, index files, thumbnails, and vectors by the next
    `clipsearch index`. A catalogue that is damaged is put aside, never deleted, and the newest
    good backup takes its place; folders, tags and texts by hand are read out of the damaged one
    as far as they can be.
    """
    from clipsearch.diagnosis import examine

    if repair:
        _repair(yes=yes, **options)
    findings = list(examine(lambda: opened(**options)))
    for finding in findings:
        print_line(f"{'ok   ' if finding.ok else 'WRONG'}  {finding.what}: {finding.detail}")
    if wrong := sum(not finding.ok for finding in findings):
        say(f"{wrong} of {len(findings)} checks failed")
        sys.exit(1)


def _repair(*, yes: bool, **options: Any) -> None:
    from clipsearch.library import safekeeping
    from clipsearch.library.place import is_library, library_folder

    folder = library_folder(options["library"])
    wrong = safekeeping.damage(folder) if is_library(folder) else None
    if wrong:
        best = safekeeping.best_backup(folder)
        say(f"{folder}: the catalogue is damaged ({wrong})")
        if best is None:
            say("there is no whole backup: what cannot be read is lost, until you index again")
        else:
            made = best.made_at[:16].replace("T", " ")
            say(f"the newest whole backup is of {made} UTC: what can be read since is added to it")
        if not yes and not click.confirm("Put the damaged file aside and repair?", err=True):
            say("nothing was changed")
            sys.exit(1)
        with progress(options["quiet"]) as show:
            _tell(safekeeping.repair(folder, on_progress=show))
    with opened(**options) as library, progress(options["quiet"]) as show:
        for done in library.mend(on_progress=show):
            print_line(f"mended {done}")


def _tell(repaired: Repaired) -> None:
    if repaired.damaged:
        print_line(f"mended the damaged catalogue lies in {repaired.damaged}")
    if repaired.complete:
        print_line(f"mended {repaired.photos} photos, nothing is lost: only indexes were damaged")
        return
    source = Path(repaired.backup.path).name if repaired.backup else "an empty catalogue"
    print_line(f"mended {repaired.photos} photos, from {source}")
    found = repaired.salvaged
    counts = {
        "folders": found.roots,
        "photos": found.photos,
        "tags by hand": found.tags,
        "texts": found.alt_texts,
        "saved searches": found.searches,
    }
    added = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    print_line(f"mended read out of the damaged one beside: {added or 'nothing more'}")
    if found.unreadable:
        print_line(f"LOST   could not be read to the end: {', '.join(found.unreadable)}")
    say("runs since the backup are lost; `clipsearch index` brings photos and vectors up to date")
