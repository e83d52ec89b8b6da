"""The page over photos and the starter model: from a phrase to tags and captions, and back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clipsearch.library.serving import ServedLibrary
from tests.browser.conftest import PHONE, NewPage, Site, served
from tests.conftest import SHARED

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PHOTOS = 24
PHRASE = "a bus on a street"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Site]:
    """A server over captioned photos, with the starter model."""
    source = SHARED / "captions" / "coco"
    if not source.is_dir():
        pytest.skip("needs the photos of ../shared/data")
    folder = tmp_path_factory.mktemp("real")
    photos = folder / "photos"
    photos.mkdir()
    for path in sorted(source.glob("*.jpg"))[:PHOTOS]:
        shutil.copy(path, photos)
    with ServedLibrary(folder / "library", "starter") as library:
        library.index(photos)
        with served(library) as url:
            yield Site(url, library, photos)


def title_of(path: str) -> str:
    return Path(path).name


@pytest.mark.parametrize("size", [(1440, 900), PHONE])
def test_a_phrase_finds_photos_best_first(
    new_page: NewPage, site: Site, size: tuple[int, int]
) -> None:
    page = new_page(f"/?q={PHRASE}&cut=all", size=size)
    expected = site.library.search(PHRASE, k=1, min_relevance=0).hits[0]
    page.locator(f".tile[data-index='0'] a[title='{title_of(expected.path)}']").wait_for()
    picture = page.locator(".tile[data-index='0'] img")
    picture.wait_for()
    picture.evaluate("image => image.decode()")  # waits until it is there, fails where it is none
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_a_photo_of_the_library_that_is_given_is_found_first(new_page: NewPage, site: Site) -> None:
    photo = sorted(site.photos.iterdir())[7]
    page = new_page("/")
    page.get_by_label("Picture to search by").set_input_files(photo)
    page.locator(f".tile[data-index='0'] a[title='{photo.name}']").wait_for()


def test_the_explainer_says_what_the_library_says(new_page: NewPage, site: Site) -> None:
    photo = site.library.search(PHRASE, k=1, min_relevance=0).hits[0].id
    page = new_page(f"/?photo={photo}&explain=1")
    labels = ["a person", "an animal", "a building", "food", "something else"]
    page.locator(".scores", has_text="something else").wait_for()
    best = site.library.classify(photo, labels)[0]
    assert f"{best.cosine:.3f}" in page.locator(".scores").inner_text()


def test_a_run_tags_the_photos_and_is_undone(new_page: NewPage, site: Site) -> None:
    page = new_page("/?view=archive")
    page.get_by_role("button", name="Your own").click()
    page.get_by_label("Your labels").fill("animal/horse\nvehicle/bus\nfood/pizza\nplace/beach\n")
    page.get_by_role("button", name=f"Tag {PHOTOS} photos").click()
    done = page.locator(".notice-done")
    done.wait_for(timeout=60_000)
    assert site.library.tag_counts()
    done.get_by_role("button", name="Undo").click()
    page.locator(".toast", has_text="is undone").wait_for()
    assert site.library.tag_counts() == []


def test_a_caption_is_reviewed_by_keys(new_page: NewPage, site: Site) -> None:
    site.library.propose_alt_text()
    first = site.library.proposals()[0]
    page = new_page("/?view=archive&tab=captions")
    page.get_by_text(first.text).first.wait_for()
    page.keyboard.press("a")
    page.get_by_text(site.library.proposals()[0].text).first.wait_for()
    accepted = site.library.alt_text(first.photo_id)
    assert accepted is not None
    assert (accepted.text, accepted.state) == (first.text, "accepted")
