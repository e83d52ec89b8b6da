"""The application on a socket: waitress, and a note in the library about where it listens."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.task import ThreadedTaskDispatcher

from clipsearch.errors import ClipsearchError
from clipsearch.library import note
from clipsearch.library.serving import ServedLibrary
from clipsearch.service.app import create_app
from clipsearch.service.connections import Listener
from clipsearch.service.context import Service
from clipsearch.service.events import MOST_STREAMS
from clipsearch.service.monitoring import NONCE
from clipsearch.service.security import is_loopback, trusted_name

LOOK = 0.2  # seconds between looks at whether to stop
TOGETHER = 8  # requests of the largest size that may be on their way in at a time
AGAIN = 5.0  # seconds between looks at the note of the library's server


def guarded(host: str, token: str | None) -> None:
    """Refuse to listen where others can reach it without a token.

    Raises: ClipsearchError.
    """
    if token is None and not is_loopback(host):
        raise ClipsearchError(
            f"{host} can be reached by others, so a token is needed: set CLIPSEARCH_TOKEN or "
            "--token-file (`openssl rand -hex 16` makes one), or leave --host out"
        )


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound.

    Raises: ClipsearchError.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
        except BaseException:
            found.close()
            raise
    except OSError as error:
        raise ClipsearchError(
            f"{host}:{port}: cannot listen there: {error.strerror or error}; choose another --port"
        ) from None
    return found


class Server:
    """A server of one library, listening from the start; `run` answers until it is stopped.

    Raises: ClipsearchError where it cannot listen, or must not without a token.
    """

    def __init__(
        self,
        library: ServedLibrary,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        threads: int = 8,
        token: str | None = None,
        hosts: Collection[str] = (),
        max_upload: int = 50_000_000,
    ) -> None:
        guarded(host, token)
        local = is_loopback(host)
        own = [host.strip("[]"), *([] if local else [socket.gethostname()])]
        names = {trusted_name(name) for name in (*hosts, *own) if name}
        listening = _listening(host.strip("[]"), port)
        app = create_app(
            library, token=token, hosts=names, addresses=not local, max_upload=max_upload
        )
        self.service: Service = app.extensions["clipsearch"]
        self._nonce: str = app.config.setdefault(NONCE, secrets.token_hex(32))
        self._sockets: dict[int, Any] = {}
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep_note, name="note", daemon=True)
        self._library = library
        settings = Adjustments(
            sockets=[listening],
            threads=threads + MOST_STREAMS,
            ident="clipsearch",
            # The listener has limits of its own; select() ends at 1,024 files.
            connection_limit=1 << 30,
            asyncore_use_poll=True,
            # The application refuses what is over its own limit, in the shape of all errors.
            max_request_body_size=max_upload + (1 << 20),
            max_request_header_size=64 << 10,
            # Without it waitress does not notice that a listener to events has gone.
            channel_request_lookahead=1,
            expose_tracebacks=False,
            log_socket_errors=False,
            # Nothing believes these but the cookie, whose `secure` can only do good.
            clear_untrusted_proxy_headers=False,
        )
        self._threads = ThreadedTaskDispatcher()
        self._threads.set_thread_count(settings.threads)
        self._listener: Any = Listener(
            app,
            self._sockets,
            _sock=listening,
            dispatcher=self._threads,
            adj=settings,
            bind_socket=False,
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
        )
        self._listener.most_bytes = TOGETHER * max_upload
        self.port: int = listening.getsockname()[1]
        shown = "127.0.0.1" if host in ("0.0.0.0", "", "localhost") else host.strip("[]")  # noqa: S104
        shown = "[::1]" if shown == "::" else f"[{shown}]" if ":" in shown else shown
        self.url = f"http://{shown}:{self.port}/"

    def __enter__(self) -> Self:
        self._leave_note()
        self._keeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self) -> None:
        """Answer requests until `stop`, Ctrl-C or SIGTERM."""
        while not self._stopping.is_set():
            wasyncore.loop(
                timeout=LOOK,
                map=self._sockets,
                use_poll=True,
                count=1,
            )
            self._listener.sweep()

    def stop(self) -> None:
        """Let `run` return, which another thread is in."""
        self._stopping.set()

    def close(self) -> None:
        """Stop listening, end streams, stop at the next step of a job, take the note back."""
        self.stop()
        if self._keeper.is_alive():
            self._keeper.join(note.PATIENCE + 1)
        self._take_note_back()
        self.service.close()
        self._threads.shutdown()
        wasyncore.close_all(self._sockets)

    def _keep_note(self) -> None:
        """Leave the note again where the server that had left its own has gone."""
        while not self._stopping.wait(AGAIN):
            # A catalogue that is gone, or being restored, is back in a moment or a case for health.
            with contextlib.suppress(ClipsearchError):
                self._leave_note()

    def _leave_note(self) -> None:
        """Say in the library's folder where its server is; not all folders can be written to.

        Where another server says so and answers, it stays the one that is asked.
        """
        folder, library = self._library.folder, self._library.identity().library
        if note.is_of(folder, self._nonce, library) or note.owner(folder) is not None:
            return
        with contextlib.suppress(OSError):
            note.leave(
                folder,
                {
                    "url": self.url,
                    "pid": os.getpid(),
                    "library": library,
                    "nonce": self._nonce,
                    "started": datetime.now(UTC).replace(microsecond=0).isoformat(),
                },
            )

    def _take_note_back(self) -> None:
        with contextlib.suppress(OSError):
            note.take_back(self._library.folder, self._nonce)
