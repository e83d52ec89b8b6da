from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsearch import Library, prompts
from clipsearch.catalog import archive, vectors
from clipsearch.errors import QueryError
from clipsearch.records import FacetCount
from clipsearch.vectors import VectorIndex
from tests.conftest import Paint
from tests.fakes import COLOURS, ColourEmbedder
from tests.filter_oracle import Nasty, Row


class CountingEmbedder(ColourEmbedder):
    """Remembers every text that it was asked to embed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.update(texts)
        return super().texts(texts)


@pytest.fixture
def tram(library: Library, photos: Path, paint: Paint) -> Library:
    """A photo that speaks of a tram in Lisbon and looks as nobody would expect, and nine more.

    What does not name a colour is grey to the model, and black is farthest from that.
    """
    for number, colour in enumerate(COLOURS):
        paint(f"{number}/{colour}.png", colour)
    paint("5/IMG_2041 lisbon tram.png", (0, 0, 9))
    library.index(photos)
    return library


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nasty]:
    with Nasty(tmp_path_factory.mktemp("nasty")) as nasty:
        yield nasty


def found(library: Library, query: str, **options: float) -> list[str]:
    hits = library.search(query, k=100, **{"min_relevance": 0, **options})  # type: ignore[arg-type]
    return [Path(hit.path).stem for hit in hits]


def the_id(library: Library, name: str) -> int:
    (hit,) = library.search(f'name:"{name}"').hits
    return hit.id


@pytest.mark.parametrize(
    "query",
    ["lisbon tram", "Tram in Lisbon", "the trams of LISBON", "lísbon trâm", "2041", '"tram"'],
)
def test_a_photo_that_is_named_so_comes_first(tram: Library, query: str) -> None:
    named = "IMG_2041 lisbon tram"
    index, vector = _index_and_vector(tram, query.strip('"'))
    assert index.nearest(vector, 1)[0][0] != the_id(tram, named)  # its picture does not help it
    first, *others = tram.search(query, k=100, min_relevance=0).hits
    assert (Path(first.path).stem, first.named) == (named, True)
    assert not any(hit.named for hit in others)
    assert found(tram, query, min_relevance=0.99)[:1] != [named]  # that bar is for all


def test_words_may_stand_in_folder_tags_and_alt_text(
    library: Library, photos: Path, paint: Paint
) -> None:
    for number, colour in enumerate(COLOURS):
        paint(f"{number}.png", colour)
    paint("Lisboa/tram 28/x.png", "black")
    library.index(photos)
    black = the_id(library, "7")
    assert found(library, "Lisboa trams")[0] == "x"
    library.edit_tags(black, add=["town/Málaga"])
    assert found(library, "malaga")[0] == "7"
    assert found(library, "in the town of Málaga")[0] == "7"
    library.accept_alt_text(black, "An old harbour.")
    assert found(library, "malaga harbours")[0] == "7"  # a word in a tag, a word in the text
    library.edit_tags(black, remove=["town/Málaga"])
    assert not any(hit.named for hit in library.search("malaga harbours"))


@pytest.mark.parametrize(
    "query", ["İstanbul", "I\N{COMBINING DOT ABOVE}stanbul", "istanbul", "ISTANBUL"]
)
def test_dots_and_accents_of_their_own_split_no_word(
    library: Library, photos: Path, paint: Paint, query: str
) -> None:
    paint("İstanbul.png", "black")
    paint("sta\N{COMBINING ACUTE ACCENT}nbul.png", "black", size=30)
    library.index(photos)
    assert [hit.named for hit in library.search(query, min_relevance=0)].count(True) == 1
    assert found(library, "s\N{LATIN SMALL LETTER T}ánbul")[0].startswith("sta")
    assert library.search("sta\N{COMBINING ACUTE ACCENT}nbul").hits[0].named


def test_a_phrase_without_such_words_ranks_as_the_index_alone(nasty: Nasty) -> None:
    for phrase in ("a quiet hill", "vista", "red ball", "the photo of a"):
        index, vector = _index_and_vector(nasty.library, phrase)
        hits = nasty.library.search(phrase, k=1000, min_relevance=0, all_copies=True).hits
        assert [(hit.id, hit.score) for hit in hits] == index.nearest(vector, 1000)


@pytest.mark.parametrize(
    "query",
    [
        *("'; drop table photo; --", "a AND b OR NOT c", "NEAR(lisbon tram)", "lisbon*", "^lisbon"),
        *("name : lisbon", "{name folder} : x", "lisbon ^ tram", "(", "*", "%", "_", "\\", "\0 x"),
        *("lisbon -- tram", "x;/*tram*/", "a + b", "'", "tram'", "``", "[tram]", "?1 ?2", "@x $y"),
        *('"NEAR(a b, 5)"', '"lisbon OR tram"', '"photo_words match x"', "🏖️ · …", "__ ___"),
    ],
)
def test_syntax_of_databases_is_plain_text(tram: Library, query: str) -> None:
    assert len(found(tram, query)) == len(COLOURS) + 1
    for filter_ in ("name", "folder", "tag", "camera", "lens"):
        value = query.replace('"', "")
        assert found(tram, f'-{filter_}:"{value}" grey') is not None
    assert tram.status().photos == len(COLOURS) + 1


def test_a_name_with_bytes_that_are_no_utf8_can_be_asked_for(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("caf\udce9/th\udce9.png", "red")
    paint("cafe/the.png", "blue")
    library.index(photos)
    for query in ("name:th\udce9.png", "folder:caf?", "name:th?.png red"):
        assert "th\udce9" in found(library, query)
    assert found(library, "caf\udce9 red")[0] == "th\udce9"


def test_names_and_relevance_are_merged_by_reciprocal_ranks(nasty: Nasty) -> None:
    index, vector = _index_and_vector(nasty.library, "tram")
    ranked = [photo for photo, _ in index.nearest(vector, 1000)]
    hits = nasty.library.search("tram", k=1000, min_relevance=0, all_copies=True).hits
    named = [photo for photo in ranked if photo in {hit.id for hit in hits if hit.named}]
    assert 10 < len(named) < len(ranked)
    total = {photo: 1 / (60 + rank) for rank, photo in enumerate(ranked, 1)}
    for rank, photo in enumerate(named, 1):
        total[photo] += 1 / (60 + rank)
    assert [hit.id for hit in hits] == sorted(ranked, key=lambda photo: -total[photo])


def test_relevance_of_a_photo_is_the_same_whatever_else_is_asked(nasty: Nasty) -> None:
    whole = {
        hit.id: hit.relevance
        for hit in nasty.library.search("vista", k=1000, min_relevance=0, all_copies=True)
    }
    assert len(set(whole.values())) > 20
    for query in ("vista has:gps", "vista rating:3..", "vista -lisbon", "vista id:5"):
        for options in ({"min_relevance": 0.0}, {"min_relevance": 0.01}, {}):
            hits = nasty.library.search(query, k=1000, **options).hits  # type: ignore[arg-type]
            assert all(hit.relevance == whole[hit.id] for hit in hits)
    least = sorted(value for value in whole.values() if value is not None)[-20]
    best = nasty.library.search("vista", k=1000, min_relevance=least, all_copies=True)
    assert {hit.id for hit in best} == {i for i, value in whole.items() if (value or 0) >= least}
    assert (best.total, best.cut) == (len(best), len(whole) - len(best))


def test_the_relevant_photos_come_by_date(nasty: Nasty) -> None:
    best = nasty.library.search("vista", k=1000, min_relevance=0.02, all_copies=True)
    dated = nasty.library.search("vista", k=1000, min_relevance=0.02, sort="date", all_copies=True)
    assert 3 < len(dated) < len(nasty.rows)
    by_id = sorted(best, key=lambda hit: hit.id)
    assert list(dated) == sorted(by_id, key=lambda hit: hit.taken_at or "", reverse=True)
    pages = [
        hit
        for offset in range(0, best.total, 7)
        for hit in nasty.library.search(
            "vista", k=7, offset=offset, min_relevance=0.02, sort="date", all_copies=True
        )
    ]
    assert pages == list(dated)


def test_feedback_moves_the_query_towards_and_away(tram: Library) -> None:
    red, blue = the_id(tram, "red"), the_id(tram, "blue")

    def score(name: str, **feedback: Sequence[int]) -> float:
        hits = tram.search("grey", k=100, min_relevance=0, **feedback).hits  # type: ignore[arg-type]
        return next(hit.score or 0.0 for hit in hits if Path(hit.path).stem == name)

    assert score("orange", like=[red]) > score("orange") > score("orange", unlike=[red])
    assert score("cyan", like=[blue]) > score("cyan")
    result = tram.search("grey", like=[red], unlike=[blue])
    assert (result[0].relevance, result.calibration) == (None, None)
    # Rocchio's formula by hand, with the weights 1, 0.75 and 0.15.
    index, vector = _index_and_vector(tram, "grey")
    moved = vector + 0.75 * index.vectors([red])[0] - 0.15 * index.vectors([blue])[0]
    expected = index.vectors([red])[0] @ moved / np.linalg.norm(moved)
    score_of_red = next(hit.score for hit in result if hit.id == red)
    assert score_of_red == pytest.approx(float(expected), abs=1e-6)
    with pytest.raises(QueryError, match="feedback"):
        tram.search("grey", like=[red], sort="date")


def test_an_explanation_adds_up(nasty: Nasty) -> None:
    query = '2:"vista" -0.5:"red ball" image:7 has:gps -rating:3 on:2019'
    for photo in (7, 20, 133):
        told = nasty.library.explain(query, photo)
        hits = nasty.library.search(query.split(" has:")[0], k=1000, all_copies=True).hits
        assert told.score == next(hit.score for hit in hits if hit.id == photo)
        assert sum(term.contribution for term in told.terms) == pytest.approx(told.score, abs=1e-6)
        assert [term.weight for term in told.terms] == [2, -0.5, 1]
        row = nasty.rows[photo - 1]
        assert [each.filter for each in told.filters] == ["has:gps", "-rating:3", "on:2019"]
        assert [each.passes for each in told.filters] == [
            row.facts.latitude is not None,
            row.facts.rating != 3,
            (row.facts.taken_at or "").startswith("2019"),
        ]
        assert told.filters[1].facts == (
            () if row.facts.rating is None else (str(row.facts.rating),)
        )
        assert told.relevance is None  # an image is asked for


def test_the_evidence_gives_the_relevance(nasty: Nasty) -> None:
    hits = nasty.library.search("vista", k=1000, min_relevance=0, all_copies=True).hits
    for hit in hits[::40]:
        told = nasty.library.explain("vista", hit.id)
        logit = sum(part.logit for part in told.evidence)
        assert hit.relevance is not None
        assert 1 / (1 + math.exp(-logit)) == pytest.approx(hit.relevance)
        assert (told.relevance, told.band, told.score) == (hit.relevance, hit.band, hit.score)
    named = nasty.library.explain("lisbon in the beach", 1)
    assert named.words == ("lisbon", "beach")


def test_a_photo_opposite_to_the_query_answers_and_is_explained(nasty: Nasty) -> None:
    """What is stored in half precision may be a little longer than 1: cosines below -1."""
    for row in nasty.rows[:60]:
        told = nasty.library.explain(f"-image:{row.id}", row.id)
        assert told.score == pytest.approx(-1, abs=2e-3)
        assert nasty.library.facets(f"-image:{row.id}").photos == len(nasty.rows)


FACTS: dict[str, Callable[[Row], Sequence[str]]] = {
    "years": lambda row: [row.facts.taken_at[:4]] if row.facts.taken_at else [],
    "months": lambda row: [row.facts.taken_at[:7]] if row.facts.taken_at else [],
    "cameras": lambda row: [row.camera] if row.camera else [],
    "folders": lambda row: [row.folder_shown],
    "tags": lambda row: sorted(row.tags),
}


@pytest.mark.parametrize("query", [None, "has:gps", "vista rating:2..", "id:99999"])
def test_facets_count_what_answers(nasty: Nasty, query: str | None) -> None:
    chosen = nasty.rows
    if query == "has:gps":
        chosen = [row for row in chosen if row.facts.latitude is not None]
    elif query == "vista rating:2..":
        chosen = [row for row in chosen if (row.facts.rating or 0) >= 2]
    elif query is not None:
        chosen = []
    facets = nasty.library.facets(query, min_relevance=0)
    assert facets.photos == len(chosen)
    for name, values in FACTS.items():
        counts = Counter(value for row in chosen for value in values(row))
        latest_first = name in ("years", "months")
        expected = sorted(
            counts.items(),
            key=lambda item: item[0] if latest_first else (-item[1], item[0]),
            reverse=latest_first,
        )
        assert getattr(facets, name) == tuple(FacetCount(*item) for item in expected)


def test_facets_follow_tags_by_hand_and_undo(tram: Library) -> None:
    red = the_id(tram, "red")
    assert tram.facets().tags == ()
    tram.edit_tags(red, add=["warm"])
    assert tram.facets().tags == (FacetCount("warm", 1),)
    run = tram.tag(None, "name:blue").run
    tagged = Counter({count.value: count.count for count in tram.facets().tags})
    assert tagged == Counter(dict(tram.tag_counts()))
    tram.undo(run)
    assert tram.facets().tags == (FacetCount("warm", 1),)
    tram.edit_tags(red, remove=["warm"])
    assert tram.facets("red").tags == ()


def test_a_saved_search_tells_what_is_new(tram: Library, paint: Paint, photos: Path) -> None:
    saved = tram.save_search(" Warm  colours ", "red -name:blue", min_relevance=0)
    assert (saved.name, saved.query) == ("Warm colours", "red -name:blue")
    assert tram.new_hits("warm COLOURS") == ()
    paint("new/dark red.png", (200, 0, 0))
    paint("new/blue.png", (0, 0, 250))
    tram.index()
    for _ in range(2):
        assert [Path(hit.path).stem for hit in tram.new_hits("Warm colours", keep=True)] == [
            "dark red"
        ]
    assert [Path(hit.path).stem for hit in tram.new_hits("Warm colours")] == ["dark red"]
    assert tram.new_hits("Warm colours") == ()
    (photos / "0" / "red.png").unlink()
    (photos / "new" / "dark red.png").unlink()
    tram.index()
    assert tram.new_hits("Warm colours") == ()
    assert tram.forget_search("warm colours").query == "red -name:blue"
    assert tram.saved_searches() == []


def test_saved_searches_that_cannot_be_kept_are_refused(tram: Library, photos: Path) -> None:
    tram.save_search("reds", "red")
    for name, query in (
        ("REDS", "blue"),
        ("", "red"),
        ("x" * 201, "red"),
        ("ok", 'red "'),
        ("ok", f"{photos}/0/red.png"),
        ("ok", "red -red"),
    ):
        with pytest.raises(QueryError):
            tram.save_search(name, query)
    assert [each.name for each in tram.saved_searches()] == ["reds"]
    for ask in (tram.new_hits, tram.forget_search, tram.saved_search):
        with pytest.raises(QueryError, match="no search is saved"):
            ask("nothing")


def test_a_phrase_is_embedded_once(tmp_path: Path, photos: Path, paint: Paint) -> None:
    paint("red.png", "red")
    embedder = CountingEmbedder()
    with Library(tmp_path / "library", embedder) as library:
        library.index(photos)
        first = library.search("a red wall", min_relevance=0).hits
        assert library.search("a red wall", min_relevance=0).hits == first
        library.facets("a red wall -water")
    with Library(tmp_path / "library", embedder) as again:
        assert again.search("a red wall -water", min_relevance=0)
        assert again.search("a red wall", min_relevance=0).hits == first
    assert {embedder.asked[text] for text in ("a red wall", "water", *prompts.background())} == {1}
    with Library(tmp_path / "library", ColourEmbedder(fingerprint="2")) as other:
        other.index()
        assert other.search("a red wall", min_relevance=0).hits[0].score == first[0].score


def test_an_indexer_that_writes_does_not_fail_a_search(tram: Library) -> None:
    notices: list[str] = []
    writer = sqlite3.connect(tram.folder / "catalog.db", isolation_level=None)
    writer.execute("begin immediate")
    try:
        with Library(tram.folder, ColourEmbedder(), on_notice=notices.append) as reader:
            assert found(reader, "red")[0] == "red"
            assert reader.facets("yellow").photos > 0
    finally:
        writer.execute("rollback")
        writer.close()
    assert notices
    assert found(tram, "red")[0] == "red"


def _index_and_vector(library: Library, phrase: str) -> tuple[VectorIndex, NDArray[np.float32]]:
    """Return the stored vectors in an index of their own, and the vector of a phrase."""
    with library._catalog.read() as db:
        model = archive.active_model(db)
        assert model is not None
        index = VectorIndex(*vectors.all_of(db, model.id, model.dimensions))
    vector = library.embedder.texts([phrase])[0].astype(np.float64)
    return index, (vector / np.linalg.norm(vector)).astype(np.float32)
