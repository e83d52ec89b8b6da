"""Nothing that comes from elsewhere is ever run: the source says so, word by word."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import clipsearch
from clipsearch.errors import WeightsError
from clipsearch.models import efficientnet, minilm
from clipsearch.models.packaged import PackagedFile, read_verified

PACKAGE = Path(clipsearch.__file__).parent

FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
    "cloudpickle",
}
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {
    "os.system",
    "os.popen",
    "pandas.read_pickle",
    "torch.hub.load",
    "torch.jit.load",
}

ALLOWED: dict[tuple[str, str], str] = {}
"""Exceptions, by file and call, each with its reason. There are none."""


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield file, dotted name and node of each call in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path.relative_to(PACKAGE).as_posix(), ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {each.arg: ast.unparse(each.value) for each in call.keywords}


def test_no_module_that_runs_what_it_reads_is_imported() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found = {name.split(".")[0] for name in names} & FORBIDDEN_MODULES
            assert not found, (path, found)


def test_weights_and_arrays_are_read_as_numbers_only() -> None:
    seen = set()
    for file, name, call in calls():
        given = keywords(call)
        if name in ("torch.load", "load_checkpoint"):
            assert given.get("weights_only") == "True", (file, name)
        elif name in ("np.load", "numpy.load"):
            assert given.get("allow_pickle", "False") == "False", (file, name)
        else:
            continue
        seen.add(name)
    assert seen >= {"torch.load", "load_checkpoint", "np.load"}  # it looked at the right thing


def test_nothing_is_evaluated_and_no_shell_is_asked() -> None:
    for file, name, call in calls():
        if (file, name) in ALLOWED:
            continue
        assert name not in FORBIDDEN_NAMES | FORBIDDEN_CALLS, (file, name)
        assert keywords(call).get("shell", "False") == "False", (file, name)


@pytest.mark.parametrize("damage", ["changed", "short", "long", "empty"])
@pytest.mark.parametrize("packaged", [efficientnet.WEIGHTS, minilm.WEIGHTS, minilm.TOKENIZER])
def test_weights_that_are_shipped_are_checked_before_they_are_read(
    packaged: PackagedFile, damage: str, tmp_path: Path
) -> None:
    try:
        whole = read_verified(packaged)
    except WeightsError as error:
        pytest.skip(str(error))
    assert hashlib.sha256(whole).hexdigest() == packaged.sha256
    other = {
        "changed": whole[:-1] + bytes([whole[-1] ^ 1]),
        "short": whole[:-1],
        "long": whole + b"x",
        "empty": b"",
    }[damage]
    (tmp_path / packaged.file).parent.mkdir(parents=True)
    (tmp_path / packaged.file).write_bytes(other)
    with pytest.raises(WeightsError):
        read_verified(packaged, tmp_path)
