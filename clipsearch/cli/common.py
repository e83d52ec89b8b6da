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

# What steers a terminal or turns the order of letters round, and lone surrogates. Neither tab
# and line feed nor what joins emoji and letters (U+200C, U+200D), since names are full of it.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ufff9-\ufffb\ud800-\udfff]"
)


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
backup_option = click.option(
    "--no-backup",
    "backups",
    flag_value=False,
    default=True,
    is_flag=True,
    help="Make no copy of the catalogue before something is lost.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def opened(
    library: Path | None,
    model: str,
    device: str,
    quiet: bool,
    *,
    create: bool = False,
    **settings: Any,
) -> Library:
    """Open the library that the options name; notices go to stderr.

    A name that was mistyped makes no new library, unless with `create`.
    """
    from clipsearch.config import Settings
    from clipsearch.library import Library

    def notice(text: str) -> None:
        if not quiet:
            say(text)

    return Library(
        library,
        model,
        device=device,
        settings=Settings(**settings),
        on_notice=notice,
        create=create,
    )


def print_json(value: Any) -> None:
    """Print a document; dataclasses become objects."""
    text = json.dumps(value, default=_plain, ensure_ascii=False, indent=2)
    # JSON leaves some controls as they are, and names that are not UTF-8 hold lone surrogates:
    # as \\uxxxx both come back whole, and steer no terminal.
    click.echo(_HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_line(text: str, *, end: str = "\n") -> None:
    """Print a line with the bytes of file names as they are; on a terminal it is `visible`."""
    shown = visible(text) if sys.stdout.isatty() else text
    click.echo((shown + end).encode("utf-8", "surrogateescape"), nl=False)


def print_document(text: str) -> None:
    """Print lines as they are; a terminal sees no control codes."""
    shown = _HIDDEN.sub(_escaped, text.replace("\r\n", "\n")) if sys.stdout.isatty() else text
    click.echo(shown.encode("utf-8", "surrogateescape"), nl=False)


def say(text: object, *, start: str = "clipsearch: ") -> None:
    """Print one line on stderr, never raw: what is logged is read on a terminal in the end."""
    click.echo(f"{start}{visible(str(text))}", err=True)


def visible(text: str) -> str:
    r"""Return one line that steers no terminal: `\x1b`, `\n`, `\u202e`, `\xff` for a stray byte."""
    return _HIDDEN.sub(_escaped, text).replace("\n", r"\n")


def _escaped(found: re.Match[str]) -> str:
    if "\udc80" <= found[0] <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(found[0]) - 0xDC00:02x}"
    return ascii(found[0])[1:-1]


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
        "copy": "copying the catalogue",
        "check": "checking",
        "learn": "making the search index",
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
