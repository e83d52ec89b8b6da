"""backup, restore: a copy of what the library knows, and the way back."""

from __future__ import annotations

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
)

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("file", required=False, type=FILE)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--list", "show", is_flag=True, help="List the automatic backups instead.")
@json_option
@library_options
def backup(file: Path | None, force: bool, show: bool, as_json: bool, **options: Any) -> None:
    """Copy what the library knows to FILE; an indexer may run meanwhile.

    \b
      clipsearch backup /mnt/disk/photos-2024.db     a copy of today
      clipsearch backup --list                       those that were made automatically

    The file holds tags, texts, vectors and where photos lie, not the photos. It appears when it
    is whole and checked. Automatic backups are made before an upgrade and before what loses
    something: undo, forget, models use, restore, many photos gone. The latest two or three of
    each kind stay.
    """
    if (file is None) != show:
        raise click.UsageError("name a FILE, or ask for --list")
    if file is None:
        _list(options["library"], as_json)
        return
    with (
        opened(**options, create=False) as library,
        progress(options["quiet"]) as show_progress,
    ):
        made = library.backup(file, force=force, on_progress=show_progress)
    if as_json:
        print_json(made)
        return
    print_line(f"{made.path}  {_size(made.size)}")


@click.command()
@click.argument("file", required=False, type=FILE)
@backup_option
@json_option
@library_options
def restore(file: Path | None, backups: bool, as_json: bool, **options: Any) -> None:
    """Make the library what a backup says; without FILE, list the automatic ones.

    \b
      clipsearch restore                                  what there is
      clipsearch restore catalog-20240131-120000-before-undo.db
      clipsearch restore /mnt/disk/photos-2024.db

    FILE is checked first. What was there is backed up, or put aside if it is damaged, so that
    this can be undone as well. Photos are not touched; `clipsearch index` brings the library up
    to date with them.
    """
    from clipsearch.library import safekeeping
    from clipsearch.library.place import library_folder

    if file is None:
        _list(options["library"], as_json)
        return
    with progress(options["quiet"]) as show:
        done = safekeeping.restore(
            library_folder(options["library"]), file, keep=backups, on_progress=show
        )
    if as_json:
        print_json(done)
        return
    print_line(f"{done.photos} photos, as in {done.source}")
    if done.kept and not options["quiet"]:
        say(f"what was there: {done.kept}")
    if done.damaged:
        say(f"what was there is damaged, and lies in {done.damaged}")


def _list(library: Path | None, as_json: bool) -> None:
    from clipsearch.library.place import library_folder
    from clipsearch.library.safekeeping import backups_of

    folder = library_folder(library)
    found = backups_of(folder)
    if as_json:
        print_json({"backups": found})
        return
    for each in found:
        made = each.made_at[:16].replace("T", " ")
        print_line(f"{made} UTC  before {each.kind:10} {_size(each.size)}  {Path(each.path).name}")
    if not found:
        say(f"no automatic backup yet in {folder}; `clipsearch backup FILE` makes one")


def _size(count: int) -> str:
    return f"{count / 1e6:7.1f} MB"
