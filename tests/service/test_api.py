"""The interface in JSON: what a page asks, and what it sees."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from clipsearch.library.serving import ServedLibrary
from tests.conftest import Paint
from tests.fakes import COLOURS

VOCABULARY = "colour/red\ncolour/green\ncolour/blue\n"


def picture(colour: str, form: str = "PNG") -> io.BytesIO:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 20), COLOURS[colour]).save(buffer, form)
    buffer.seek(0)
    return buffer


def get(client: FlaskClient, address: str, status: int = 200) -> Any:
    answer = client.get(address)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_json()


def post(client: FlaskClient, address: str, body: object, status: int = 200) -> Any:
    answer = client.post(address, json=body)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_json()


def hit_of(found: dict[str, Any], photo_id: int) -> dict[str, Any]:
    hit: dict[str, Any]
    (hit,) = (each for each in found["hits"] if each["id"] == photo_id)
    return hit


def finished(client: FlaskClient, job: dict[str, Any]) -> dict[str, Any]:
    for _ in range(200):
        found: dict[str, Any] = get(client, f"/api/jobs/{job['id']}")
        if found["state"] in ("done", "failed"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"the job never ends: {found}")


def test_phrase_finds_the_photo_of_that_colour(client: FlaskClient, ids: dict[str, int]) -> None:
    found = get(client, "/api/search?q=red&k=2&min_relevance=0")
    assert found["hits"][0]["id"] == ids["red"]
    assert found["hits"][0]["name"] == "red.png"
    assert (found["hits"][0]["width"], found["hits"][0]["height"]) == (24, 24)
    assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert found["query"] == "red"
    assert found["took_ms"] >= 0


def test_pages_of_a_search_do_not_overlap(client: FlaskClient) -> None:
    pages = [
        get(client, f"/api/search?q=red&min_relevance=0&k=2&offset={offset}")["hits"]
        for offset in (0, 2, 4, 6)
    ]
    assert [len(page) for page in pages] == [2, 2, 2, 0]
    assert len({hit["id"] for page in pages for hit in page}) == 6


def test_filters_and_weights_work_as_on_the_command_line(
    client: FlaskClient, ids: dict[str, int]
) -> None:
    found = get(client, "/api/search?q=blue+folder:holiday&min_relevance=0")
    assert {hit["id"] for hit in found["hits"]} == {ids["red"], ids["green"]}


def test_explanations_come_with_the_hits(client: FlaskClient) -> None:
    found = get(client, "/api/search?q=red+-blue&k=1&explain=true&min_relevance=0")
    (why,) = found["explanations"]
    assert sum(term["contribution"] for term in why["terms"]) == pytest.approx(
        found["hits"][0]["score"], abs=1e-5
    )


def test_likes_move_the_search(client: FlaskClient, ids: dict[str, int]) -> None:
    plain = get(client, "/api/search?q=green&min_relevance=0")
    assert plain["hits"][0]["id"] == ids["green"]
    moved = get(client, f"/api/search?q=green&like={ids['blue']}&unlike={ids['green']}")
    assert hit_of(moved, ids["blue"])["score"] > hit_of(plain, ids["blue"])["score"] + 0.1


def test_uploaded_picture_finds_its_like(client: FlaskClient, ids: dict[str, int]) -> None:
    answer = client.post("/api/search", data={"image": (picture("green"), "x.png"), "k": "1"})
    assert [hit["id"] for hit in answer.get_json()["hits"]] == [ids["green"]]
    assert answer.get_json()["query"] == ""


def test_uploaded_picture_and_words_add_up(client: FlaskClient, ids: dict[str, int]) -> None:
    data = {"image": (picture("green"), "x.png"), "q": "+3:red folder:holiday"}
    answer = client.post("/api/search", data=data)
    assert [hit["id"] for hit in answer.get_json()["hits"]] == [ids["red"], ids["green"]]


def test_upload_leaves_nothing_behind(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    client.post("/api/search", data={"image": (picture("green"), "x.png")})
    client.post("/api/search", data={"image": (io.BytesIO(b"\xff\xd8\xff rubbish"), "x.jpg")})
    post(client, "/api/tag/preview", {"vocabulary": VOCABULARY})
    assert list(folder.iterdir()) == []


def test_similar_leaves_the_photo_itself_out(client: FlaskClient, ids: dict[str, int]) -> None:
    found = get(client, f"/api/photos/{ids['red']}/similar")
    assert ids["red"] not in {hit["id"] for hit in found["hits"]}
    assert len(found["hits"]) == 5


def test_facets_and_completion_count(client: FlaskClient) -> None:
    facets = get(client, "/api/facets")
    assert {each["value"]: each["count"] for each in facets["folders"]} == {
        "photos/holiday": 2,
        "photos/home": 4,
    }
    assert get(client, "/api/facets?q=folder:holiday")["photos"] == 2
    offered = get(client, "/api/complete?q=holi")
    assert [each["value"] for each in offered["folders"]] == ["photos/holiday"]
    keys = {each["key"]: each for each in offered["keys"]}
    assert keys["orientation"]["values"] == ["portrait", "landscape", "square"]
    assert keys["after"]["example"].startswith("after:")


def test_query_is_read_into_chips_that_write_it_again(client: FlaskClient) -> None:
    found = get(client, "/api/read?q=dog+-2:%22red+ball%22+-camera:iphone")
    assert [(term["value"], term["weight"]) for term in found["terms"]] == [
        ("dog", 1),
        ("red ball", -2),
    ]
    assert [(each["key"], each["negated"]) for each in found["filters"]] == [("camera", True)]
    parts = [each["text"] for each in (*found["terms"], *found["filters"])]
    assert " ".join(parts) == found["query"]


def test_photo_tells_what_is_known_of_it(client: FlaskClient, ids: dict[str, int]) -> None:
    found = get(client, f"/api/photos/{ids['blue']}")
    assert found["name"] == "blue.png"
    assert found["facts"]["format"] == "PNG"
    assert found["tags"] == []
    assert found["alt_text"] is None
    assert found["there"]
    assert found["inline"]


def test_tags_are_added_removed_and_given_back(client: FlaskClient, ids: dict[str, int]) -> None:
    address = f"/api/photos/{ids['red']}/tags"
    added = post(client, address, {"add": ["holiday", "beach/sea"]})
    assert [tag["label"] for tag in added["tags"]] == ["beach/sea", "holiday"]
    assert get(client, "/api/tags")["tags"] == [
        {"tag": "beach/sea", "photos": 1},
        {"tag": "holiday", "photos": 1},
    ]
    assert post(client, address, {"remove": ["holiday"], "reset": ["beach/sea"]})["tags"] == []


def test_alt_text_is_written_proposed_accepted_and_rejected(
    client: FlaskClient, ids: dict[str, int]
) -> None:
    address = f"/api/photos/{ids['red']}/alt-text"
    assert post(client, address, {"accept": True}, 400)["error"].startswith("nothing is proposed")
    texts = ["something red", "something blue", "something green"]
    job = finished(client, post(client, "/api/alt-text/propose", {"texts": texts}, 202))
    assert job["state"] == "done"
    waiting = get(client, "/api/alt-text/proposals")
    proposed = {each["photo_id"]: each["text"] for each in waiting["proposals"]}
    assert proposed[ids["red"]] == "something red"
    assert post(client, address, {"accept": True})["alt_text"] == {
        "text": "something red",
        "state": "accepted",
    }
    assert get(client, "/api/alt-text/proposals")["total"] == waiting["total"] - 1
    assert post(client, address, {"text": "A wall"})["alt_text"]["state"] == "edited"
    blue = f"/api/photos/{ids['blue']}/alt-text"
    rejected = post(client, blue, {"reject": True})
    assert (rejected["alt_text"], rejected["proposal"]) == (None, None)
    total = get(client, "/api/alt-text/proposals")["total"]
    assert post(client, blue, {"reset": True})["proposal"]["text"] == "something blue"
    assert get(client, "/api/alt-text/proposals")["total"] == total + 1
    assert get(client, "/api/search?q=red&k=1")["hits"][0]["alt_text"] == "A wall"
    for body in ({}, {"text": "x", "accept": True}, {"accept": False}):
        assert (
            post(client, address, body, 400)["error"]
            == "give one of text, accept, reject and reset"
        )


def test_classification_teaches_what_to_beware_of(client: FlaskClient, ids: dict[str, int]) -> None:
    body = {"photo": ids["red"], "labels": ["red", "blue"], "temperature": 0.5}
    found = post(client, "/api/classify", body)
    assert [label["label"] for label in found["labels"]] == ["red", "blue"]
    assert found["near"] == []
    assert len(get(client, "/api/templates")["templates"]) == len(found["templates"]) > 1
    assert sum(label["probability"] for label in found["labels"]) == pytest.approx(1)
    assert found["logit_scale"] == 2
    assert found["warnings"][-1]["kind"] == "no-background"
    body["labels"] = ["red", "blue", "something else"]
    assert post(client, "/api/classify", body)["warnings"] == []


def test_lower_temperature_makes_the_model_surer(client: FlaskClient, ids: dict[str, int]) -> None:
    def best(temperature: float) -> float:
        body = {"photo": ids["red"], "labels": ["red", "yellow"], "temperature": temperature}
        probability: float = post(client, "/api/classify", body)["labels"][0]["probability"]
        return probability

    assert best(0.01) > best(0.1) > best(1) > 0.5


def test_captions_rank_for_a_photo_and_for_an_upload(
    client: FlaskClient, ids: dict[str, int]
) -> None:
    texts = ["all blue", "all red"]
    found = post(client, "/api/captions", {"photo": ids["red"], "texts": texts})
    assert [each["text"] for each in found["captions"]] == ["all red", "all blue"]
    data = {"image": (picture("blue"), "x.png"), "texts": texts}
    assert client.post("/api/captions", data=data).get_json()["captions"][0]["text"] == "all blue"
    assert len(post(client, "/api/captions", {"photo": ids["red"], "k": 3})["captions"]) == 3
    body = {"texts": texts}
    assert "one of photo" in post(client, "/api/captions", body, 400)["error"]


def test_tagging_previews_runs_and_is_undone(client: FlaskClient, ids: dict[str, int]) -> None:
    seen = post(client, "/api/tag/preview", {"vocabulary": VOCABULARY, "sample": 6})
    assert get(client, "/api/runs")["runs"] == []
    job = post(client, "/api/tag", {"vocabulary": VOCABULARY}, 202)
    done = finished(client, job)
    assert done["state"] == "done"
    assert done["result"]["photos"] == 6
    for photo in seen["photos"]:
        stored = get(client, f"/api/photos/{photo['id']}")["tags"]
        assert {tag["label"] for tag in stored} == {tag["label"] for tag in photo["tags"]}
    run = done["result"]["run"]
    assert get(client, "/api/runs")["runs"][0]["id"] == run
    assert post(client, f"/api/runs/{run}/undo", None)["run"] == run
    assert get(client, "/api/tags")["tags"] == []
    assert post(client, f"/api/runs/{run}/undo", None, 400)["error"].endswith("undone already")
    assert get(client, f"/api/photos/{ids['red']}")["tags"] == []
    post(client, "/api/runs/77/undo", None, 404)


def test_vocabulary_errors_name_the_place_and_no_file(client: FlaskClient) -> None:
    for text, place in (("[group.a]\nlabels = [", "line 2"), ("a\na\n", "line 2")):
        for address in ("/api/tag", "/api/tag/preview"):
            error = post(client, address, {"vocabulary": text}, 400)["error"]
            assert error.startswith("the vocabulary")
            assert place in error
            assert "/tmp" not in error


def test_default_vocabulary_can_be_sent_back(client: FlaskClient) -> None:
    found = get(client, "/api/vocabulary")
    again = post(client, "/api/tag/preview", {"vocabulary": found["text"], "sample": 1})
    assert again["labels"] == found["labels"] > 100


def test_tagged_photos_come_best_first_or_least_sure_first(
    client: FlaskClient, served: ServedLibrary, ids: dict[str, int]
) -> None:
    vocabulary = "colour/red = orange, magenta\ncolour/blue = cyan\n"
    finished(client, post(client, "/api/tag", {"vocabulary": vocabulary}, 202))
    served.edit_tags(ids["black"], add=["colour/red"])
    best = get(client, "/api/tag/photos?tag=COLOUR")
    scores = [each["tag"]["score"] for each in best["photos"]]
    assert best["photos"][0]["id"] == ids["black"]
    assert scores[0] is None
    assert scores[1:] == sorted(scores[1:], reverse=True)
    worst = get(client, "/api/tag/photos?tag=colour&order=borderline&k=1")
    assert [each["tag"]["score"] for each in worst["photos"]] == (
        [min(scores[1:])] if scores[1:] else []
    )


def test_saved_searches_tell_what_is_new(
    client: FlaskClient, served: ServedLibrary, paint: Paint
) -> None:
    body = {"name": "From home", "query": "folder:home"}
    assert post(client, "/api/saved", body, 201)["new"] == 0
    assert "there already" in post(client, "/api/saved", body, 400)["error"]
    paint("home/orange.png", "orange")
    served.index()
    assert [each["new"] for each in get(client, "/api/saved")["saved"]] == [1]
    new = get(client, "/api/saved/From%20home/new")["hits"]
    assert [hit["name"] for hit in new] == ["orange.png"]
    assert len(post(client, "/api/saved/from%20home/new", None)["hits"]) == 1
    assert get(client, "/api/saved/From%20home/new")["hits"] == []
    assert client.delete("/api/saved/From%20home").status_code == 200
    assert client.delete("/api/saved/From%20home").status_code == 404


def test_index_job_finds_new_photos_and_takes_no_paths(
    client: FlaskClient, photos: Path, paint: Paint, tmp_path: Path
) -> None:
    paint("late/orange.png", "orange")
    before = get(client, "/api/status")
    error = post(client, "/api/index", {"roots": [str(tmp_path)]}, 400)["error"]
    assert "follows already" in error
    done = finished(client, post(client, "/api/index", {"roots": [str(photos)]}, 202))
    assert done["result"]["added"] == 1
    after = get(client, "/api/status")
    assert (before["photos"], after["photos"]) == (6, 7)
    assert after["revision"] > before["revision"]
    assert get(client, "/api/search?q=orange&k=1")["hits"][0]["name"] == "orange.png"


def test_several_ranges_of_an_original_are_answered_with_all_of_it(
    client: FlaskClient, ids: dict[str, int]
) -> None:
    address = f"/api/photos/{ids['red']}/original"
    whole = client.get(address, buffered=True).data
    for wanted in ("bytes=0-1,5-6", "bytes=5-2", "lines=0-1", "nonsense"):
        answer = client.get(address, headers={"Range": wanted}, buffered=True)
        assert (answer.status_code, answer.data) == (200, whole), wanted
    part = client.get(address, headers={"Range": "bytes=-3"}, buffered=True)
    assert (part.status_code, part.data) == (206, whole[-3:])


def test_skipped_files_have_their_reasons(
    client: FlaskClient, photos: Path, served: ServedLibrary
) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    served.index()
    found = get(client, "/api/skipped")
    assert found["total"] == 1
    assert found["skipped"][0]["path"].endswith("broken.jpg")
    assert found["skipped"][0]["reason"]


@pytest.mark.parametrize(("form", "kind"), [("csv", "text/csv"), ("html", "text/html")])
def test_export_is_a_file_to_download(client: FlaskClient, form: str, kind: str) -> None:
    answer = client.get(f"/api/export?to={form}&q=folder:holiday")
    assert answer.mimetype == kind
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "red.png" in answer.get_data(as_text=True)
    assert "blue.png" not in answer.get_data(as_text=True)


def test_export_in_json_has_every_photo(client: FlaskClient) -> None:
    assert len(json.loads(client.get("/api/export?to=json").data)) == 6


def test_models_are_listed_and_paths_are_no_names(client: FlaskClient) -> None:
    found = get(client, "/api/models")
    assert found["in_use"] == "colours"
    assert {"starter", "ViT-B-32/openai"} <= {each["name"] for each in found["models"]}
    error = post(client, "/api/models/use", {"name": "ViT-B-32//etc/passwd"}, 400)["error"]
    assert "can be chosen here" in error


def test_openapi_document_lists_every_route(client: FlaskClient) -> None:
    document = get(client, "/openapi.json")
    assert document["openapi"].startswith("3.1")
    app = client.application
    rules = {rule.rule for rule in app.url_map.iter_rules()} - {
        "/",
        "/login",
        "/logout",
        "/static/<path:name>",
    }
    assert len(document["paths"]) == len(rules)
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(names) == len(set(names))


def test_name_that_is_no_utf8_comes_back_whole(
    client: FlaskClient, served: ServedLibrary, photos: Path
) -> None:
    target = bytes(photos) + b"/caf\xe9 <img src=x onerror=alert(1)>.png"
    Path(target.decode("utf-8", "surrogateescape")).write_bytes(picture("orange").getvalue())
    served.index()
    hit = get(client, "/api/search?q=orange&k=1")["hits"][0]
    assert hit["path"].encode("utf-8", "surrogateescape") == target
    answer = client.get(f"/api/photos/{hit['id']}/original", buffered=True)
    assert answer.status_code == 200
    assert "<img" not in answer.headers["Content-Disposition"].split("filename*")[1]
