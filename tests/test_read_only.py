"""Photos are never written: every command runs over a tree of them, which stays as it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import click
import pytest
from click.testing import CliRunner

import clipsearch.cli
from clipsearch.errors import ClipsearchError, ExportError
from clipsearch.models import registry
from clipsearch.photos import sidecars
from tests.conftest import Paint
from tests.fakes import ColourEmbedder

# What each command is called with, in this order; {root} is the tree, {out} a folder elsewhere.
# Beside the arguments stands what is typed on stdin. A command that is not here fails the test.
LINES: tuple[tuple[str, str], ...] = (
    ("index {root}", ""),
    ("index", ""),
    ("index --max-pixels 0.0001 --threads 2 --json", ""),
    ("index", ""),
    ("search red --min-relevance 0 --all-copies --explain --preview", ""),
    ("search {root}/trip/red.png -green --json", ""),
    ("search image:1 name:*.png --print0", ""),
    ("search --facets name:*", ""),
    ("similar {root}/trip/red.png", ""),
    ("similar 1 --paths", ""),
    ("duplicates", ""),
    ("duplicates --identical --print0", ""),
    ("duplicates --similarity 0.6 red -k 3", ""),
    ("saved add reds red", ""),
    ("saved list", ""),
    ("saved new reds", ""),
    ("saved remove reds", ""),
    ("captions {root}/trip/red.png red green", ""),
    ("captions 1 --json", ""),
    ("classify {root}/linked.png red green", ""),
    ("alt-text propose --from {out}/captions.txt", ""),
    ("alt-text", ""),
    ("alt-text review", "a\ne\nanother text\nr\nq\n"),
    ("alt-text accept 1", ""),
    ("alt-text accept --min-margin 0", ""),
    ("tag --vocabulary {out}/labels.txt", ""),
    ("tag", ""),
    ("tags", ""),
    ("tags 1 --add mine --remove red", ""),
    ("tags {root}/trip/red.png --reset red", ""),
    ("vocabulary check {out}/labels.txt", ""),
    ("vocabulary show", ""),
    ("runs --json", ""),
    ("undo 1", ""),
    ("export --to csv -o {out}/tags.csv", ""),
    ("export --to json -o -", ""),
    ("export --to html -o {out}/sheet.html", ""),
    ("export --to folders -o {out}/folders", ""),
    ("export --to folders -o {out}/folders --copy", ""),
    ("export --to folders -o {out}/folders", ""),
    ("export --to xmp --dry-run", ""),
    ("status", ""),
    ("status --skipped", ""),
    ("models", ""),
    ("models use other", ""),
    ("models use colours", ""),
    ("demo {out}/demo", ""),
    ("backup {out}/backup.db", ""),
    ("backup --list", ""),
    ("restore {out}/backup.db", ""),
    ("index", ""),
    ("doctor", ""),
)
SERVE = "serve --port 0"
LAST = "forget {root} --yes"  # which leaves nothing for others to work with

UNSHARED = ("unshare", "--mount", "--map-root-user", "sh", "-c")

SETUP = """
import sys
from clipsearch.models import registry
from tests.fakes import ColourEmbedder
registry.load = lambda name, **_: ColourEmbedder("colours" if name == "auto" else name)
"""


@dataclass(frozen=True)
class Entry:
    """All of a file, folder or link that can be told without changing it, but its last access."""

    kind: str
    mode: int
    owner: tuple[int, int]
    inode: tuple[int, int]
    size: int
    changed: tuple[int, int]
    content: str
    attributes: tuple[tuple[str, bytes], ...]


def snapshot(root: Path) -> dict[str, Entry]:
    """Describe everything in a tree, the tree itself too, by relative path."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (".", *folders, *files):
            path = Path(folder) / name
            found[str(path.relative_to(root))] = _entry(path)
    return found


def _entry(path: Path) -> Entry:
    status = path.lstat()
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISDIR(status.st_mode):
        content = "\n".join(sorted(os.listdir(path)))  # noqa: PTH208
    names: list[str] = []
    with suppress(OSError):  # a file system without such attributes
        names = sorted(os.listxattr(path, follow_symlinks=False))
    return Entry(
        kind=stat.filemode(status.st_mode)[0],
        mode=stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        inode=(status.st_ino, status.st_nlink),
        size=0 if stat.S_ISDIR(status.st_mode) else status.st_size,
        changed=(status.st_mtime_ns, status.st_ctime_ns),
        content=content,
        attributes=tuple((n, os.getxattr(path, n, follow_symlinks=False)) for n in names),
    )


@pytest.fixture
def tree(photos: Path, paint: Paint) -> Path:
    """Photos of all conditions: duplicates, links, sidecars of others, hidden, broken, locked."""
    paint("trip/red.png", "red")
    paint("trip/red copy.png", "red")
    paint("trip/green.png", "green")
    paint("trip/blue.jpg", "blue")
    paint("far/deep/yellow.png", "yellow", size=200)
    paint("locked.png", "cyan").chmod(0o444)
    paint(".hidden.png", "black")
    (photos / "linked.png").symlink_to(photos / "trip" / "green.png")
    (photos / "dangling.jpg").symlink_to("nowhere.jpg")
    (photos / "around").symlink_to(photos)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (photos / "notes.txt").write_text("mine")
    (photos / "empty").mkdir()
    packet = sidecars.merge(None, tags=["old"], alt_text="by hand")
    (photos / "trip" / "red.png.xmp").write_bytes(packet)
    (photos / "trip" / "blue.xmp").write_bytes(packet.replace(b"\n", b"\r\n"))
    for number, path in enumerate(sorted(photos.rglob("*"))):
        moment = (1_000_000_000 + number) * 1_000_000_000 + 123_456_789
        with suppress(FileNotFoundError):
            os.utime(path, ns=(moment, moment), follow_symlinks=False)
    return photos


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "captions.txt").write_text("red\ngreen\nblue\n")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    return folder


Run = Callable[..., click.testing.Result]


@pytest.fixture
def run(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a line of the command line in this process, in a folder of its own."""
    monkeypatch.setattr(
        registry, "load", lambda name, **_: ColourEmbedder("colours" if name == "auto" else name)
    )
    monkeypatch.setenv("CLIPSEARCH_LIBRARY", str(tmp_path / "library"))
    monkeypatch.chdir(out)

    def run(arguments: Sequence[str], typed: str = "") -> click.testing.Result:
        result = CliRunner().invoke(clipsearch.cli.cli, arguments, input=typed)
        if not isinstance(result.exception, SystemExit | ClipsearchError | None):
            raise result.exception
        return result

    return run


def words(line: str, root: Path, out: Path) -> list[str]:
    return [word.format(root=root, out=out) for word in line.split()]


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command that can be called, by the words that call it."""
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield path
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path


def test_every_command_is_called_here() -> None:
    called = [line.split() for line in (*(line for line, _ in LINES), SERVE, LAST)]
    known = set(leaves(clipsearch.cli.cli))
    missing = {path for path in known if list(path) not in [line[: len(path)] for line in called]}
    assert not missing, "call these commands in LINES, so that it shows what they write"


def test_no_command_writes_to_the_photos(tree: Path, out: Path, run: Run) -> None:
    before = snapshot(tree)
    for line, typed in LINES:
        result = run(words(line, tree, out), typed)
        assert result.exit_code == 0, (line, result.output, result.exception)
        assert snapshot(tree) == before, line
    assert (out / "folders" / "mine").is_dir()  # it is not that nothing was done
    run(words(LAST, tree, out))
    assert snapshot(tree) == before, LAST


def test_the_export_to_sidecars_adds_sidecars_alone_and_undo_takes_them_back(
    tree: Path, out: Path, run: Run
) -> None:
    run(["index", str(tree)])
    for name in ("red.png", "green.png", "blue.jpg"):
        run(["tags", str(tree / "trip" / name), "--add", "mine/own"])
    before = snapshot(tree)
    assert run(["export", "--to", "xmp"]).exit_code == 0
    run_number = json.loads(run(["runs", "--json"]).stdout)["runs"][0]["id"]
    after = snapshot(tree)
    touched = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    files = {path for path in touched if path not in before or before[path].kind == "-"}
    assert files >= {"trip/red.png.xmp", "trip/green.png.xmp"}
    assert all(path.endswith(".xmp") for path in files)
    assert all(path.removesuffix(".xmp") in before for path in files)
    assert not before.keys() - after.keys()
    assert {before[path].kind for path in touched - files} == {"d"}  # they list the new files
    result = run(["undo", str(run_number)])
    assert result.exit_code == 0, result.output
    assert told(snapshot(tree)) == told(before)
    run(["export", "--to", "xmp"])
    assert {path: entry.content for path, entry in snapshot(tree).items()} == {
        path: entry.content for path, entry in after.items()
    }


def told(entries: dict[str, Entry]) -> dict[str, tuple[str, int, str]]:
    """Leave out what a file system notes of a file that was replaced."""
    return {path: (each.kind, each.mode, each.content) for path, each in entries.items()}


@pytest.mark.parametrize("form", ["csv", "json", "html", "folders"])
def test_an_export_never_takes_the_place_of_a_photo(
    tree: Path, out: Path, run: Run, form: str
) -> None:
    run(["index", str(tree)])
    before = snapshot(tree)
    for name in ("trip/red.png", "linked.png", "locked.png", "trip"):
        result = run(["export", "--to", form, "-o", str(tree / name)])
        assert isinstance(result.exception, ExportError), name
        assert snapshot(tree) == before


def test_modes_without_writing_are_enough_for_all_commands(tree: Path, out: Path, run: Run) -> None:
    if os.geteuid() == 0:
        pytest.skip("root passes over modes; the mount below is for root")
    for path in sorted(tree.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    tree.chmod(0o555)
    before = snapshot(tree)
    try:
        for line, typed in LINES:
            result = run(words(line, tree, out), typed)
            assert result.exit_code == 0, (line, result.output, result.exception)
            assert snapshot(tree) == before, line
    finally:
        for path in (tree, *tree.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


def test_a_disk_that_cannot_be_written_is_enough_for_all_commands(
    tree: Path, out: Path, tmp_path: Path
) -> None:
    """Root passes over modes, but not over a mount that is read-only."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("needs unshare and mount")
    slow = ("demo", "doctor", "tag", "index --max")  # and no different here
    lines = [(line, typed) for line, typed in LINES if not line.startswith(slow) or "--add" in line]
    lines += [("export --to xmp", ""), (LAST, "")]
    script = tmp_path / "all.py"
    script.write_text(
        SETUP
        + "import errno, json, os, click.testing, clipsearch.cli\n"
        + "from clipsearch.errors import ClipsearchError\n"
        + "root, lines = sys.argv[1], json.load(sys.stdin)\n"
        + "try:\n    os.mkdir(os.path.join(root, 'new'))\nexcept OSError as error:\n"
        + "    assert error.errno == errno.EROFS\nelse:\n    sys.exit('it can be written')\n"
        + "for line, typed in lines:\n"
        + "    result = click.testing.CliRunner().invoke(clipsearch.cli.cli, line, input=typed)\n"
        + "    if not isinstance(result.exception, SystemExit | ClipsearchError | None):\n"
        + "        raise result.exception\n"
        + "    print(json.dumps([line, result.exit_code, str(result.exception or '')]))\n"
    )
    mount = (
        'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 77; exec "$2" "$3" "$1"'
    )
    before = snapshot(tree)
    done = subprocess.run(
        [*UNSHARED, mount, "sh", str(tree), sys.executable, str(script)],
        input=json.dumps([(words(line, tree, out), typed) for line, typed in lines]),
        capture_output=True,
        text=True,
        check=False,
        cwd=out,
        env=os.environ
        | {
            "CLIPSEARCH_LIBRARY": str(tmp_path / "library"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no read-only mount is permitted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    codes = {
        " ".join(line): (code, error)
        for line, code, error in map(json.loads, done.stdout.splitlines())
    }
    refused = codes.pop("export --to xmp")
    assert {code for code, _ in codes.values()} == {0}, codes
    assert refused[0] == 1
    assert "Read-only file system" in refused[1]
    assert snapshot(tree) == before


def test_the_server_writes_to_no_photo(tree: Path, tmp_path: Path, run: Run) -> None:
    run(["index", str(tree)])
    before = snapshot(tree)
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            SETUP + "import clipsearch.cli\nclipsearch.cli.main()",
            *SERVE.split(),
        ],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ,
    ) as process:
        try:
            assert process.stderr is not None
            lines: list[str] = []
            while not any("http://" in line for line in lines):
                lines.append(process.stderr.readline())
                assert lines[-1], lines
            url = lines[-1].split()[1].rstrip("/")
            reader = threading.Thread(target=process.stderr.read, daemon=True)
            reader.start()
            answers = [_ask(url, *each) for each in _requests()]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            reader.join(20)
    assert answers.count(200) + answers.count(202) == len(answers), answers
    assert snapshot(tree) == before


def _requests() -> list[tuple[str, object | None]]:
    """Return what the page asks for, and all that it changes."""
    gets = ("/", "/api/status", "/api/search?q=red", "/api/photos/1", "/api/photos/1/thumbnail")
    more = ("/api/photos/1/original", "/api/tags", "/api/skipped", "/api/facets?q=red")
    return [
        *((path, None) for path in (*gets, *more, "/api/export?to=csv", "/api/export?to=html")),
        ("/api/photos/1/tags", {"add": ["mine"]}),
        ("/api/photos/1/alt-text", {"text": "mine"}),
        ("/api/classify", {"photo": 1, "labels": ["red", "green"]}),
        ("/api/index", {}),
    ]


def _ask(url: str, path: str, document: object | None) -> int:
    data = None if document is None else json.dumps(document).encode()
    head = {"Content-Type": "application/json"}
    request = Request(url + path, data, head)  # noqa: S310 - the server started here
    try:
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            answer.read()
            return int(answer.status)
    except HTTPError as error:
        with error:
            raise AssertionError(f"{path}: {error.status} {error.read()!r}") from error
