"""The service with the starter model and real photos."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from clipsearch.library.serving import ServedLibrary
from clipsearch.service import create_app


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[ServedLibrary]:
    with ServedLibrary(tmp_path / "library", "starter") as library:
        yield library


@pytest.fixture
def photo(shared: Path) -> Path:
    return shared / "captions" / "coco" / "000000007281.jpg"  # a dog on a beach


def test_explainer_warns_of_words_for_one_thing(starter: ServedLibrary, photo: Path) -> None:
    client: FlaskClient = create_app(starter).test_client()
    labels = ["dog", "puppy", "sailing boat", "something else"]
    data = {"image": (io.BytesIO(photo.read_bytes()), "x.jpg"), "labels": labels}
    found = client.post("/api/classify", data=data).get_json()
    assert found["labels"][0]["label"] == "dog"
    assert [(pair["one"], pair["other"]) for pair in found["near"]] == [("dog", "puppy")]
    assert [each["kind"] for each in found["warnings"]] == ["near-synonyms"]


def test_upload_is_embedded_as_the_file_itself(starter: ServedLibrary, photo: Path) -> None:
    client: FlaskClient = create_app(starter).test_client()
    texts = ["a dog on a beach", "a kitchen"]
    data = {"image": (io.BytesIO(photo.read_bytes()), "x.jpg"), "texts": texts}
    sent = client.post("/api/captions", data=data).get_json()["captions"]
    own = starter.captions(photo, texts)
    assert [each["text"] for each in sent] == [each.text for each in own]
    assert np.allclose([each["cosine"] for each in sent], [each.cosine for each in own], atol=1e-4)
