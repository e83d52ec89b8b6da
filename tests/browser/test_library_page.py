"""The Library view in a real browser: folders, progress, skipped files, models, saved searches."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipsearch import Library
from clipsearch.library.serving import ServedLibrary
from tests.browser.conftest import HOSTILE, PHONE, NewPage, Site, Watch, violations
from tests.browser.test_archive_page import listening
from tests.conftest import Paint
from tests.fakes import ColourEmbedder

if TYPE_CHECKING:
    from playwright.sync_api import Page

ADDRESS = "/?view=library"
COLOURS = ("red", "green", "blue")
HOSTILE_TEXT = HOSTILE.replace(".jpg", ".txt")
PATIENCE = 15.0


class SlowEmbedder(ColourEmbedder):
    """Sees colours, but waits before each batch until `go` is set: work can be watched."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()

    def images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        if not self.go.wait(PATIENCE):
            raise TimeoutError("nobody let the work go on")
        return super().images(images)


@pytest.fixture
def embedder() -> SlowEmbedder:
    return SlowEmbedder()


@pytest.fixture
def empty_site(tmp_path: Path, photos: Path, embedder: SlowEmbedder) -> Iterator[Site]:
    """A library that follows no folder yet."""
    with ServedLibrary(tmp_path / "library", embedder) as library, listening(library) as url:
        yield Site(url, library, photos)


@pytest.fixture
def site(empty_site: Site, paint: Paint, photos: Path) -> Site:
    """Three photos, and files that are none."""
    for colour in COLOURS:
        paint(f"{colour}.png", colour)
    (photos / "letter.txt").write_text("no photo")
    (photos / "notes.txt").write_text("no photo either")
    (photos / HOSTILE_TEXT).write_text("still none")
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    assert empty_site.library.index(photos).added == len(COLOURS)
    return empty_site


def fact(page: Page, name: str) -> str:
    return page.locator(".fact", has_text=name).locator("dd").inner_text()


def photos_are(page: Page, number: int) -> None:
    page.locator(".fact:first-child dd").get_by_text(str(number), exact=True).wait_for()


def test_shows_what_the_library_holds(new_page: NewPage, site: Site) -> None:
    page = new_page(ADDRESS)
    page.locator(".root").wait_for()
    status = site.library.status()
    assert fact(page, "Photos") == str(status.photos) == "3"
    assert fact(page, "Model") == "colours"
    assert fact(page, "Dimensions") == str(status.dimensions)
    assert fact(page, "Revision") == str(status.revision)
    assert page.locator(".root .grow").all_inner_texts() == [str(site.photos)]


def test_a_refresh_shows_progress_and_what_came_of_it(
    new_page: NewPage, site: Site, paint: Paint, embedder: SlowEmbedder
) -> None:
    for number in range(9):
        paint(f"new {number}.png", (200, 20 * number, 40))
    page = new_page(ADDRESS)
    refresh = page.get_by_role("button", name="Look for changes").first
    embedder.go.clear()
    refresh.click()
    # A file that was just written may be looked at once more, the broken one too.
    page.get_by_text(re.compile(r"Looking at new photos · 0 of (9|10) photos")).wait_for()
    assert refresh.is_disabled()
    assert page.get_by_role("progressbar", name="Looking for changes").is_visible()
    embedder.go.set()
    page.locator(".notice-done", has_text="9 added; 3 as before").wait_for()
    photos_are(page, 12)
    assert refresh.is_enabled()
    assert site.library.status().photos == 12


def test_work_is_stopped_and_goes_on_when_started_again(
    new_page: NewPage, site: Site, paint: Paint, embedder: SlowEmbedder
) -> None:
    for number in range(30):  # several batches
        paint(f"new {number}.png", (200, 8 * number, 40))
    page = new_page(ADDRESS)
    refresh = page.get_by_role("button", name="Look for changes").first
    embedder.go.clear()
    refresh.click()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("Stopping…").wait_for()
    embedder.go.set()
    page.locator(".notice", has_text="Stopped; start it again to go on.").wait_for()
    assert 3 < site.library.status().photos < 33
    refresh.click()
    page.locator(".notice-done", has_text="added").wait_for()
    photos_are(page, 33)


def test_progress_is_still_there_after_looking_elsewhere(
    new_page: NewPage, site: Site, paint: Paint, embedder: SlowEmbedder
) -> None:
    paint("new.png", "white")
    page = new_page(ADDRESS)
    embedder.go.clear()
    page.get_by_role("button", name="Look for changes").first.click()
    page.get_by_role("progressbar").wait_for()
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Search").click()
    page.locator("#view-library").wait_for(state="hidden")
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Library").click()
    page.get_by_role("progressbar").wait_for()
    embedder.go.set()
    page.locator(".notice-done", has_text="1 added").wait_for()


def test_one_folder_alone_is_refreshed(
    new_page: NewPage, site: Site, paint: Paint, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (20, 20), (0, 200, 200)).save(other / "cyan.png")
    site.library.index(other)
    Image.new("RGB", (20, 20), (200, 0, 200)).save(other / "magenta.png")
    paint("late.png", "white")
    page = new_page(ADDRESS)
    page.get_by_role("button", name=f"Look for changes in {other}").click()
    page.locator(".notice-done", has_text="1 added").wait_for()
    names = {Path(hit.path).name for hit in site.library.search("id:1..", k=100)}
    assert "magenta.png" in names
    assert "late.png" not in names


def test_numbers_follow_another_process(
    new_page: NewPage, site: Site, paint: Paint, tmp_path: Path
) -> None:
    page = new_page(ADDRESS)
    photos_are(page, 3)
    paint("late.png", "white")
    with Library(tmp_path / "library", ColourEmbedder()) as other:
        other.index()
    photos_are(page, 4)


def test_skipped_files_are_grouped_by_reason_and_filtered(new_page: NewPage, site: Site) -> None:
    page = new_page(ADDRESS)
    groups = page.locator(".skipped-group")
    groups.first.wait_for()
    files = site.library.skipped()
    assert len(files) == 4
    reasons = {each.reason for each in files}
    assert groups.count() == len(reasons) == 2
    assert "3 files" in groups.first.inner_text()
    groups.first.locator("summary").click()
    shown = groups.first.locator(".skipped-list li").all_inner_texts()
    assert sorted(shown) == sorted(each.path for each in files if each.path.endswith(".txt"))
    page.get_by_label("Find in skipped files").fill("LETTER")
    page.get_by_text("1 file of 4").wait_for()
    assert page.locator(".skipped-list li").all_inner_texts() == [str(site.photos / "letter.txt")]
    page.get_by_label("Find in skipped files").fill("zzz")
    page.get_by_text("No skipped file has these letters.").wait_for()


def test_the_switch_of_the_model_says_what_it_costs_and_can_be_left(
    new_page: NewPage, site: Site
) -> None:
    page = new_page(ADDRESS)
    used = page.get_by_role("row", name="colours")
    used.wait_for()
    assert "In use" in used.inner_text()
    recommended = page.get_by_role("row", name="ViT-B-32-256/datacomp_s34b_b86k")
    figures = recommended.get_by_role("cell").all_inner_texts()
    assert figures[:5] == ["151.3 M", "256", "512", "39.9", "72.8"]
    recommended.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    assert "All 3 photos are looked at again" in dialog.inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == (
        "Use ViT-B-32-256/datacomp_s34b_b86k"
    )
    assert site.library.status().model == "colours"


def test_saved_searches_count_what_is_new(new_page: NewPage, site: Site, paint: Paint) -> None:
    site.library.save_search("Evening light", "red")
    paint("crimson.png", (250, 4, 4))
    site.library.index(site.photos)
    page = new_page(ADDRESS)
    row = page.locator(".saved-row", has_text="Evening light")
    row.get_by_text("1 new").wait_for()
    row.get_by_role("link").click()
    page.wait_for_url("**/?q=red")
    page.go_back()
    row.get_by_text("nothing new").wait_for()


def test_a_saved_search_is_removed_and_put_back(new_page: NewPage, site: Site) -> None:
    site.library.save_search("Evening light", "red", sort="date")
    page = new_page(ADDRESS)
    page.get_by_role("button", name="Remove Evening light").click()
    page.locator(".toast", has_text="is removed").wait_for()
    assert site.library.saved_searches() == []
    page.locator(".toast").get_by_role("button", name="Undo").click()
    page.locator(".saved-row", has_text="Evening light").wait_for()
    [saved] = site.library.saved_searches()
    assert (saved.name, saved.query, saved.sort) == ("Evening light", "red", "date")


def test_a_refresh_that_fails_says_why(
    new_page: NewPage, site: Site, photos: Path, watch: Watch
) -> None:
    watch.refusals = True
    page = new_page(ADDRESS)
    page.locator(".root").wait_for()
    photos.rename(photos.with_name("unplugged"))
    page.get_by_role("button", name="Look for changes").first.click()
    page.locator(".job .notice").first.wait_for()
    assert str(photos) in page.locator(".job").first.inner_text()
    assert site.library.status().photos == len(COLOURS)


class TestEmpty:
    """An empty library, until its first folder comes."""

    @pytest.fixture
    def site(self, empty_site: Site) -> Site:
        return empty_site

    def test_says_what_to_run_and_fills_by_itself(
        self, new_page: NewPage, site: Site, paint: Paint
    ) -> None:
        page = new_page(ADDRESS)
        page.get_by_role("heading", name="This library is empty").wait_for()
        assert page.locator(".command code").inner_text() == "clipsearch index ~/Pictures"
        assert violations(page) == []
        paint("red.png", "red")
        site.library.index(site.photos)
        page.locator(".root").wait_for()
        assert fact(page, "Photos") == "1"


def test_hostile_names_are_text(new_page: NewPage, site: Site) -> None:
    site.library.save_search(HOSTILE, "red")
    page = new_page(ADDRESS)
    page.get_by_label("Find in skipped files").fill("taken over")
    page.locator(".skipped-list li", has_text=HOSTILE_TEXT).wait_for()
    page.locator(".saved-name", has_text=HOSTILE).wait_for()
    assert page.locator("img[src=x], script:not([src])").count() == 0
    assert page.title() == "Library · clipsearch"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), PHONE])
def test_the_library_has_no_serious_barrier_and_fits(
    new_page: NewPage, site: Site, scheme: str, size: tuple[int, int]
) -> None:
    site.library.save_search("Evening light", "red")
    page = new_page(ADDRESS, scheme=scheme, size=size)
    page.locator(".skipped-group").first.click()
    page.locator(".saved-row").wait_for()
    page.locator(".models [aria-current]").wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
