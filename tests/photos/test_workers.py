"""What a file does to a worker is over with the worker: the others are decoded, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipsearch import Library
from clipsearch.errors import DecoderError, PhotoError
from clipsearch.photos import decode
from clipsearch.photos.workers import messages
from clipsearch.photos.workers.messages import NonsenseError, Request
from clipsearch.photos.workers.pool import Workers
from clipsearch.photos.workers.process import own_command
from clipsearch.records import Facts
from tests.conftest import Paint
from tests.fakes import ColourEmbedder

ROOT = Path(__file__).parents[2]

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")

# A worker as it is, in which the name of a file says what the file does to its decoder.
HOSTILE = """
import ctypes, os, re, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = sys.argv[4:]
from clipsearch.photos import decode
from clipsearch.photos.workers import worker

def shout(data):
    for descriptor in range(3, 10):
        try:
            os.write(descriptor, data)
        except OSError:
            pass

def once(path):
    mark = path + ".mark"
    if os.path.exists(mark):
        return False
    os.mkdir(mark)  # a worker may write no file
    return True

def attacked(path, original=decode.open_photo, **options):
    name = os.path.basename(path)
    if name.startswith("segfault") or (name.startswith("once") and once(path)):
        ctypes.string_at(0)
    if name.startswith("abort"):
        os.abort()
    if name.startswith("exit"):
        os._exit(3)
    if name.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hang"):  # inside one call in C that never lets another thread run
        print(re.match("(a+)+b", "a" * 60))
    if name.startswith("stall"):
        time.sleep(600)
    if name.startswith("ask"):
        bytearray(1 << 40)
    if name.startswith("eat"):
        eaten = []
        while True:
            eaten.append(bytearray(1 << 24))
    if name.startswith("babble"):
        shout(b"\\xff" * 100)
    if name.startswith("much"):
        shout(b"\\x00\\x00\\x00\\x02\\xff\\xff\\xff\\xff{}")
    if name.startswith("long"):
        shout(b"\\xff\\xff\\xff\\xff\\x00\\x00\\x00\\x00")
    if name.startswith("leave"):
        os.closerange(0, 20)
        time.sleep(600)
    if name.startswith("write"):
        with open(path + ".written", "wb") as file:
            file.write(b"x")
    if name.startswith("print"):
        os.write(1, b"a library in C says something")
        os.write(2, b"and complains")
    return original(path, **options)

decode.open_photo = attacked
worker.main()
"""


def hostile_command(memory: int = 1 << 30, seconds: int = 1) -> list[str]:
    command = own_command(memory, seconds)
    return [*command[:3], HOSTILE, *command[4:]]


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(2)
    yield workers
    workers.close()


@pytest.fixture
def hostile() -> Iterator[Workers]:
    workers = Workers(2, seconds=1, command=hostile_command())
    yield workers
    workers.close()


def refusal(workers: Workers, path: Path, **options: Any) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        workers.open_photo(path, size=32, **options)
    assert caught.value.path == str(path)
    return caught.value


def children() -> set[int]:
    """The processes that this one started and that still run."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(folder.name))
    return found


def gone(pids: set[int], seconds: float = 20) -> bool:
    """Wait until none of the processes runs any more."""
    for _ in range(int(seconds / 0.05)):
        if not any(runs(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_ready(worker: int) -> bool:
    """Tell whether a worker has said hello: its words go nowhere from then on."""
    try:
        return Path(f"/proc/{worker}/fd/2").readlink() == Path(os.devnull)
    except OSError:
        return False


# --- both ways are one ---


def outcome(open_photo: decode.OpenPhoto, path: Path, **options: Any) -> tuple[object, ...]:
    try:
        found = open_photo(path, hashed=True, **options)
    except PhotoError as error:
        return str(error), error.path, error.reason, error.transient
    pixels = found.image.tobytes()
    return (found.image.size, pixels, found.facts, found.content_hash, found.picture_hash)


def same(workers: Workers, path: Path, **options: Any) -> bool:
    return outcome(workers.open_photo, path, **options) == outcome(
        decode.open_photo, path, **options
    )


FORMATS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("a.jpg", "RGB", {"quality": 80}),
    ("cmyk.jpg", "CMYK", {}),
    ("a.png", "RGBA", {}),
    ("grey.png", "I;16", {}),
    ("palette.gif", "P", {}),
    ("a.webp", "RGB", {}),
    ("a.avif", "RGB", {}),
    ("a.heic", "RGB", {}),
    ("a.tif", "RGB", {"compression": "tiff_lzw"}),
    ("float.tif", "F", {}),
    ("a.bmp", "RGB", {}),
    ("a.ppm", "RGB", {}),
    ("a.tga", "RGB", {}),
    ("a.jp2", "RGB", {}),
)


@pytest.mark.parametrize(("name", "mode", "options"), FORMATS, ids=[name for name, *_ in FORMATS])
def test_a_worker_decodes_as_this_process_does(
    tmp_path: Path, workers: Workers, name: str, mode: str, options: dict[str, Any]
) -> None:
    path = tmp_path / name
    picture = Image.radial_gradient("L").resize((300, 200))
    picture = picture.convert("RGB").convert(mode) if mode in ("CMYK", "P", "RGBA") else picture
    if mode == "I;16":
        picture = picture.convert("I").convert("I;16")
    elif mode in ("RGB", "F"):
        picture = picture.convert(mode)
    if name.endswith("jpg"):
        exif = Image.Exif()
        exif[0x0112], exif[0x010F], exif[0x010E] = 6, "Acme", "Ein Hund am Strand 🐕"
        exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
        options = {**options, "exif": exif}
    if name.endswith("heic"):
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.from_pillow(picture).save(path)
    else:
        picture.save(path, **options)
    for size in (16, 90, 2000):
        assert same(workers, path, size=size)
    path.write_bytes(path.read_bytes()[:-40])
    assert same(workers, path, size=90)


def test_a_worker_decodes_the_odd_files_as_this_process_does(
    shared: Path, workers: Workers
) -> None:
    files = [*(shared / "odd" / "files").iterdir(), *(shared / "exif").rglob("*.jpg")]
    assert len(files) > 120
    assert [path.name for path in files if not same(workers, path, size=224)] == []


@pytest.mark.parametrize("name", ["new\nline.png", "-rf.png", "x" * 240 + ".png", "🐕.png"])
def test_any_name_reaches_the_worker(tmp_path: Path, workers: Workers, name: str) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / name)
    assert same(workers, tmp_path / name, size=9)


def test_a_name_that_is_no_utf8_reaches_the_worker(tmp_path: Path, workers: Workers) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    buffer = BytesIO()
    Image.new("RGB", (9, 9), "red").save(buffer, "PNG")
    try:
        Path(os.fsdecode(path)).write_bytes(buffer.getvalue())
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert same(workers, Path(os.fsdecode(path)), size=9)


def test_relative_paths_and_what_is_no_photo(
    tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert workers.open_photo("a.png", size=9).image.size == (9, 9)
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("absent.jpg", "pipe.jpg", "."):
        assert same(workers, Path(name), size=9)
    with pytest.raises(ValueError, match="positive"):
        workers.open_photo("a.png", size=0)


@pytest.mark.parametrize("shape", [(70_000, 1000), (1, 64_000_001), (8_000, 8_001)])
def test_no_picture_is_larger_than_what_is_passed_on(
    tmp_path: Path, workers: Workers, shape: tuple[int, int]
) -> None:
    path = tmp_path / "shred.png"
    Image.new("1", shape).save(path)
    decoded = workers.open_photo(path, size=4000)
    assert decoded.image.width * decoded.image.height <= 64_000_000
    assert (decoded.facts.width, decoded.facts.height) == shape


# --- what files do to decoders ---


@pytest.mark.parametrize(
    ("name", "reason", "transient"),
    [
        ("segfault.png", "the decoder crashed on it (segmentation fault)", False),
        ("abort.png", "the decoder crashed on it (aborted)", False),
        ("exit.png", "the decoder crashed on it (exit status 3)", False),
        ("killed.png", "its decoder was killed, as happens where memory is short", True),
        ("hang.png", "takes more than 1 s of computing to decode", False),
        ("stall.png", "could not be read: the disk did not answer for 5 s", True),
        ("ask.png", "needs more memory than there is", False),
        ("babble.png", "the decoder broke on it: it gave no sensible answer", False),
        ("much.png", "the decoder broke on it: it gave no sensible answer", False),
        ("long.png", "the decoder broke on it: it gave no sensible answer", False),
    ],
)
def test_it_costs_one_file(
    tmp_path: Path, hostile: Workers, name: str, reason: str, transient: bool
) -> None:
    for file in ("good.png", name):
        Image.new("RGB", (40, 40), "red").save(tmp_path / file)
    assert hostile.open_photo(tmp_path / "good.png", size=32).image.size == (40, 40)
    error = refusal(hostile, tmp_path / name)
    assert (error.reason, error.transient) == (reason, transient)
    assert hostile.open_photo(tmp_path / "good.png", size=32).image.size == (40, 40)


def test_a_worker_that_leaves_without_a_word_is_ended(tmp_path: Path, hostile: Workers) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "leave.png")
    before = children()
    assert "gave no sensible answer" in refusal(hostile, tmp_path / "leave.png").reason
    assert gone(children() - before)


def test_a_death_that_the_machine_caused_costs_nothing(tmp_path: Path, hostile: Workers) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "once.png")
    assert hostile.open_photo(tmp_path / "once.png", size=32).image.size == (40, 40)


def test_a_worker_writes_no_file(tmp_path: Path, hostile: Workers) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "write.png")
    assert "crashed" in refusal(hostile, tmp_path / "write.png").reason
    written = tmp_path / "write.png.written"
    assert not written.exists() or written.stat().st_size == 0


def test_what_libraries_print_is_not_seen(
    tmp_path: Path, hostile: Workers, capfd: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "print.png")
    assert hostile.open_photo(tmp_path / "print.png", size=32).image.size == (40, 40)
    assert capfd.readouterr() == ("", "")


def test_memory_of_earlier_files_does_not_count(tmp_path: Path) -> None:
    """A picture that has room in a new worker is decoded, whatever the worker did before."""
    Image.new("RGB", (6000, 5000), "red").save(tmp_path / "large.png", compress_level=1)
    workers = Workers(1, memory=330 << 20)
    try:
        for _ in range(3):
            found = workers.open_photo(tmp_path / "large.png", size=224)
            assert found.facts.width == 6000
        Image.new("RGBA", (9000, 9000), "red").save(tmp_path / "larger.png", compress_level=1)
        assert refusal(workers, tmp_path / "larger.png").reason == decode.NO_MEMORY
        assert workers.open_photo(tmp_path / "large.png", size=224).facts.width == 6000
    finally:
        workers.close()


@needs_proc
def test_no_worker_takes_more_memory_than_it_may(tmp_path: Path, hostile: Workers) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "eat.png")
    most = [0]
    before, over = children(), threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            for pid in children() - before:
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue
                if "VmHWM:" in status:
                    most.append(int(status.split("VmHWM:")[1].split()[0]) << 10)

    thread = threading.Thread(target=watch)
    thread.start()
    refusal(hostile, tmp_path / "eat.png")
    over.set()
    thread.join()
    assert 256 << 20 < max(most) < 1 << 30


def tiff_chain(directories: int) -> bytes:
    """Directories of one entry each, every one pointing to the next and the last to the first."""
    parts = [b"II*\x00\x08\x00\x00\x00"]
    for number in range(directories):
        after = 8 + 18 * ((number + 1) % directories)
        parts.append(struct.pack("<HHHIII", 1, 0x100, 4, 1, 1 << 20, after))
    return b"".join(parts)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        parts.append(struct.pack(">I", len(data)) + kind + data)
        parts.append(struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)


BOMBS: dict[str, Callable[[], bytes]] = {
    "wide.png": lambda: png(header(2**31 - 1, 2**31 - 1), (b"IDAT", zlib.compress(bytes(99)))),
    "pixels.png": lambda: png(
        header(17_000, 17_000), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b"")
    ),
    "text.png": lambda: png(
        header(9, 9), (b"zTXt", b"a\x00\x00" + zlib.compress(bytes(300 << 20))), (b"IEND", b"")
    ),
    "profile.png": lambda: png(
        header(9, 9), (b"iCCP", b"a\x00\x00" + zlib.compress(bytes(300 << 20))), (b"IEND", b"")
    ),
    "chain.tif": lambda: tiff_chain(200_000),
    "packets.jpg": lambda: b"\xff\xd8" + b"\xff\xe1\xff\xffExif\x00\x00" * 100_000,
}


@needs_proc
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name]())
    before = children()
    workers = Workers(1, seconds=20)
    try:
        error = refusal(workers, tmp_path / name)
        assert not error.transient
        for pid in children() - before:
            status = Path(f"/proc/{pid}/status").read_text()
            assert int(status.split("VmHWM:")[1].split()[0]) < 2 << 20
    finally:
        workers.close()


# --- answers that a worker would not give ---

FACTS = Facts(
    *("JPEG", 40, 30, 6, "2020-01-02T03:04:05", "Acme", "X", "50 mm", 43.5, -1.98, 12.0, 4),
    *("a dog", ("dog", "🐕")),
)
REQUEST = Request(7, b"/a.jpg", 20, 10**6, True)


def answered(facts: Facts = FACTS, **other: object) -> tuple[dict[str, Any], int]:
    decoded = decode.Decoded(Image.new("RGB", (4, 3)), facts, bytes(32), 2**64 - 1)
    frame, pixels = messages.pack_photo(7, decoded)
    return {**json.loads(frame[8:]), **other}, len(pixels)


def read(document: object, length: int) -> object:
    return messages.unpack_answer(json.dumps(document).encode(), length, REQUEST)


def test_an_answer_says_what_was_found() -> None:
    found = read(*answered())
    assert isinstance(found, messages.Answer)
    assert (found.size, found.facts, found.content_hash) == ((4, 3), FACTS, bytes(32))
    assert found.picture_hash == 2**64 - 1


@pytest.mark.parametrize(
    "lie",
    [
        {"number": 6},
        {"number": True},
        {"size": [4]},
        {"size": [4, 4]},
        {"size": [-4, -3]},
        {"size": [4.0, 3]},
        {"size": [1 << 40, 1]},
        {"size": "43"},
        {"content_hash": "00"},
        {"content_hash": "zz" * 32},
        {"content_hash": None},
        {"picture_hash": 2**64},
        {"picture_hash": -1},
        {"picture_hash": None},
        {"facts": None},
        {"facts": {}},
        {"facts": {**asdict(FACTS), "path": "/etc/passwd"}},
        {"reason": ""},
        {"reason": "a\nb", "transient": False},
        {"reason": "why", "transient": 1},
        {"reason": "x" * 400, "transient": True},
    ],
    ids=str,
)
def test_a_lie_is_seen_through(lie: dict[str, object]) -> None:
    document, length = answered()
    with pytest.raises(NonsenseError):
        read({**document, **lie}, 0 if lie.get("reason") == "" else length)


@pytest.mark.parametrize(
    "lie",
    [
        {"width": 0},
        {"height": "1"},
        {"orientation": 9},
        {"rating": 6},
        {"rating": True},
        {"latitude": 91.0},
        {"latitude": float("nan")},
        {"longitude": "1"},
        {"altitude": 10**7},
        {"format": None},
        {"camera_make": 7},
        {"camera_model": "x" * 201},
        {"description": "x" * 10_001},
        {"description": "\ud800"},
        {"keywords": "dog"},
        {"keywords": [7]},
        {"keywords": ["x"] * 501},
    ],
    ids=lambda lie: str(lie)[:40],
)
def test_facts_that_no_photo_has_are_refused(lie: dict[str, object]) -> None:
    document, length = answered()
    with pytest.raises(NonsenseError):
        read({**document, "facts": {**document["facts"], **lie}}, length)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=9,
)


@given(
    document=JSON
    | st.dictionaries(
        st.sampled_from(["number", "size", "facts", "content_hash", "picture_hash", "reason"]),
        JSON | st.just(7),
    )
    | st.sampled_from(sorted(asdict(FACTS))).flatmap(
        lambda name: JSON.map(
            lambda value: {**answered()[0], "facts": {**asdict(FACTS), name: value}}
        )
    ),
    length=st.sampled_from([0, 36]),
)
def test_any_answer_is_right_or_nonsense(document: object, length: int) -> None:
    try:
        found = read(document, length)
    except NonsenseError:
        return
    if isinstance(found, messages.Answer):
        # What gets through is what a worker could have said: it says it again unchanged.
        assert read(*answered(found.facts)) == replace(
            found, size=(4, 3), content_hash=bytes(32), picture_hash=2**64 - 1
        )


@given(data=st.binary(max_size=60))
def test_any_bytes_are_nonsense(data: bytes) -> None:
    with pytest.raises(NonsenseError):
        messages.unpack_answer(data, 0, REQUEST)


# --- workers come and go ---


def test_a_worker_that_does_not_start_is_an_error_that_says_why(tmp_path: Path) -> None:
    workers = Workers(1, command=[sys.executable, "-c", "import no_such_decoder"])
    with pytest.raises(DecoderError, match=r"does not start: .*no_such_decoder.*doctor"):
        workers.open_photo(tmp_path / "a.png", size=9)
    workers = Workers(1, command=[str(tmp_path / "absent")])
    with pytest.raises(DecoderError, match="No such file"):
        workers.open_photo(tmp_path / "a.png", size=9)
    workers = Workers(1, command=["echo", "hello world"])
    with pytest.raises(DecoderError, match="something else"):
        workers.open_photo(tmp_path / "a.png", size=9)


def test_a_start_that_fails_is_tried_again(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    mark = tmp_path / "mark"
    command = own_command(1 << 30, 9)
    command[3] = (
        f"import os, sys; os.path.exists({str(mark)!r}) or sys.exit(os.mkdir({str(mark)!r}))"
    )
    command[3] += "\n" + own_command(1, 1)[3]
    workers = Workers(1, command=command)
    try:
        assert workers.open_photo(tmp_path / "a.png", size=9).image.size == (9, 9)
    finally:
        workers.close()


@needs_proc
def test_workers_start_when_needed_have_nothing_and_end_with_the_pool(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    before = children()
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        workers = Workers(4)
        assert children() == before
        workers.open_photo(tmp_path / "a.png", size=9)
        (worker,) = children() - before
        links = {str(link.readlink()) for link in Path(f"/proc/{worker}/fd").iterdir()}
    assert {link.partition(":")[0] for link in links} == {"/dev/null", "pipe"}
    assert Path(f"/proc/{worker}/cwd").readlink() == Path("/")
    workers.close()
    assert not runs(worker)
    with pytest.raises(DecoderError, match="closed"):
        workers.open_photo(tmp_path / "a.png", size=9)


@needs_proc
def test_many_callers_share_few_workers(tmp_path: Path) -> None:
    Image.radial_gradient("L").resize((900, 900)).save(tmp_path / "a.png")
    before, most = children(), 0
    workers = Workers(1)
    wrong: list[object] = []

    def ask(size: int) -> None:
        for _ in range(5):
            if not same(workers, tmp_path / "a.png", size=size):
                wrong.append(size)

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(20, 260, 20)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(children() - before))
        time.sleep(0.01)
    workers.close()
    assert (wrong, children() - before) == ([], set())
    assert 1 <= most <= 3


@needs_proc
def test_a_pool_that_nobody_closes_ends_its_workers(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    before = children()
    workers = Workers(1)
    workers.open_photo(tmp_path / "a.png", size=9)
    assert len(children() - before) == 1
    del workers
    assert gone(children() - before)


def test_closing_ends_whoever_waits(tmp_path: Path, hostile: Workers) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "stall.png")
    found: list[Exception] = []

    def wait() -> None:
        try:
            hostile.open_photo(tmp_path / "stall.png", size=9)
        except (PhotoError, DecoderError) as error:
            found.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    hostile.close()
    thread.join(3)
    assert not thread.is_alive()
    assert [type(error) for error in found] == [DecoderError]


def test_whoever_is_stopped_does_not_wait_for_the_disk(tmp_path: Path, hostile: Workers) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "stall.png")
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    error = refusal(hostile, tmp_path / "stall.png", stop=stop)
    assert (error.reason, error.transient) == ("interrupted", True)
    assert refusal(hostile, tmp_path / "stall.png", stop=stop).reason == "interrupted"


PARENT = """
import signal, sys, threading, time
for number in (signal.SIGTERM, signal.SIGHUP):  # nohup makes its children deaf to one
    signal.signal(number, signal.SIG_DFL)
from pathlib import Path
from clipsearch.photos.workers.pool import Workers
workers = Workers(2, seconds=100, command=eval(sys.argv[1]))
for name in sys.argv[2:]:
    threading.Thread(target=workers.open_photo, args=(name,), kwargs={"size": 9}).start()
    time.sleep(1)
print("waiting", flush=True)
time.sleep(100)
"""


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_no_worker_outlives_the_process_that_asks(tmp_path: Path, number: signal.Signals) -> None:
    """Neither one in the midst of a call in C, nor one that sleeps, nor one that has no work."""
    names = ["good.png", "hang.png", "stall.png"]
    for name in names:
        Image.new("RGB", (9, 9), "red").save(tmp_path / name)
    command = hostile_command(seconds=100)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, repr(command), *(str(tmp_path / name) for name in names)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"waiting\n"
        workers = {
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if f"PPid:\t{parent.pid}\n" in (folder / "status").read_text()
        }
        assert len(workers) == 2
        parent.send_signal(number)
        assert gone(workers, 5)


# --- a library full of hazards ---


class Endangered(Library):
    """A library whose decoders are at the mercy of the names of files."""

    @property
    def workers(self) -> Workers:
        if self._workers is None:
            self._workers = Workers(2, seconds=1, command=hostile_command())
        return self._workers


HAZARDS = ("segfault", "abort", "hang", "eat", "babble", "much", "killed")


@pytest.fixture
def dangerous(photos: Path, paint: Paint) -> Path:
    for number in range(30):
        paint(f"{number:02}.png", (8 * number, 0, 0))
        if number < len(HAZARDS):
            paint(f"{HAZARDS[number]}-{number}.png", "red")
    return photos


@needs_proc
def test_a_run_goes_on_and_lists_what_harmed_it(tmp_path: Path, dangerous: Path) -> None:
    before = children()
    with Endangered(tmp_path / "library", ColourEmbedder()) as library:
        report = library.index(dangerous)
        assert (report.added, library.status().photos) == (30, 30)
        listed = {Path(skip.path).name.partition("-")[0]: skip.reason for skip in report.skipped}
        assert listed.keys() == set(HAZARDS)
        assert listed["segfault"] == "the decoder crashed on it (segmentation fault)"
        assert tuple(library.skipped()) == report.skipped
    assert gone(children() - before)


def test_a_file_that_is_searched_with_harms_a_worker_at_most(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    with Endangered(tmp_path / "library", ColourEmbedder()) as library:
        library.index(photos)
        hostile = paint("segfault.png", "red")
        with pytest.raises(PhotoError, match="the decoder crashed on it"):
            library.similar(hostile)
        good = paint("another.png", "red")
        assert [Path(hit.path).name for hit in library.similar(good).hits] == ["red.png"]


def test_what_harmed_a_decoder_is_left_alone_until_somebody_asks(
    tmp_path: Path, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("segfault.png", "red")
    paint("killed.png", "green")
    opened: list[str] = []
    original = Workers.open_photo

    def watched(workers: Workers, path: str, **options: Any) -> decode.Decoded:
        opened.append(Path(path).name)
        return original(workers, path, **options)

    monkeypatch.setattr(Workers, "open_photo", watched)
    with Endangered(tmp_path / "library", ColourEmbedder()) as library:
        assert len(library.index(photos).skipped) == 2
        opened.clear()
        assert len(library.index(photos).skipped) == 2
        assert opened == ["killed.png"]  # which may have been the machine
        opened.clear()
        library.index(photos, retry=True)
        assert sorted(opened) == ["killed.png", "segfault.png"]
    with Library(tmp_path / "library", ColourEmbedder()) as ordinary:
        report = ordinary.index(photos, retry=True)
        assert (report.added, report.skipped) == (2, ())


@needs_proc
def test_workers_that_are_shot_cost_no_photo(tmp_path: Path, photos: Path, paint: Paint) -> None:
    for number in range(250):
        paint(f"{number:03}.png", (number, 0, 0), size=300)
    before, over, shot = children(), threading.Event(), 0
    with Library(tmp_path / "library", ColourEmbedder()) as library:

        def index() -> None:
            try:
                library.index(photos)
            finally:
                over.set()

        thread = threading.Thread(target=index)
        thread.start()
        while not over.wait(0.1):
            for pid in filter(is_ready, children() - before):
                if shot < 6:
                    os.kill(pid, signal.SIGKILL)
                    shot += 1
        thread.join()
        report = library.index()  # a photo whose decoder was shot twice comes in now
        assert (library.status().photos, report.skipped) == (250, ())
    assert shot > 0


def test_a_run_that_finds_nothing_new_starts_no_worker(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    class Without(Library):
        @property
        def workers(self) -> Workers:
            return Workers(1, command=[sys.executable, "-c", "raise SystemExit('started')"])

    paint("red.png", "red")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with Library(tmp_path / "library", ColourEmbedder()) as library:
        library.index(photos)
    with Without(tmp_path / "library", ColourEmbedder()) as library:
        assert library.index(photos).unchanged == 1
        paint("green.png", "green")
        with pytest.raises(DecoderError, match="started"):
            library.index(photos)


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs behind a shell is deaf to it
from clipsearch.photos.workers import pool, process
import tests.photos.test_workers as here
pool.own_command = lambda memory, seconds: here.hostile_command(memory, seconds)
from clipsearch import cli, library
from clipsearch.models import registry
from tests.fakes import ColourEmbedder
registry.load = lambda *_, **__: ColourEmbedder()
cli.main()
"""


@needs_proc
def test_ctrl_c_ends_a_run_at_once(tmp_path: Path, photos: Path, paint: Paint) -> None:
    for number in range(12):
        paint(f"{number:02}.png", (number, 0, 0))
    paint("hang.png", "red")
    paint("stall.png", "red")
    target = tmp_path / "library"
    with subprocess.Popen(
        [
            *(sys.executable, "-c", INTERRUPTED),
            *("index", str(photos), "--library", str(target), "--model", "colours"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        workers: set[int] = set()
        while len(workers) < 2 or photos_in(target) < 9:
            time.sleep(0.05)
            workers = {
                int(folder.name)
                for folder in Path("/proc").glob("[0-9]*")
                if (folder / "stat").exists()
                and (folder / "stat").read_text().rpartition(")")[2].split()[1] == str(process.pid)
            }
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it as well
        said = process.stderr.read()
        assert process.wait() == 130
    assert "Traceback" not in said
    assert said.endswith("clipsearch: interrupted; run it again to go on from here\n")
    assert gone(workers, 5)
    with Library(target, ColourEmbedder()) as library:
        report = library.index()
    assert (report.unchanged + report.added, report.skipped) == (14, ())


def photos_in(library: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{library / 'catalog.db'}?mode=ro", uri=True)
        try:
            return int(connection.execute("select count(*) from photo").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return 0
