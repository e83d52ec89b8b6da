"""The Archive in a real browser: tag, review, captions, runs, export."""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from clipsearch.library.serving import ServedLibrary
from clipsearch.service.labels import read_vocabulary
from clipsearch.service.server import Server
from tests.browser.conftest import HOSTILE, PHONE, NewPage, Site, Watch, violations
from tests.fakes import COLOURS, ColourEmbedder

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TABS = ("", "&tab=review", "&tab=captions", "&tab=runs", "&tab=export")
TAG, REVIEW, CAPTIONS, RUNS, EXPORT = (f"/?view=archive{tab}" for tab in TABS)
NAMES = ("red", "green", "blue", "yellow", "black")
EACH = 6
GREYS = 40
SAMPLE = 60
PHOTOS = len(NAMES) * EACH + GREYS + 1
HOSTILE_LABEL = "<img src=x onerror=document.title='taken'>"
LABELS = """
name = "colours"
templates = ["{}"]

[group.colour]
labels = [ # four dimensions leave little room to stand out in
  { name = "red", threshold = 0.05 },
  { name = "green", threshold = 0.05 },
  { name = "blue", threshold = 0.05 },
]
"""
SENTENCES = [f"Something {name} here" for name in NAMES]


def paint(folder: Path) -> None:
    """Paint darker and darker pictures of each colour, many greys, and one with a bad name."""
    for name in NAMES:
        for number in range(EACH):
            colour = tuple(round(part * (1 - 0.07 * number)) for part in COLOURS[name])
            Image.new("RGB", (48, 32 + number), colour).save(folder / f"{name} {number}.png")
    for number in range(GREYS):
        shade = tuple(100 + (number * step) % 50 for step in (7, 11, 13))
        Image.new("RGB", (24, 24), shade).save(folder / f"grey {number}.png")
    Image.new("RGB", (50, 40), (250, 5, 5)).save(folder / HOSTILE)


@contextmanager
def listening(library: ServedLibrary) -> Iterator[str]:
    """Serve a library as `clipsearch serve` does; gives the address."""
    with Server(library) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield server.url.rstrip("/")
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def site(tmp_path: Path, photos: Path, embedder: ColourEmbedder) -> Iterator[Site]:
    """A small library of its own for each test: these change it."""
    paint(photos)
    with ServedLibrary(tmp_path / "library", embedder) as library:
        assert library.index(photos).added == PHOTOS
        with listening(library) as url:
            yield Site(url, library, photos)


@pytest.fixture
def tagged(site: Site, tmp_path: Path) -> Site:
    """The same, tagged with three colours."""
    file = tmp_path / "colours.toml"
    file.write_text(LABELS)
    site.library.tag(file)
    return site


@pytest.fixture
def captioned(site: Site) -> Site:
    """The same, with a caption proposed for each photo."""
    report = site.library.propose_alt_text(SENTENCES)
    assert report.proposed > EACH
    return site


def write_labels(page: Page, text: str) -> None:
    page.get_by_role("button", name="Your own").click()
    page.get_by_label("Your labels").fill(text)


def toast(page: Page, text: str) -> Locator:
    return page.locator(".toast", has_text=text)


def tags_of(site: Site, photo: int) -> dict[str, str]:
    return {tag.label: tag.origin for tag in site.library.tags(photo)}


def has_tag(site: Site, photo: int, label: str) -> bool:
    return label in tags_of(site, photo)


def eventually(page: Page, holds: Callable[[], bool]) -> None:
    """Wait until `holds()` is true: the server answers a little later than the page."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(50)
    assert holds()


# Tag


def test_tags_the_library_and_takes_it_back(new_page: NewPage, site: Site) -> None:
    page = new_page(TAG)
    write_labels(page, LABELS)
    page.get_by_role("button", name=f"Tag {PHOTOS} photos").click()
    page.locator(".notice-done").wait_for()
    given = sum(count for _, count in site.library.tag_counts())
    assert given > 0
    ending = page.locator(".notice-done").inner_text()
    assert f"{given} tags on {PHOTOS} photos, with 3 labels." in ending
    page.locator(".notice-done").get_by_role("button", name="Undo").click()
    toast(page, "is undone").wait_for()
    assert site.library.tag_counts() == []
    assert [run.undone for run in site.library.runs()] == [True]
    assert page.locator(".notice-done").count() == 0


def test_the_run_goes_on_while_another_part_is_open(new_page: NewPage, site: Site) -> None:
    page = new_page(TAG)
    write_labels(page, LABELS)
    page.get_by_role("button", name=f"Tag {PHOTOS} photos").click()
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("heading", name="Tags: colours").wait_for()
    page.get_by_role("link", name="Tag", exact=True).click()
    page.locator(".notice-done").wait_for()


def test_a_mistake_in_the_labels_is_shown_with_its_line(
    new_page: NewPage, watch: Watch, site: Site
) -> None:
    watch.refusals = True
    page = new_page(TAG)
    write_labels(page, "red\ngreen\nblue\nred = crimson\n")
    page.get_by_role("button", name="Preview on a sample").click()
    problem = page.get_by_role("alert").filter(has_text="line 4")
    problem.wait_for()
    assert "red" in problem.inner_text()
    assert page.locator(".gutter mark").inner_text() == "4"
    assert page.get_by_label("Your labels").get_attribute("aria-invalid") == "true"
    page.get_by_role("button", name="Go to line 4").click()
    chosen = page.evaluate(
        "(a => a.value.slice(a.selectionStart, a.selectionEnd))(document.activeElement)"
    )
    assert chosen == "red = crimson"
    page.get_by_role("button", name=f"Tag {PHOTOS} photos").click()
    page.get_by_role("alert").filter(has_text="line 4").wait_for()
    assert site.library.runs() == []
    page.get_by_label("Your labels").fill("red\n")
    assert not problem.is_visible()


def test_a_mistake_in_toml_names_its_line_or_its_group(new_page: NewPage, watch: Watch) -> None:
    watch.refusals = True
    page = new_page(TAG)
    write_labels(page, "[group.colour]\nlabels = [\n")
    page.get_by_role("button", name="Preview on a sample").click()
    page.locator(".gutter mark").wait_for()
    assert page.locator(".gutter mark").inner_text() == "2"
    page.get_by_label("Your labels").fill('name = "x"\n\n[group.colour]\nlabels = [7]\n')
    page.get_by_role("button", name="Preview on a sample").click()
    page.locator(".gutter mark").wait_for()
    assert page.locator(".gutter mark").inner_text() == "3"


def test_a_preview_counts_labels_and_stores_nothing(new_page: NewPage, site: Site) -> None:
    before = site.library.identity()
    page = new_page(TAG)
    write_labels(page, LABELS)
    page.get_by_role("button", name="Preview on a sample").click()
    row = page.locator(".preview-list .preview-row").first
    row.wait_for()
    effects = site.library.preview_tags(read_vocabulary(LABELS), sample=SAMPLE)
    counts: dict[str, int] = {}
    for effect in effects:
        for tag in effect.tags:
            counts[tag.label] = counts.get(tag.label, 0) + 1
    shown = page.evaluate(
        """[...document.querySelectorAll('.preview-list .preview-row')].map(row =>
             [row.querySelector('h3').textContent, row.querySelectorAll('img').length,
              row.querySelector('.small').textContent])"""
    )
    assert {name: text for name, _, text in shown} == {
        name: f"{number} of {SAMPLE}" for name, number in counts.items()
    }
    assert all(0 < thumbnails <= 6 for _, thumbnails, _ in shown)
    assert "Nothing is stored" in page.locator(".preview").inner_text()
    assert site.library.identity() == before
    assert (site.library.tag_counts(), site.library.runs()) == ([], [])


def test_the_preview_says_what_is_doubtful_about_the_labels(new_page: NewPage) -> None:
    page = new_page(TAG)
    write_labels(page, '[group.colour]\nchoose = "one"\nlabels = ["red", "blue"]\n')
    page.get_by_role("button", name="Preview on a sample").click()
    page.locator(".remarks li").first.wait_for()
    assert "background" in page.locator(".remarks").inner_text()


def test_narrows_the_run_by_a_search(new_page: NewPage, watch: Watch, site: Site) -> None:
    watch.refusals = True
    page = new_page(TAG)
    write_labels(page, LABELS)
    narrow = page.get_by_label("Only photos that answer this search")
    narrow.fill("name:red*")
    page.get_by_role("button", name=f"Tag {EACH} photos").wait_for()
    narrow.fill("zorp:1")
    page.locator(".scope-error", has_text="zorp").wait_for()
    assert page.get_by_role("button", name="Tag the photos").is_disabled()
    narrow.fill("name:red*")
    page.get_by_role("button", name=f"Tag {EACH} photos").click()
    page.locator(".notice-done").wait_for()
    assert site.library.runs()[0].photos == EACH


def test_the_shipped_labels_can_be_copied_kept_and_opened_from_a_file(
    new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page(TAG)
    page.get_by_text(re.compile(r"^\d+ labels for photos")).wait_for()
    page.get_by_role("button", name="Edit a copy").click()
    field = page.get_by_label("Your labels")
    assert "[group." in field.input_value()
    file = tmp_path / "mine.txt"
    file.write_text("red = crimson\n")
    page.get_by_label("File with labels").set_input_files(file)
    eventually(page, lambda: field.input_value() == "red = crimson\n")
    page.reload()
    assert page.get_by_label("Your labels").input_value() == "red = crimson\n"


# Review


def test_review_shows_the_surest_the_least_sure_and_the_nearest_without(
    new_page: NewPage, tagged: Site
) -> None:
    page = new_page(f"{REVIEW}&tag=red")
    page.locator(".tag-tile").first.wait_for()
    has = [each.id for each in tagged.library.tagged("red")]
    rows = {
        title: page.evaluate(
            "title => [...document.querySelectorAll(`[aria-label='${title}'] > .tag-grid "
            ".tag-tile`)].map(tile => [Number(tile.dataset.id), tile.ariaPressed])",
            title,
        )
        for title in ("Best", "Borderline", "Unlikely")
    }
    assert [photo for photo, _ in rows["Best"]] == has[: len(rows["Best"])]
    assert [photo for photo, _ in rows["Borderline"]] == has[len(rows["Best"]) :][::-1]
    assert {pressed for _, pressed in rows["Best"] + rows["Borderline"]} == {"true"}
    assert rows["Unlikely"]
    assert {pressed for _, pressed in rows["Unlikely"]} == {"false"}
    assert not {photo for photo, _ in rows["Unlikely"]} & set(has)


def test_a_click_takes_a_tag_and_undo_gives_it_back(new_page: NewPage, tagged: Site) -> None:
    page = new_page(f"{REVIEW}&tag=red")
    tile = page.locator(".tag-tile").first
    photo = int(tile.get_attribute("data-id") or 0)
    total = len(tagged.library.tagged("red"))
    tile.click()
    page.locator(f".tag-tile[data-id='{photo}'][aria-pressed=false]").wait_for()
    toast(page, "is taken from").wait_for()
    assert not has_tag(tagged, photo, "red")
    assert f"{total - 1} photos" in page.locator(".review-head").inner_text()
    toast(page, "is taken from").get_by_role("button", name="Undo").click()
    page.locator(f".tag-tile[data-id='{photo}'][aria-pressed=true]").wait_for()
    # The model's own decision is back, not one by hand.
    eventually(page, lambda: tags_of(tagged, photo).get("red") == "run")


def test_keys_move_toggle_and_go_to_the_next_tag(new_page: NewPage, tagged: Site) -> None:
    page = new_page(f"{REVIEW}&tag=red")
    page.locator(".tag-tile").first.wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    here = "Number(document.activeElement.dataset.id)"
    photo = page.evaluate(here)
    assert photo == tagged.library.tagged("red")[1].id
    page.keyboard.press("Space")
    eventually(page, lambda: not has_tag(tagged, photo, "red"))
    assert page.evaluate(here) == photo
    page.keyboard.press("End")
    without = page.evaluate(here)
    page.keyboard.press("Space")
    eventually(page, lambda: tags_of(tagged, without).get("red") == "hand")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    below = page.evaluate(here)
    page.keyboard.press("ArrowUp")
    assert page.evaluate(here) != below
    following = [tag for tag, _ in tagged.library.tag_counts()]
    page.locator(".tag-list [aria-current]", has_text="red").wait_for()
    order = page.locator(".tag-list a span:first-child").all_inner_texts()
    assert sorted(order) == sorted(following)
    at = order.index("red")
    key, wanted = ("n", order[at + 1]) if at + 1 < len(order) else ("p", order[at - 1])
    page.keyboard.press(key)
    page.locator(".review-head h2", has_text=wanted).wait_for()
    page.locator(".tag-tile:focus").wait_for()
    page.keyboard.press("Enter")
    page.locator("dialog.photo").wait_for()


def test_taking_a_tag_takes_those_below_it(new_page: NewPage, site: Site) -> None:
    photo = site.id_of("red 0.png")
    site.library.edit_tags(photo, add=["colour/red"])
    page = new_page(f"{REVIEW}&tag=colour")
    page.locator(f".tag-tile[data-id='{photo}']").click()
    page.locator(f".tag-tile[data-id='{photo}'][aria-pressed=false]").wait_for()
    eventually(page, lambda: tags_of(site, photo) == {})
    page.locator(f".tag-tile[data-id='{photo}']").click()
    eventually(page, lambda: tags_of(site, photo) == {"colour/red": "hand"})


def test_without_tags_review_says_what_to_do(new_page: NewPage) -> None:
    page = new_page(REVIEW)
    page.get_by_role("heading", name="No tags yet").wait_for()
    page.locator(".empty").get_by_role("link", name="Tag the library").click()
    page.get_by_role("heading", name="Labels").wait_for()


# Captions


def sentence(page: Page) -> str:
    return page.locator(".queue-text").inner_text()


def left(page: Page, number: int) -> None:
    page.locator(".queue-side [role=status]", has_text=f"{number} left").wait_for()


def test_captions_are_decided_by_keys(new_page: NewPage, captioned: Site) -> None:
    waiting = captioned.library.proposals()
    first, second, third = waiting[:3]
    page = new_page(CAPTIONS)
    left(page, len(waiting))
    assert sentence(page) == first.text
    assert f"{first.margin:.3f}" in page.locator(".queue-margin").inner_text()
    page.keyboard.press("a")
    left(page, len(waiting) - 1)
    accepted = captioned.library.alt_text(first.photo_id)
    assert accepted is not None
    assert (accepted.text, accepted.state) == (first.text, "accepted")
    page.keyboard.press("r")
    left(page, len(waiting) - 2)
    assert captioned.library.alt_text(second.photo_id) is None
    page.keyboard.press("e")
    field = page.get_by_label("Alt text")
    assert field.input_value() == third.text
    field.fill("A wall in one colour")
    page.keyboard.press("Enter")
    left(page, len(waiting) - 3)
    edited = captioned.library.alt_text(third.photo_id)
    assert edited is not None
    assert (edited.text, edited.state) == ("A wall in one colour", "edited")
    assert {each.photo_id for each in waiting[3:]} == {
        each.photo_id for each in captioned.library.proposals()
    }


def test_keys_walk_the_queue_without_deciding(new_page: NewPage, captioned: Site) -> None:
    waiting = captioned.library.proposals()
    page = new_page(CAPTIONS)
    left(page, len(waiting))

    def picture() -> int:
        return int(page.locator(".queue-picture").get_attribute("data-id") or 0)

    page.keyboard.press("j")
    eventually(page, lambda: picture() == waiting[1].photo_id)
    page.keyboard.press("ArrowRight")
    eventually(page, lambda: picture() == waiting[2].photo_id)
    page.keyboard.press("k")
    eventually(page, lambda: picture() == waiting[1].photo_id)
    page.keyboard.press("e")
    page.keyboard.type("jar")
    page.keyboard.press("Escape")
    assert sentence(page) == waiting[1].text
    assert len(captioned.library.proposals()) == len(waiting)


def test_a_decision_is_taken_back(new_page: NewPage, captioned: Site) -> None:
    waiting = captioned.library.proposals()
    page = new_page(CAPTIONS)
    left(page, len(waiting))
    page.keyboard.press("a")
    left(page, len(waiting) - 1)
    page.keyboard.press("r")
    left(page, len(waiting) - 2)
    page.keyboard.press("z")
    left(page, len(waiting) - 1)
    page.keyboard.press("z")
    left(page, len(waiting))
    assert sentence(page) == waiting[0].text
    assert captioned.library.proposals() == waiting
    assert captioned.library.alt_text(waiting[0].photo_id) is None


def test_all_captions_above_a_margin_are_accepted_after_a_question(
    new_page: NewPage, captioned: Site
) -> None:
    waiting = captioned.library.proposals()
    margin = round(waiting[len(waiting) // 2].margin, 3) + 0.001
    sure = [each for each in waiting if each.margin >= margin]
    assert 0 < len(sure) < len(waiting)
    page = new_page(CAPTIONS)
    page.get_by_text("Accept the sure ones at once").click()
    page.get_by_label("Margin of at least").fill(f"{margin:.3f}")
    page.get_by_role("button", name=f"Accept {len(sure)} caption").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    assert len(captioned.library.proposals()) == len(waiting)
    page.get_by_role("button", name=f"Accept {len(sure)} caption").click()
    dialog.get_by_role("button", name=f"Accept {len(sure)}").click()
    toast(page, f"{len(sure)} caption").wait_for()
    left(page, len(waiting) - len(sure))
    assert captioned.library.proposals() == waiting[len(sure) :]


def test_proposes_captions_from_sentences_of_ones_own(new_page: NewPage, site: Site) -> None:
    page = new_page(CAPTIONS)
    page.get_by_label("Sentences, one a line").fill("\n".join(SENTENCES))
    page.get_by_role("button", name=f"Propose captions for {PHOTOS} photos").click()
    page.locator(".notice-done").wait_for()
    waiting = site.library.proposals()
    assert waiting
    left(page, len(waiting))
    assert sentence(page) in SENTENCES
    page.locator(".notice-done").get_by_role("button", name="Undo").click()
    eventually(page, lambda: site.library.proposals() == [])


# Runs and export


def test_a_run_is_undone_and_asks_first_where_later_work_rests_on_it(
    new_page: NewPage, tagged: Site, tmp_path: Path
) -> None:
    tagged.library.tag(tmp_path / "colours.toml", "name:red*")
    page = new_page(RUNS)
    page.get_by_role("button", name="Undo run 1").click()
    dialog = page.get_by_role("dialog", name="Undo run 1?")
    assert "Run 2" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel").click()
    assert not any(run.undone for run in tagged.library.runs())
    page.get_by_role("button", name="Undo run 2").click()
    page.locator(".run-gone[data-run='2']").wait_for()
    page.get_by_role("button", name="Undo run 1").click()
    page.locator(".run-gone[data-run='1']").wait_for()
    assert all(run.undone for run in tagged.library.runs())
    assert tagged.library.tag_counts() == []


def test_exports_a_table_of_the_photos_that_answer(new_page: NewPage, tagged: Site) -> None:
    page = new_page(EXPORT)
    page.get_by_label("Only photos that answer this search").fill("name:red*")
    page.get_by_text(f"Tags and alt text of {EACH} photos.").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download: Table").click()
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8").splitlines()))
    assert sorted(Path(row["path"]).name for row in rows) == [f"red {n}.png" for n in range(EACH)]
    assert "clipsearch export --to xmp" in page.locator(".export").inner_text()


# Everywhere


def test_hostile_names_and_labels_are_text(new_page: NewPage, tagged: Site) -> None:
    photo = tagged.id_of(HOSTILE)
    tagged.library.edit_tags(photo, add=[HOSTILE_LABEL])
    tagged.library.accept_alt_text(photo, "Red.")
    page = new_page(REVIEW)
    page.get_by_role("link", name=HOSTILE_LABEL).click()
    page.locator(".review-head h2", has_text=HOSTILE_LABEL).wait_for()
    page.get_by_role("button", name=f"{HOSTILE}, by hand").wait_for()
    assert page.locator(".review-head h2").inner_text() == HOSTILE_LABEL
    assert page.locator("img[src=x], script:not([src])").count() == 0
    assert page.title() == "Archive · clipsearch"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_archive_has_no_serious_barrier(
    new_page: NewPage, tagged: Site, captioned: Site, scheme: str
) -> None:
    waits = (".chips", ".tag-tile", ".queue-text", ".run", ".export-forms [href]")
    for tab, there in zip(TABS, waits, strict=True):
        page = new_page(f"/?view=archive{tab}", scheme=scheme)
        page.locator(f"#view-archive {there}").first.wait_for()
        if tab == "":
            write_labels(page, LABELS)
            page.get_by_role("button", name="Preview on a sample").click()
            page.locator(".preview-list").wait_for()
        assert violations(page) == []
        page.close()


def test_the_archive_fits_a_phone(new_page: NewPage, tagged: Site, captioned: Site) -> None:
    long = "/".join(["unbreakable" * 6] * 3)
    tagged.library.edit_tags(tagged.id_of("red 0.png"), add=[long])
    for tab in (*TABS, f"&tab=review&tag={long}"):
        page = new_page(f"/?view=archive{tab}", size=PHONE)
        page.locator("#view-archive section:visible").first.wait_for()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        page.close()
