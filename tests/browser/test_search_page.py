"""The page in a real browser: searching, looking at a photo, asking the model about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from clipsearch.errors import QueryError
from clipsearch.library.serving import ServedLibrary
from clipsearch.query import parse
from tests.browser.conftest import (
    HOSTILE,
    PHONE,
    PICTURES,
    WIDE,
    NewPage,
    Site,
    Watch,
    served,
    violations,
)
from tests.conftest import Paint
from tests.fakes import ColourEmbedder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

# A page that goes away in the middle of an answer leaves it to the collector to close the file.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <_io:pytest.PytestUnraisableExceptionWarning"
    ),
]

TILES = ".tile"


def state(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def search(page: Page, text: str) -> None:
    page.keyboard.press("Escape")
    page.locator("#query").fill(text)
    page.keyboard.press("Enter")


def settled(page: Page) -> None:
    """Wait until the photos of the present search are there."""
    page.locator(".search-results:not(.waiting)").wait_for(state="attached")
    page.locator(TILES).first.wait_for()


def until(page: Page, condition: str) -> None:
    """Wait for a condition; the page's own policy forbids what Playwright has for that."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never came true: {condition}")


def first_name(page: Page) -> str:
    """Return the file name of the best answer."""
    return page.locator(f"{TILES}[data-index='0'] a").get_attribute("title") or ""


def focused(page: Page) -> int:
    found: int = page.evaluate("Number(document.activeElement.closest('.tile')?.dataset.index)")
    return found


def test_home_shows_the_latest_photos_and_examples(browser_page: Page, site: Site) -> None:
    settled(browser_page)
    assert f"{len(site.library.search('id:1..', k=1)) and PICTURES + 11} photos" in (
        browser_page.locator(".summary").inner_text()
    )
    assert browser_page.get_by_role("link", name="dog on a beach").is_visible()
    assert browser_page.evaluate("document.activeElement.id") == "query"


def test_a_phrase_fills_the_wall_best_first(browser_page: Page, site: Site) -> None:
    search(browser_page, "red")
    browser_page.wait_for_url("**/?q=red")
    settled(browser_page)
    expected = site.library.search("red", k=3)
    assert first_name(browser_page) == "pure red.png"
    assert re.match(rf"{expected.total} photos in ", browser_page.locator(".summary").inner_text())
    mark = browser_page.locator(f"{TILES}[data-index='0'] .band")
    assert expected[0].band is not None
    assert mark.get_attribute("aria-label") == f"{expected[0].band.capitalize()} match"


def test_rows_are_justified_and_do_not_move(new_page: NewPage) -> None:
    page = new_page("/?q=red")
    settled(page)
    rows = page.evaluate(
        """[...document.querySelectorAll('.wall-row')].slice(0, 3).map(row => {
             const tiles = [...row.children].map(tile => tile.getBoundingClientRect());
             return [tiles[0].left, tiles.at(-1).right, new Set(tiles.map(t => t.top)).size];
           })"""
    )
    left, right = page.evaluate(
        "(b => [b.left, b.right])(document.querySelector('.wall').getBoundingClientRect())"
    )
    for begin, end, lines in rows:
        assert begin == pytest.approx(left, abs=1)
        assert end == pytest.approx(right, abs=1)
        assert lines == 1
    shift = page.evaluate(
        """new Promise(done => new PerformanceObserver(list => done(
             list.getEntries().reduce((sum, each) => sum + each.value, 0)
           )).observe({type: 'layout-shift', buffered: true}) || setTimeout(() => done(0), 500))"""
    )
    assert shift < 0.1


def test_scrolling_loads_all_and_keeps_few_in_the_document(browser_page: Page) -> None:
    settled(browser_page)
    browser_page.evaluate(
        """() => { window.long = []; new PerformanceObserver(list => long.push(
             ...list.getEntries().map(each => each.duration)
           )).observe({type: 'longtask'}); }"""
    )
    seen: set[int] = set()
    most = 0
    for _ in range(200):
        there = browser_page.evaluate(
            "[...document.querySelectorAll('.tile')].map(tile => Number(tile.dataset.index))"
        )
        seen.update(there)
        most = max(most, len(there))
        if len(seen) == PICTURES + 11:
            break
        browser_page.mouse.wheel(0, 700)
        browser_page.wait_for_timeout(40)
    assert seen == set(range(PICTURES + 11))
    assert most < 200
    assert max(browser_page.evaluate("long"), default=0) < 200


def test_keyboard_all_the_way(browser_page: Page) -> None:
    settled(browser_page)
    browser_page.keyboard.press("Escape")
    browser_page.keyboard.press("/")
    browser_page.keyboard.type("blue")
    browser_page.keyboard.press("Enter")
    browser_page.wait_for_url("**/?q=blue")
    settled(browser_page)
    browser_page.locator(".tile a[title='pure blue.png']").wait_for()
    browser_page.keyboard.press("ArrowDown")
    assert focused(browser_page) == 0
    browser_page.keyboard.press("ArrowRight")
    assert focused(browser_page) == 1
    browser_page.keyboard.press("ArrowDown")
    below = focused(browser_page)
    assert below > 1
    browser_page.keyboard.press("ArrowUp")
    browser_page.keyboard.press("Home")
    browser_page.keyboard.press("Enter")
    browser_page.get_by_role("heading", name="pure blue.png").wait_for()
    browser_page.keyboard.press("ArrowRight")
    browser_page.locator(".photo-head", has_text="2 of ").wait_for()
    browser_page.keyboard.press("Escape")
    browser_page.locator("dialog.photo").wait_for(state="detached")
    assert focused(browser_page) == 1
    browser_page.keyboard.press("?")
    assert browser_page.get_by_role("dialog", name="Keys").is_visible()


def test_end_key_reaches_the_last_photo_that_is_loaded(new_page: NewPage) -> None:
    page = new_page("/?q=red&cut=all")
    settled(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    last = focused(page)
    assert last >= 59
    assert page.locator(f".tile[data-index='{last}']").is_visible()


def test_back_and_forward_keep_query_photo_and_place(new_page: NewPage) -> None:
    page = new_page("/?q=red&cut=all")
    settled(page)
    page.mouse.wheel(0, 1500)
    until(page, "scrollY > 1000")
    tile = page.locator(".tile:visible a").nth(12)
    name = tile.get_attribute("title")
    tile.click()
    page.get_by_role("heading", name=name).wait_for()
    place = page.evaluate("scrollY")
    page.go_back()
    page.locator("dialog.photo").wait_for(state="detached")
    assert abs(page.evaluate("scrollY") - place) < 300
    search(page, "green")
    page.locator(".tile a[title='pure green.png']").wait_for()
    page.go_back()
    page.wait_for_url("**/?q=red&cut=all")
    assert page.locator("#query").input_value() == "red"
    assert page.evaluate("scrollY") > 500
    page.go_forward()
    page.locator(".tile a[title='pure green.png']").wait_for()
    assert page.locator("#query").input_value() == "green"


def test_an_address_alone_opens_search_and_photo(new_page: NewPage, site: Site) -> None:
    photo = site.id_of("pure yellow.png")
    page = new_page(f"/?q=yellow&sort=date&photo={photo}")
    page.get_by_role("heading", name="pure yellow.png").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_url("**/?q=yellow&sort=date")
    assert page.get_by_role("button", name="Latest").get_attribute("aria-pressed") == "true"


def test_chips_and_text_are_one(new_page: NewPage) -> None:
    page = new_page("/?q=" + "red -yellow camera:brush")
    settled(page)
    chips = page.locator("#view-search > .chips > li")
    assert [text.split("\n")[0] for text in chips.all_inner_texts()] == ["red", "yellow", "camera"]
    page.get_by_role("button", name="yellow is avoided; look for it").click()
    page.wait_for_url(
        lambda url: parse_qs(urlsplit(url).query)["q"] == ['red "yellow" camera:brush']
    )
    page.get_by_role("button", name="Remove camera:brush").click()
    page.wait_for_url(lambda url: "camera" not in url)
    assert page.locator("#query").input_value() == 'red "yellow"'
    page.locator("#query").fill('red "yellow" -tag:none')
    page.get_by_role("button", name="Remove tag:none").wait_for()
    assert chips.count() == 3


def test_a_slider_weights_a_term(new_page: NewPage) -> None:
    page = new_page('/?q=red "yellow"')
    settled(page)
    slider = page.get_by_role("slider", name="Weight of yellow")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: "1.5:yellow" in parse_qs(urlsplit(url).query)["q"][0])
    assert page.locator("#query").input_value() == "red 1.5:yellow"


@pytest.mark.parametrize(
    "text",
    [
        "dog on a beach",
        "dog -people 2:ball +snow",
        'a "red ball" b -2.5:"blue sky" tag:x,y -camera:"Canon EOS",nikon',
        "image:12 -0.5:image:3 folder:2019/*",
        'note: this http://x.y/z -3:1 12:30 "x"',
        "name:IMG_20* near:43.3,-1.98,20km rating:>=4",
        "- -- + -dog’s ünïcode 2:ça _x:y",
        'near:"San Sebastian",10km on:2019..2021 has:gps',
        'broken "quote',
        "tag: dog",
        "unknown:key",
        "2:tag:x",
        "--tag:x",
        "0:dog cat",
        'tag:"a"b',
        "image:x",
    ],
)
def test_the_page_reads_queries_as_the_library_does(browser_page: Page, text: str) -> None:
    both = browser_page.evaluate(
        """async text => {
             const { parse, write } = await import('/static/query.js');
             const parts = parse(text);
             return parts && { parts, again: write(parts) };
           }""",
        text,
    )
    try:
        query = parse(text)
    except QueryError:
        assert both is None
        return
    terms = [part for part in both["parts"] if part["type"] != "filter"]
    assert [(p["type"], p["value"], p["weight"]) for p in terms] == [
        (term.kind, term.value, term.weight) for term in query.terms
    ]
    assert [(p["key"], p["negated"]) for p in both["parts"] if p["type"] == "filter"] == [
        (each.key, each.negated) for each in query.filters
    ]
    assert parse(both["again"]) == query


def test_completion_offers_keys_and_values(browser_page: Page) -> None:
    settled(browser_page)
    browser_page.keyboard.type("red cam")
    browser_page.get_by_role("option", name=re.compile("^camera:")).wait_for()
    browser_page.keyboard.press("ArrowDown")
    browser_page.keyboard.press("Enter")
    browser_page.get_by_role("option", name=re.compile("Brush One")).wait_for()
    browser_page.keyboard.press("ArrowDown")
    browser_page.keyboard.press("Enter")
    browser_page.wait_for_url(lambda url: "camera" in url)
    assert re.match(r'red camera:"Painter Brush (One|Two)"$', state(browser_page)["q"])


def test_facets_narrow_down(new_page: NewPage) -> None:
    page = new_page("/?q=red")
    settled(page)
    page.get_by_role("button", name="Narrow down").click()
    year = page.locator(".facet", has_text="2017").first
    year.click()
    page.wait_for_url(lambda url: "on:2017" in parse_qs(urlsplit(url).query)["q"][0])
    settled(page)
    dates = page.locator(".tile-line > :first-child").all_inner_texts()
    assert dates
    assert all("2017" in date for date in dates)


def test_an_error_points_at_the_place(new_page: NewPage, watch: Watch) -> None:
    watch.refusals = True
    page = new_page("/?q=red before:someday")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "is no date" in alert.inner_text()
    assert page.locator("#query-caret span").inner_text() == "someday"
    assert page.locator("#query").get_attribute("aria-invalid") == "true"
    page.locator("#query").fill("red")
    assert page.locator("#query-caret").is_hidden()


@pytest.mark.parametrize("way", ["Enter", "Try again"])
def test_a_search_that_failed_is_tried_again(new_page: NewPage, watch: Watch, way: str) -> None:
    watch.refusals = True
    page = new_page()
    settled(page)
    page.route("**/api/search?*", lambda route: route.abort())
    search(page, "red")
    page.get_by_text("The search failed").wait_for()
    page.unroute("**/api/search?*")
    if way == "Enter":
        page.locator("#query").press("Enter")
    else:
        page.get_by_role("button", name=way).click()
    settled(page)
    assert page.get_by_text("The search failed").count() == 0


def test_the_key_that_leads_to_the_search_is_no_part_of_it(new_page: NewPage) -> None:
    page = new_page()
    settled(page)
    page.locator("#query").press("/")
    page.keyboard.type("red/blue")
    assert page.locator("#query").input_value() == "red/blue"


def test_filters_that_nothing_passes_can_be_left_out(new_page: NewPage) -> None:
    page = new_page("/?q=red camera:brush -camera:painter")
    page.get_by_role("heading", name="No photo passes these filters").wait_for()
    page.get_by_role("link", name="Leave out camera:painter").click()
    settled(page)
    assert state(page)["q"] == "red camera:brush"


def test_nothing_relevant_offers_the_nearest(new_page: NewPage, site: Site) -> None:
    bright = site.id_of("pure red.png"), site.id_of("pure yellow.png")
    page = new_page(f"/?q=black id:{bright[0]},{bright[1]}")
    page.get_by_role("heading", name="Nothing here is clearly that").wait_for()
    page.get_by_role("button", name="Show the nearest photos").click()
    settled(page)
    assert state(page)["cut"] == "all"
    assert page.locator(TILES).count() == 2


def test_thumbs_refine_and_similar_adds_a_term(new_page: NewPage, site: Site) -> None:
    page = new_page("/?q=yellow")
    settled(page)
    disliked = site.id_of(first_name(page))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("d")
    page.wait_for_url("**unlike=*")
    assert state(page)["unlike"] == str(disliked)
    expected = site.library.search("yellow", k=10, unlike=[disliked])
    page.get_by_role("button", name="Forget: less like this").wait_for()
    until(page, f"document.querySelector('.tile').dataset.id == {expected[0].id}")
    shown = page.evaluate("[...document.querySelectorAll('.tile')].map(e => Number(e.dataset.id))")
    assert shown[:10] == [hit.id for hit in expected]
    assert focused(page) == 0, "the next photo can be judged at once"
    page.get_by_role("button", name="Forget: less like this").click()
    until(page, f"document.querySelector('.tile').dataset.id == {disliked}")
    page.locator(".tile-photo").first.focus()
    page.keyboard.press("s")
    page.wait_for_url(lambda url: "image" in url)
    assert state(page)["q"] == f"image:{disliked}"


def test_a_search_is_saved_opened_and_forgotten(new_page: NewPage) -> None:
    page = new_page("/?q=cyan")
    settled(page)
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Name").fill("My seas")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.get_by_text("Saved as “My seas”").wait_for()
    page.get_by_role("link", name="clipsearch").click()
    page.get_by_role("button", name="My seas", exact=True).click()
    page.wait_for_url("**/?q=cyan")
    page.go_back()
    page.get_by_role("button", name="Forget the search My seas").click()
    page.get_by_text("“My seas” is forgotten.").wait_for()


@pytest.fixture
def cyan_file(tmp_path: Path) -> Path:
    path = tmp_path / "my cyan.png"
    Image.new("RGB", (120, 80), (0, 255, 255)).save(path)
    return path


GIVE = """([bytes, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
  const all = { bubbles: true, cancelable: true };
  const happens = EVENTS;
  for (const event of happens) document.body.dispatchEvent(event);
}"""
DROP = GIVE.replace(
    "EVENTS",
    "['dragenter', 'dragover', 'drop']"
    ".map(kind => new DragEvent(kind, { ...all, dataTransfer: data }))",
)
PASTE = GIVE.replace("EVENTS", "[new ClipboardEvent('paste', { ...all, clipboardData: data })]")


def choose(page: Page, path: Path) -> None:
    page.get_by_label("Picture to search by").set_input_files(path)


def drop(page: Page, path: Path) -> None:
    page.evaluate(DROP, [list(path.read_bytes()), path.name])


def paste(page: Page, path: Path) -> None:
    page.evaluate(PASTE, [list(path.read_bytes()), path.name])


@pytest.mark.parametrize("give", [choose, drop, paste])
def test_a_picture_is_searched_by(
    browser_page: Page, cyan_file: Path, give: Callable[[Page, Path], None]
) -> None:
    settled(browser_page)
    give(browser_page, cyan_file)
    browser_page.locator(".tile[data-index='0'] a[title='pure cyan.png']").wait_for()
    browser_page.locator(".chips", has_text="my cyan.png").wait_for()
    browser_page.locator(".tile a").first.click()
    browser_page.get_by_text("cosine with the picture that you gave").wait_for()
    browser_page.keyboard.press("Escape")
    browser_page.get_by_role("button", name="Forget the picture").click()
    browser_page.wait_for_url("**/")


def test_a_picture_and_words_go_together(browser_page: Page, cyan_file: Path) -> None:
    settled(browser_page)
    choose(browser_page, cyan_file)
    browser_page.wait_for_url("**picture=1")
    search(browser_page, "camera:brush")
    browser_page.wait_for_url(lambda url: "camera" in url and "picture=1" in url)
    browser_page.locator(".tile a[title='pure cyan.png']").wait_for(state="detached")
    settled(browser_page)


def open_photo(new_page: NewPage, site: Site, name: str, **more: Any) -> Page:
    query = more.pop("query", "")
    page = new_page(f"/?{query}&photo={site.id_of(name)}", **more)
    page.locator(".photo-title", has_text=name).wait_for(state="attached")
    return page


def test_why_shows_what_each_term_adds(new_page: NewPage, site: Site) -> None:
    page = open_photo(new_page, site, "pure magenta.png", query="q=magenta -0.5:green has:camera")
    table = page.locator(".why").first
    table.wait_for()
    said = table.inner_text()
    explained = site.library.explain(
        "magenta -0.5:green has:camera", site.id_of("pure magenta.png")
    )
    for term in explained.terms:
        assert f"{abs(term.contribution):.3f}" in said
    assert explained.score is not None
    assert f"{explained.score:.3f}" in said
    assert page.get_by_text("has:camera does not hold").is_visible()


def test_tags_are_added_removed_and_taken_back(new_page: NewPage, site: Site) -> None:
    page = open_photo(new_page, site, "pure white.png")
    photo = site.id_of("pure white.png")

    def labels() -> list[str]:
        return [tag.label for tag in site.library.tags(photo)]

    field = page.get_by_role("combobox", name="Add a tag")
    field.fill("snow & <b>ice</b>")
    field.press("Enter")
    chip = page.get_by_role("link", name="snow & <b>ice</b>")
    chip.wait_for()
    assert labels() == ["snow & <b>ice</b>"]
    page.get_by_role("button", name="Remove snow & <b>ice</b>").click()
    chip.wait_for(state="detached")
    assert labels() == []
    page.get_by_role("button", name="Undo").last.click()
    chip.wait_for()
    assert labels() == ["snow & <b>ice</b>"]
    field.fill("a slip")
    field.press("Enter")
    page.get_by_text("“a slip” is added.").wait_for()
    assert "a slip" in labels()
    page.get_by_role("button", name="Undo").last.click()
    page.get_by_role("link", name="a slip").wait_for(state="detached")
    assert labels() == ["snow & <b>ice</b>"]
    chip.click()
    page.wait_for_url(lambda url: "photo=" not in url)
    settled(page)
    assert page.locator(TILES).count() == 1
    assert state(page)["q"] == 'tag:"snow & <b>ice</b>"'
    site.library.edit_tags(photo, reset=labels())


def test_alt_text_is_written_edited_accepted_and_rejected(new_page: NewPage, site: Site) -> None:
    name = "pure orange.png"
    photo = site.id_of(name)
    site.library.propose_alt_text(["an orange sheet of paper", "a blue one"], "name:pure*")
    page = open_photo(new_page, site, name)
    page.get_by_role("button", name="Accept").click()
    page.get_by_text("Accepted", exact=True).wait_for()
    accepted = site.library.alt_text(photo)
    assert accepted is not None
    assert accepted.state == "accepted"
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Alt text").fill("Nothing but orange.")
    page.get_by_role("button", name="Save the text").click()
    page.get_by_text("Written by hand").wait_for()
    edited = site.library.alt_text(photo)
    assert edited is not None
    assert edited.text == "Nothing but orange."
    other = open_photo(new_page, site, "pure black.png")
    other.get_by_role("button", name="Reject").click()
    other.get_by_text("None yet. Write one").wait_for()
    assert site.library.alt_text(site.id_of("pure black.png")) is None


def test_similar_photos_lead_on(new_page: NewPage, site: Site) -> None:
    page = open_photo(new_page, site, "pure cyan.png")
    page.locator(".strip a").first.click()
    page.wait_for_url(lambda url: f"photo={site.id_of('pure cyan.png')}" not in url)
    page.go_back()
    page.get_by_role("heading", name="pure cyan.png").wait_for()


def test_closing_leads_out_of_all_photos(new_page: NewPage) -> None:
    page = new_page("/?q=red")
    settled(page)
    page.locator(".tile a").first.click()
    for _ in range(2):
        page.locator(".strip a").first.click()
        page.locator(".strip a").first.wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog.photo").wait_for(state="detached")
    assert state(page) == {"q": "red"}


def shares(page: Page) -> dict[str, float]:
    """Return the share of each label in the explainer, as a part of 100."""
    rows: list[list[str]] = page.evaluate(
        """[...document.querySelectorAll('.scores tbody tr')].map(row => [
             row.querySelector('th').textContent,
             row.querySelector('.meter-share > span').style.getPropertyValue('--value')])"""
    )
    return {label: float(value) for label, value in rows}


def labelled(page: Page, text: str) -> Locator:
    field = page.get_by_label("Add labels")
    field.fill(text)
    field.press("Enter")
    return page.locator(".scores tbody tr", has_text=text.split(",")[0])


def test_the_explainer_recomputes_shares_as_the_library_does(new_page: NewPage, site: Site) -> None:
    page = open_photo(new_page, site, "pure red.png", query="explain=1")
    for label in ("a person", "an animal", "a building", "food"):
        page.get_by_role("button", name=f"Remove {label}").click()
    labelled(page, "red car, blue car, green car").wait_for()
    labels = ["red car", "blue car", "green car", "something else"]
    photo = site.id_of("pure red.png")

    def expected(temperature: float | None) -> dict[str, float]:
        scored = site.library.classify(photo, labels, temperature=temperature)
        return {each.label: each.probability for each in scored}

    assert shares(page) == pytest.approx(expected(None), abs=1e-6)
    slider = page.get_by_role("slider", name=re.compile("Temperature"))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    slider.focus()
    page.keyboard.press("Home")
    assert shares(page)["red car"] == pytest.approx(1)
    page.keyboard.press("End")
    assert shares(page) == pytest.approx(expected(2.0), abs=1e-6)
    assert asked == []
    page.get_by_role("button", name="The model’s own").click()
    assert shares(page) == pytest.approx(expected(None), abs=1e-6)
    page.get_by_role("checkbox").uncheck()
    page.locator(".notice-warn[data-kind='no-background']").wait_for()
    assert "something else" not in shares(page)
    with page.expect_response("**/api/classify"):
        page.get_by_label("Template: the sentence around each label").select_option("{}")
    page.locator(".scores.waiting").wait_for(state="detached")
    plain = site.library.classify(photo, labels[:3], template="{}")
    assert shares(page) == pytest.approx({p.label: p.probability for p in plain}, abs=1e-6)


def test_near_synonyms_are_told_of(chromium: Browser, shared: Path, tmp_path: Path) -> None:
    """With the real starter model: a model of colours knows no synonyms."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((shared / "captions" / "coco").glob("*.jpg"))[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    with ServedLibrary(tmp_path / "library", "starter") as library:
        library.index(folder)
        with served(library) as url:
            page = chromium.new_page()
            page.goto(f"{url}/?photo=1&explain=1")
            labelled(page, "dog, puppy").wait_for()
            warnings = page.locator(".notice-warn[data-kind='near-synonyms']")
            warnings.filter(has_text='"dog" and "puppy"').wait_for()
            page.close()


def test_a_hostile_file_name_is_text(new_page: NewPage, site: Site) -> None:
    page = open_photo(new_page, site, HOSTILE, query="q=red")
    assert page.locator("img[src='x']").count() == 0
    assert page.locator(".photo-title").inner_text() == HOSTILE
    page.get_by_text(re.compile("Why it is here")).wait_for()
    page.keyboard.press("Escape")
    settled(page)
    assert page.locator(".tile a", has=page.locator("img")).count() > 1
    assert page.title() != "taken over"


def test_a_library_without_photos_says_how_to_begin(
    chromium: Browser, tmp_path: Path, embedder: ColourEmbedder, photos: Path, paint: Paint
) -> None:
    with ServedLibrary(tmp_path / "empty", embedder) as library, served(library) as url:
        page = chromium.new_page()
        page.goto(url)
        page.get_by_role("heading", name="No photos yet").wait_for()
        assert "clipsearch index ~/Pictures" in page.locator("pre").inner_text()
        paint("first.png", "red")
        library.index(photos)
        page.locator(".tile a[title='first.png']").wait_for()
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious(
    new_page: NewPage, site: Site, size: tuple[int, int], scheme: str
) -> None:
    page = new_page("/", size=size, scheme=scheme)
    settled(page)
    assert violations(page) == []
    page.goto('/?q=red "orange" -blue -tag:x')
    settled(page)
    page.get_by_role("button", name="Narrow down").click()
    page.locator(".facet").first.wait_for()
    assert violations(page) == []
    page.goto("/?q=red tag:none")
    page.get_by_role("heading", name="No photo passes").wait_for()
    assert violations(page) == []
    page.goto(f"/?q=red -blue has:camera&photo={site.id_of('pure red.png')}")
    page.locator(".why").first.wait_for()
    page.locator(".strip img").first.wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="Ask the model").click()
    page.locator(".scores tbody tr").first.wait_for()
    assert violations(page) == []


@pytest.mark.parametrize("address", ["/", "/?q=red+-yellow+camera:brush", "/?q=red&photo=1"])
def test_a_phone_needs_no_sideways_scrolling(new_page: NewPage, address: str) -> None:
    page = new_page(address, size=PHONE)
    settled(page)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert page.evaluate(
        "[...document.querySelectorAll('dialog')].every(d => d.scrollWidth <= d.clientWidth)"
    )


def test_colours_follow_the_choice(browser_page: Page) -> None:
    settled(browser_page)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = browser_page.evaluate(colour)
    browser_page.get_by_role("button", name="Colours").click()
    browser_page.get_by_role("button", name="Colours: light").click()
    assert browser_page.evaluate(colour) != light
    browser_page.reload()
    assert browser_page.get_by_role("button", name="Colours: dark").is_visible()


def test_the_first_page_is_small_and_soon_ready(new_page: NewPage) -> None:
    page = new_page("/")
    settled(page)
    entries = page.evaluate(
        """['resource', 'navigation'].flatMap(kind => performance.getEntriesByType(kind))
             .filter(each => each.initiatorType !== 'img' && !each.name.includes('/thumbnail'))
             .map(each => each.encodedBodySize)"""
    )
    assert sum(entries) < 150_000
    ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert ready < 1000
