"""serve: the page and the HTTP interface."""

from __future__ import annotations

import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipsearch.cli.common import library_options, say
from clipsearch.errors import ClipsearchError

if TYPE_CHECKING:
    from clipsearch.library.serving import ServedLibrary

TOKEN = "CLIPSEARCH_TOKEN"  # noqa: S105 - the name of a variable


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. Any that others can reach needs a token.",
)
@click.option("--port", default=8337, show_default=True, type=click.IntRange(0, 65535))
@click.option("--preload", is_flag=True, help="Load the model before the first question.")
@click.option(
    "--threads",
    default=8,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Requests that are answered at a time.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"File with the token that requests must show.  [default: {TOKEN}]",
)
@click.option(
    "--trusted-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that this server is reached by, beside localhost.",
)
@click.option(
    "--max-upload",
    metavar="MB",
    default=50,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Largest request.",
)
@click.option(
    "--log",
    "level",
    default="warning",
    show_default=True,
    type=click.Choice(("error", "warning", "info", "debug")),
    help="What to write about itself on stderr; info is a line for each request.",
)
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@library_options
def serve(
    host: str,
    port: int,
    preload: bool,
    threads: int,
    token_file: Path | None,
    hosts: tuple[str, ...],
    max_upload: int,
    level: str,
    show: bool,
    **options: Any,
) -> None:
    """Serve the page and the HTTP interface until Ctrl-C.

    \b
      clipsearch serve                           http://127.0.0.1:8337/, this machine only
      clipsearch serve --open                    and the page in your browser
      CLIPSEARCH_TOKEN=... clipsearch serve --host 0.0.0.0 --trusted-host nas.local

    Only this machine can reach it unless --host says otherwise, and then nobody without the
    token can. There is no encryption: across a network that you do not trust, put a proxy with
    HTTPS in front. While it runs, `clipsearch search` asks it and need not load the model.
    """
    from clipsearch.service import logs
    from clipsearch.service.server import Server, guarded

    token = _token(token_file)
    guarded(host, token)
    quiet = options["quiet"]
    logs.start(level, [token] if token else [])

    def notice(text: str) -> None:
        if not quiet:
            say(text)

    with _opened(options, notice) as library:
        if preload:
            library.embedder.texts(["a photo"])
        server = Server(
            library,
            host=host,
            port=port,
            threads=threads,
            token=token,
            hosts=hosts,
            max_upload=max_upload * 1_000_000,
        )
        with server:
            say(f"{server.url} (Ctrl-C ends it)")
            if token is not None and not quiet:
                say("log in with the token, or open /?token=...")
            if show:
                threading.Timer(0.5, webbrowser.open, [server.url]).start()
            # A shell starts what it runs in the background deaf to Ctrl-C.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: sys.exit(0))
            server.run()
    notice("stopped")


def _token(file: Path | None) -> str | None:
    from clipsearch.service.security import require_strong

    if file is None:
        text = os.environ.get(TOKEN)
        return require_strong(text) if text else None
    try:
        return require_strong(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ClipsearchError(f"{file}: the token cannot be read: {error}") from None


def _opened(options: dict[str, Any], notice: Callable[[str], None]) -> ServedLibrary:
    from clipsearch.library.serving import ServedLibrary

    folder: Path | None = options["library"]
    return ServedLibrary(
        folder,
        options["model"],
        device=options["device"],
        on_notice=notice,
        # A folder that waits for its library is empty; what is not there was mistyped.
        create=folder is None or _is_empty(folder),
    )


def _is_empty(folder: Path) -> bool:
    try:
        return next(folder.expanduser().iterdir(), None) is None
    except OSError:  # there is none, or it cannot be looked at
        return False
