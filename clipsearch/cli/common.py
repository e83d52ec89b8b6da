"""What the commands share: options, output, progress."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from clipsearch.library import Library
    from clipsearch.records import OnProgress, Progress

Function = TypeVar("Function", bound=Callable[..., Any])


def library_options(function: Function) -> Function:
    """Add the options that choose library and model; `opened` takes them."""
    for option in reversed(
        [
            click.option(
                "--library",
                metavar="DIR",
                envvar="CLIPSEARCH_LIBRARY",
                show_envvar=True,
                type=click.Path(file_okay=False, path_type=Path),
                help="Folder of the library.  [default: in the user's data folder]",
            ),
            click.option(
                "--model",
                metavar="NAME",
                default="auto",
                show_default=True,
                help="Model to use; `clipsearch models` lists some. auto: the library's own.",
            ),
            click.option(
                "--device",
                metavar="NAME",
                default="auto",
                show_default=True,
                help="Where the model runs: cpu, cuda, mps or auto.",
            ),
            click.option("--quiet", is_flag=True, help="No progress and no notices, errors only."),
        ]
    ):
        function = option(function)
    return function


def photo_of(text: str) -> int | str:
    """Return the number of a photo, or its path."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else text


limit_option = click.option(
    "-k",
    type=click.IntRange(min=1),
    help="With QUERY: so many photos at most, the best.  [default: all that answer]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def opened(library: Path | None, model: str, device: str, quiet: bool, **settings: Any) -> Library:
    """Open the library that the options name; notices go to stderr."""
    from clipsearch.config import Settings
    from clipsearch.library import Library

    def notice(text: str) -> None:
        if not quiet:
            click.echo(f"clipsearch: {text}", err=True)

    return Library(library, model, device=device, settings=Settings(**settings), on_notice=notice)


def print_json(value: Any) -> None:
    """Print a document; dataclasses become objects."""
    text = json.dumps(value, default=_plain, ensure_ascii=False, indent=2)
    # A name that is not UTF-8 holds lone surrogates: as \udcxx they are JSON, and come back whole.
    click.echo(text.encode("utf-8", "backslashreplace") + b"\n", nl=False)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_line(text: str, *, end: str = "\n") -> None:
    """Print a line with the bytes of file names as they are; a terminal sees no control codes."""
    if sys.stdout.isatty():
        text = "".join(c if c.isprintable() or c in "\t\n" else repr(c)[1:-1] for c in text)
    click.echo((text + end).encode("utf-8", "surrogateescape"), nl=False)


@contextmanager
def progress(quiet: bool) -> Iterator[OnProgress]:
    """Give an `on_progress` that draws a bar with rate and time left on stderr.

    Nothing is drawn when stderr is no terminal.
    """
    from clipsearch.records import ignore_progress

    if quiet or not sys.stderr.isatty():
        yield ignore_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    labels = {
        "walk": "looking for photos",
        "embed": "embedding",
        "labels": "reading the labels",
        "tag": "going through the photos",
        "hash": "looking at the photos",
        "compare": "comparing",
    }
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(step: Progress) -> None:
            if step.stage not in tasks:
                tasks[step.stage] = bar.add_task(labels[step.stage], total=step.total, rate="")
            task = tasks[step.stage]
            speed = bar.tasks[task].speed
            rate = f"{speed:.0f}/s" if speed and step.stage == "embed" else ""
            bar.update(task, completed=step.done, total=step.total, rate=rate)

        yield show
