"""Run the command line in this process, on a library that sees colours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import clipsearch.cli
from clipsearch.models import registry
from tests.fakes import ColourEmbedder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """Run the command line on a library that sees colours: (exit code, stdout, stderr)."""
    monkeypatch.setattr(registry, "load", lambda name, **_: ColourEmbedder(name))
    monkeypatch.setenv("CLIPSEARCH_LIBRARY", str(tmp_path / "library"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["clipsearch", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            clipsearch.cli.main()
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        assert isinstance(exit_.value.code, int)
        return (
            exit_.value.code,
            out.decode("utf-8", "surrogateescape"),
            err.decode("utf-8", "surrogateescape"),
        )

    return run
