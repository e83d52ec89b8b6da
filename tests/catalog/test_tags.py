from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from clipsearch.catalog import Catalog, archive, captions, photos, runs, tags
from clipsearch.catalog.archive import Model
from clipsearch.catalog.photos import File
from clipsearch.records import Facts, Proposal

MODEL = Model(1, "colours", "1", 4)
PHOTOS = (1, 2, 3)
LABELS = ("animal", "animal/dog", "beach")


def filled(path: Path) -> Catalog:
    """A catalogue with three photos; the third carries the keyword beach."""
    catalog = Catalog(path / "catalog.db")
    with catalog.write() as db:
        root = archive.add_root(db, "/photos", 1)
        for photo_id in PHOTOS:
            keywords = ("beach",) if photo_id == 3 else ()
            facts = Facts("JPEG", 4, 3, keywords=keywords)
            file = File(root.id, f"{photo_id}.jpg", 1, 1, bytes(32))
            assert photos.add(db, file, facts) == photo_id
    return catalog


@dataclass
class _Run:
    scope: frozenset[int]
    labels: frozenset[str]
    tags: dict[tuple[int, str], float]
    undone: bool = False


@dataclass
class _Model:
    """What the catalogue promises, in plain Python."""

    runs: list[_Run] = field(default_factory=list)
    hand: dict[tuple[int, str], bool] = field(default_factory=dict)
    keywords: dict[int, set[str]] = field(default_factory=lambda: {3: {"beach"}})

    def expected(self) -> set[tuple[int, str, str, float | None]]:
        found: set[tuple[int, str, str, float | None]] = set()
        for photo in PHOTOS:
            for label in LABELS:
                if (photo, label) in self.hand:
                    if self.hand[photo, label]:
                        found.add((photo, label, "hand", None))
                elif label in self.keywords.get(photo, ()):
                    found.add((photo, label, "file", None))
                else:
                    for run in reversed(self.runs):
                        if not run.undone and photo in run.scope and label in run.labels:
                            if (photo, label) in run.tags:
                                found.add((photo, label, "run", run.tags[photo, label]))
                            break
        return found


class Tagging(RuleBasedStateMachine):
    """Runs, hands and undo in any order: the catalogue equals the model of the sequence."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        number = len(list(self.folder.iterdir()))
        (self.folder / str(number)).mkdir()
        self.catalog = filled(self.folder / str(number))
        self.model = _Model()

    def teardown(self) -> None:
        self.catalog.close()

    @rule(
        scope=st.frozensets(st.sampled_from(PHOTOS)),
        labels=st.frozensets(st.sampled_from(LABELS), min_size=1),
        chosen=st.frozensets(st.tuples(st.sampled_from(PHOTOS), st.sampled_from(LABELS))),
        score=st.integers(1, 100).map(lambda n: n / 100),
    )
    def tag(
        self,
        scope: frozenset[int],
        labels: frozenset[str],
        chosen: frozenset[tuple[int, str]],
        score: float,
    ) -> None:
        given = {(p, name): score for p, name in chosen if p in scope and name in labels}
        with self.catalog.write() as db:
            run_id = runs.begin(
                db, "tag", MODEL, source="v", source_hash="", settings={}, photos=scope
            )
            rows = [(p, name, value) for (p, name), value in sorted(given.items())]
            assert tags.put_run(db, run_id, sorted(labels), rows) == len(given)
            runs.finish(db, run_id, len(given))
        self.model.runs.append(_Run(scope, labels, given))

    @rule()
    def tag_again(self) -> None:
        if self.model.runs:
            last = self.model.runs[-1]
            self.tag(last.scope, last.labels, frozenset(last.tags), 0.5)

    @rule(
        photo=st.sampled_from(PHOTOS),
        label=st.sampled_from(LABELS),
        holds=st.sampled_from([True, False, None]),
    )
    def edit(self, photo: int, label: str, holds: bool | None) -> None:
        with self.catalog.write() as db:
            tags.set_by_hand(db, photo, label, holds)
        self.model.hand.pop((photo, label), None)
        if holds is not None:
            self.model.hand[photo, label] = holds

    @rule(number=st.integers(0, 20))
    def undo(self, number: int) -> None:
        if number < len(self.model.runs) and not self.model.runs[number].undone:
            with self.catalog.write() as db:
                runs.set_undone(db, number + 1)
                tags.withdraw_run(db, number + 1)
            self.model.runs[number].undone = True

    @rule(photo=st.sampled_from(PHOTOS), keyword=st.none() | st.sampled_from(LABELS))
    def replace_content(self, photo: int, keyword: str | None) -> None:
        with self.catalog.write() as db:
            keywords = (keyword,) if keyword else ()
            file = File(1, f"{photo}.jpg", 2, 2, b"x" * 32)
            photos.update(db, photo, file, Facts("JPEG", 4, 3, keywords=keywords))
        self.model.keywords[photo] = set(keywords)
        for run in self.model.runs:
            run.scope -= {photo}

    @invariant()
    def the_catalogue_equals_the_model(self) -> None:
        with self.catalog.read() as db:
            rows = db.execute("select photo_id, label, origin, score from tag").fetchall()
        assert set(rows) == self.model.expected()


def test_runs_hands_and_undo_in_any_order(tmp_path: Path) -> None:
    class Here(Tagging):
        folder = tmp_path

    run_state_machine_as_test(
        Here, settings=settings(max_examples=120, stateful_step_count=20, deadline=None)
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = filled(tmp_path)
    yield catalog
    catalog.close()


def test_tags_are_counted_and_named_with_their_origin(catalog: Catalog) -> None:
    with catalog.write() as db:
        run = runs.begin(
            db, "tag", MODEL, source="v", source_hash="h", settings={"a": 1}, photos=PHOTOS
        )
        tags.put_run(db, run, LABELS, [(1, "beach", 0.9), (1, "animal", 0.4), (2, "beach", 0.7)])
        runs.finish(db, run, 3)
        tags.set_by_hand(db, 1, "sunset", True)
        assert tags.counts(db) == [("beach", 3), ("animal", 1), ("sunset", 1)]
        found = [
            (tag.label, tag.origin, tag.score, tag.run, tag.model) for tag in tags.of_photo(db, 1)
        ]
        assert found == [
            ("animal", "run", 0.4, run, "colours"),
            ("beach", "run", 0.9, run, "colours"),
            ("sunset", "hand", None, None, None),
        ]
        recorded = runs.get(db, run)
        assert recorded is not None
        assert (recorded.photos, recorded.results, recorded.settings) == (3, 3, {"a": 1})
        assert runs.all_of(db) == [recorded]


def propose(catalog: Catalog, *texts: str) -> int:
    with catalog.write() as db:
        run = runs.begin(
            db, "caption", MODEL, source="c", source_hash="", settings={}, photos=PHOTOS
        )
        captions.put_run(
            db,
            run,
            [Proposal(p, text, 0.3, 0.1, True) for p, text in zip(PHOTOS, texts, strict=True)],
        )
    return run


def test_accepted_texts_survive_later_runs_and_undo(catalog: Catalog) -> None:
    propose(catalog, "a dog", "a cat", "a cow")
    with catalog.write() as db:
        assert [each.text for each in captions.undecided(db)] == ["a dog", "a cat", "a cow"]
        captions.decide(db, 1, "a dog", "accepted")
        captions.reject(db, 2, "a cat")
        assert [each.text for each in captions.undecided(db)] == ["a cow"]
    second = propose(catalog, "a fox", "a cat", "a bull")
    with catalog.write() as db:
        assert [each.text for each in captions.undecided(db)] == ["a bull"]
        assert captions.alt_text(db, 1) is not None
        runs.set_undone(db, second)
        assert [each.text for each in captions.undecided(db)] == ["a cow"]
        found = captions.alt_text(db, 1)
        assert found is not None
        assert (found.text, found.state) == ("a dog", "accepted")


def test_the_files_own_description_gives_way_to_a_person(catalog: Catalog) -> None:
    with catalog.write() as db:
        captions.take_from_file(db, 1, "from the camera")
        found = captions.alt_text(db, 1)
        assert found is not None
        assert found.state == "file"
        captions.decide(db, 1, "mine", "edited")
        captions.take_from_file(db, 1, "from the camera again")
        found = captions.alt_text(db, 1)
        assert found is not None
        assert found.text == "mine"
