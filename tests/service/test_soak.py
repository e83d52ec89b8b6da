"""A short soak: no server error, no wrong answer, and nothing is held on to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import service_soak


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc of Linux")
def test_server_answers_rightly_while_its_library_changes(tmp_path: Path) -> None:
    lines: list[str] = []
    report = service_soak.soak(tmp_path, 20, 4, lines.append)
    assert report["failures"] == []
    assert report["requests"] > 200
    assert report["index_runs"] >= 1
    assert set(report["kinds"]) >= {"search", "upload", "abort", "listen", "stranger", "original"}
