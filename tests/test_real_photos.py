"""The whole path on photos and files that were not made by these tests."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clipsearch import Library
from clipsearch.models.starter import StarterEmbedder
from clipsearch.photos.formats import SUFFIXES, suffix_of
from tests.fakes import ColourEmbedder

INDEX_WITH_STARTER = """
import json, pathlib, sys
from clipsearch import Library
with Library(sys.argv[1], "starter") as library:
    report = library.index(*sys.argv[2:])
    hits = library.search("a photo", k=10_000, min_relevance=0, all_copies=True).hits
# Not ru_maxrss, which a program inherits from the one that starts it.
status = pathlib.Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps([[hit.path for hit in hits], [[s.path, s.reason] for s in report.skipped], peak]))
"""


INDEX_AND_WATCH = """
import json, os, pathlib, sys, threading
from clipsearch import Library
from tests.fakes import ColourEmbedder

peaks = {}

def look():
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
        except OSError:
            continue
        if f"PPid:\\t{os.getpid()}\\n" in status or folder.name == str(os.getpid()):
            if "VmHWM:" in status:
                peaks[folder.name] = int(status.split("VmHWM:")[1].split()[0]) * 1024

def watch():
    while not over.wait(0.02):
        look()

over = threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
try:
    with Library(sys.argv[1], ColourEmbedder()) as library:
        report = library.index(*sys.argv[2:])
        again = library.index()
        hits = library.search("name:*", k=10_000, all_copies=True).hits
        look()
finally:
    over.set()
    watcher.join()
listed = [[skip.path, skip.reason] for skip in report.skipped]
print(json.dumps([[hit.path for hit in hits], listed, peaks, again.added + again.updated]))
"""
"""Indexes and tells the peak memory of itself and of every process that it started."""

MUTATIONS = 2000


def described(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_odd_broken_and_hostile_files(shared: Path, tmp_path: Path) -> None:
    hazards = tmp_path / "hazards"
    subprocess.run(
        [sys.executable, str(shared / "odd" / "make_fs_hazards.py"), str(hazards)], check=True
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", INDEX_WITH_STARTER, str(tmp_path / "library")),
            *(str(shared / "odd" / "files"), str(hazards)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    indexed, skipped, peak = json.loads(done.stdout)
    names = {os.path.relpath(path, shared / "odd") for path in indexed}
    reasons = {os.path.relpath(path, shared / "odd"): reason for path, reason in skipped}
    entries = described(shared / "odd" / "odd.jsonl")
    assert len(entries) == 121
    for entry in entries:
        file = entry["file"]
        if entry["expect"] == "index":
            assert file in names, (file, reasons.get(file))
        elif entry["expect"] == "skip":
            assert file not in names
            assert len(reasons[file]) > 5, file
    here = {path: reason for path, reason in skipped if path.startswith(str(hazards))}
    assert not [path for path in indexed if path.startswith(str(hazards))]
    assert {"pipe.jpg", "zero.jpg", "sparse_10GB.jpg", "dangling.jpg", "new\nline.jpg"} <= {
        os.path.relpath(path, hazards) for path in here
    }
    assert any(os.fsencode(path).endswith(b"caf\xe9.jpg") for path in here)
    assert peak < 2 << 30


def mutated(content: bytes, seed: random.Random) -> bytes:
    """Return a file with bits turned over, its end cut off, or both."""
    changed = bytearray(content)
    if seed.random() < 0.3:
        del changed[seed.randrange(len(changed)) :]
    if changed and seed.random() < 0.9:
        # Half of them at the beginning, where headers are.
        reach = len(changed) if seed.random() < 0.5 else min(len(changed), 600)
        for _ in range(seed.choice([1, 1, 2, 5, 30])):
            changed[seed.randrange(reach)] ^= 1 << seed.randrange(8)
    return bytes(changed)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_odd_hazardous_and_mutated_files_in_one_run(shared: Path, tmp_path: Path) -> None:
    hazards, broken = tmp_path / "hazards", tmp_path / "mutated"
    subprocess.run(
        [sys.executable, str(shared / "odd" / "make_fs_hazards.py"), str(hazards)], check=True
    )
    broken.mkdir()
    sources = [
        path
        for folder in ("captions", "captions_cc", "clothing", "exif", "fsac", "odd")
        for path in sorted((shared / folder).rglob("*"))
        if path.is_file() and suffix_of(path.name) in SUFFIXES and 0 < path.stat().st_size < 200_000
    ]
    kinds = sorted({suffix_of(path.name) for path in sources})
    seed = random.Random(6)
    for number in range(MUTATIONS):
        if number % 2:
            source = seed.choice(sources)
        else:  # JPEG would be nearly all of them
            kind = seed.choice(kinds)
            source = seed.choice([path for path in sources if suffix_of(path.name) == kind])
        (broken / f"{number:04}{suffix_of(source.name)}").write_bytes(
            mutated(source.read_bytes(), seed)
        )
    done = subprocess.run(
        [
            *(sys.executable, "-c", INDEX_AND_WATCH, str(tmp_path / "library")),
            *(str(shared / "odd" / "files"), str(hazards), str(broken)),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    paths, skipped, peaks, changed = json.loads(done.stdout)
    indexed, reasons = set(paths), dict(skipped)
    assert changed == 0
    for file in broken.iterdir():
        assert (str(file) in indexed) != (str(file) in reasons), file
    for entry in described(shared / "odd" / "odd.jsonl"):
        path = str(shared / "odd" / entry["file"])
        assert entry["expect"] != "index" or path in indexed, reasons.get(path)
        assert entry["expect"] != "skip" or path in reasons, path
    assert len([path for path in indexed if path.startswith(str(broken))]) > MUTATIONS / 4
    assert len([path for path in reasons if path.startswith(str(broken))]) > MUTATIONS / 8
    assert all(len(reason) > 5 and reason.isprintable() for reason in reasons.values())
    assert len(peaks) > 1, "no worker was seen"
    assert max(peaks.values()) < 2 << 30
    assert not [pid for pid in peaks if Path(f"/proc/{pid}").exists()]
    assert done.stderr == ""


def test_facts_agree_with_exiftool(shared: Path, library: Library) -> None:
    library.index(shared / "exif")
    hits = library.search("grey", k=100, min_relevance=0).hits
    facts = {Path(hit.path).name: library.photo(hit.id).facts for hit in hits}
    entries = described(shared / "exif" / "exif.jsonl")
    assert len(entries) == len(facts) == 19
    for entry in entries:
        found = facts[Path(entry["file"]).name]
        assert [found.width, found.height] == entry["display_size"], entry["file"]
        assert found.camera_model == entry["model"]
        assert found.camera_make == entry["make"]
        for mine, theirs in ((found.latitude, entry["lat"]), (found.longitude, entry["lon"])):
            assert mine == (pytest.approx(theirs) if theirs not in ("", None) else None)
        if taken := entry["date_original"] or entry["create_date"]:
            date, _, clock = taken.partition(" ")
            assert found.taken_at == f"{date.replace(':', '-')}T{clock}"


def test_phrases_find_photos_with_the_starter(shared: Path, tmp_path: Path) -> None:
    captions = {
        entry["file"]: " ".join(entry["captions"]).lower()
        for entry in described(shared / "captions" / "captions.jsonl")
    }
    # Without the head, which was trained on these photos.
    with Library(tmp_path / "library", StarterEmbedder(head=False)) as library:
        library.index(shared / "captions")
        for phrase in ("pizza", "train", "bear", "elephant", "laptop"):
            best = library.search(f"a photo of a {phrase}", k=1, min_relevance=0).hits[0].path
            assert phrase in captions[os.path.relpath(best, shared / "captions")], (phrase, best)


def test_a_failing_photo_does_not_stop_the_others(shared: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", ColourEmbedder()) as library:
        first = library.index(shared / "odd")
        second = library.index(shared / "odd")
    assert first.added > 70
    assert (second.unchanged, second.added, second.removed) == (first.added, 0, 0)
    assert second.skipped == first.skipped
