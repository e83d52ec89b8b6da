"""The command line: parse, call `Library`, print. One file a group of commands."""

from __future__ import annotations

import io
import os
import sys

import click

from clipsearch import __version__
from clipsearch.cli import (
    backup,
    captions,
    demo,
    duplicates,
    export,
    index,
    models,
    saved,
    search,
    serve,
    status,
    tags,
)
from clipsearch.cli.common import say
from clipsearch.errors import ClipsearchError, QueryError

COMMANDS = [
    demo.demo,
    index.index,
    search.search,
    search.similar,
    duplicates.duplicates,
    saved.saved,
    captions.captions,
    captions.classify,
    captions.alt_text,
    tags.tag,
    tags.tags,
    tags.vocabulary,
    tags.runs,
    tags.undo,
    export.export,
    serve.serve,
    status.status,
    models.models,
    index.forget,
    backup.backup,
    backup.restore,
    status.doctor,
]


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # as a newcomer needs them, not by the alphabet


@click.group(
    cls=_InOrder,
    commands={command.name: command for command in COMMANDS if command.name},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="clipsearch")
def cli() -> None:
    """Find your photos by phrase, caption them, tag them.

    \b
      clipsearch demo                        see it work in a minute
      clipsearch index ~/Pictures            look at every photo once
      clipsearch search dog on a beach       find some
      clipsearch tag                         label all of them; `undo` takes it back

    Photos are only ever read. What clipsearch knows of them is kept in a library: a folder of
    its own, chosen with --library or CLIPSEARCH_LIBRARY.
    """


def main() -> None:
    """Run the command line: exit 0 success, 1 an error with a sentence, 2 wrong usage."""
    # While the model's threads wait for each other they would spin, on processors that decode
    # the next photos; read by libgomp when torch is loaded. Indexing is a fifth faster so.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = cli.main(prog_name="clipsearch", standalone_mode=False)
    except QueryError as error:  # of three lines, the last of which points at the place
        first, *rest = str(error).split("\n")
        say(first)
        for line in rest:
            say(line, start="")
        sys.exit(1)
    except ClipsearchError as error:
        say(error)
        sys.exit(1)
    except click.exceptions.Abort:
        click.echo("\nclipsearch: interrupted; run it again to go on from here", err=True)
        sys.exit(130)
    except click.ClickException as error:
        # Its text may hold names of files, as a shell expands them.
        text = io.StringIO()
        error.show(text)
        for line in text.getvalue().splitlines():
            say(line, start="")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
