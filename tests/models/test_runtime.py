"""Device, precision and batches."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.errors import ModelError
from clipsearch.models import runtime
from clipsearch.models.texts import batches_by_length, encodable


def test_auto_is_something_that_this_machine_has() -> None:
    device = runtime.choose_device("auto")
    assert device.type in ("cpu", "cuda", "mps")
    assert runtime.choose_device("cpu").type == "cpu"


def test_absent_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelError, match=r"cuda: this machine has no such device"):
        runtime.choose_device("cuda")


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_bfloat16_only_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    import torch

    monkeypatch.setattr(runtime, "multiplies_bfloat16", lambda: native)
    assert str(runtime.choose_precision("auto", torch.device("cpu"))) == f"torch.{expected}"
    assert runtime.choose_precision("auto", torch.device("cuda")) is torch.float16
    assert runtime.choose_precision("auto", torch.device("mps")) is torch.float32
    assert runtime.choose_precision("float32", torch.device("cuda")) is torch.float32


def test_native_bfloat16_is_a_fact_of_the_processor() -> None:
    assert isinstance(runtime.multiplies_bfloat16(), bool)


def test_the_allocator_is_told_where_it_listens() -> None:
    code = "from clipsearch.models.runtime import keep_freed_memory as k; print(k(), k())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    glibc = platform.libc_ver()[0] == "glibc"
    assert done.stdout.split() == [str(glibc)] * 2


@given(st.lists(st.integers(1, 300)), st.integers(1, 1000))
def test_batches_hold_every_text_once(lengths: list[int], tokens: int) -> None:
    batches = list(batches_by_length(lengths, tokens))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= tokens


@given(st.text(st.characters()))
def test_every_text_is_encodable(text: str) -> None:
    encodable(text).encode("utf-8")


def test_surrogates_become_question_marks() -> None:
    assert encodable("caf\udce9") == "caf?"
