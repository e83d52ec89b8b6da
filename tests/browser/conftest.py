"""A real server over a library of painted pictures, and Debian's chromium to look at it.

Skipped, with the reason, where chromium or Playwright is not installed.
"""

from __future__ import annotations

import colorsys
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from clipsearch.library.serving import ServedLibrary
from clipsearch.service.app import create_app
from tests.fakes import COLOURS, ColourEmbedder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

HOSTILE = """<img src=x onerror="document.title='taken over'"><script>alert(1)<script>.jpg"""
PICTURES = 640
SHAPES = ((48, 32), (32, 48), (40, 40), (60, 24), (45, 30))
WIDE, PHONE = (1440, 900), (390, 844)


@dataclass(frozen=True)
class Site:
    """A server on this machine, and what it serves."""

    url: str
    library: ServedLibrary
    photos: Path

    def id_of(self, name: str) -> int:
        """Return the id of the photo with this file name."""
        every = self.library.search("id:1..", k=5000, all_copies=True)
        return next(hit.id for hit in every if Path(hit.path).name == name)


@dataclass
class Watch:
    """What a page did behind the scenes."""

    home: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    refusals: bool = False
    """Whether the test provokes answers with an error status, which browsers log."""

    def follow(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("request", self._asked)

    def _heard(self, kind: str, text: str) -> None:
        if kind != "error" and "Content Security Policy" not in text:
            return
        if not (self.refusals and text.startswith("Failed to load resource")):
            self.errors.append(text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.home, "data:", f"blob:{self.home}")):
            self.strangers.append(request.url)


NewPage = Callable[..., "Page"]


def paint_pictures(folder: Path) -> None:
    """Paint pictures of all hues and shapes, some with dates and cameras, one with a bad name."""
    for number in range(PICTURES):
        hue, shade = number % 80 / 80, 1 - number // 80 * 0.08
        colour = tuple(round(part * 255) for part in colorsys.hsv_to_rgb(hue, 0.9, shade))
        exif = Image.Exif()
        exif[0x010F] = "Painter"
        exif[0x0110] = "Brush One" if number % 2 else "Brush Two"
        if number % 4:
            year, month = 2015 + number % 8, 1 + number % 12
            exif.get_ifd(0x8769)[0x9003] = f"{year}:{month:02}:{1 + number % 28:02} 12:00:00"
        path = folder / f"shelf {number % 5}" / f"painting {number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SHAPES[number % len(SHAPES)], colour).save(path, quality=95, exif=exif)
    for name, colour in COLOURS.items():
        Image.new("RGB", (90, 60), colour).save(folder / f"pure {name}.png")
    Image.new("RGB", (50, 40), (250, 5, 5)).save(folder / HOSTILE)


@contextmanager
def served(library: ServedLibrary) -> Iterator[str]:
    """Serve a library on a free port of this machine; gives the address."""
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    app = create_app(library)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        app.extensions["clipsearch"].close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Site]:
    """A server over some hundred painted pictures; its model sees colours."""
    folder = tmp_path_factory.mktemp("site")
    photos = folder / "photos"
    photos.mkdir()
    paint_pictures(photos)
    with ServedLibrary(folder / "library", ColourEmbedder()) as library:
        library.index(photos)
        with served(library) as url:
            yield Site(url, library, photos)


@pytest.fixture
def watch(site: Site) -> Watch:
    return Watch(site.url)


@pytest.fixture
def new_page(chromium: Browser, site: Site, watch: Watch) -> Iterator[NewPage]:
    """Open the page at an address: `new_page("/?q=red", size=PHONE, scheme="dark")`.

    At the end no page may have logged an error or asked another host.
    """
    contexts = []

    def open_page(
        address: str = "/", *, size: tuple[int, int] = WIDE, scheme: Any = "light", **options: Any
    ) -> Page:
        context = chromium.new_context(
            base_url=site.url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            reduced_motion="reduce",
            has_touch=size == PHONE,
            is_mobile=size == PHONE,
            **options,
        )
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        watch.follow(page)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert watch.errors == []
    assert watch.strangers == []


@pytest.fixture
def browser_page(new_page: NewPage) -> Page:
    """The first page, on a wide screen."""
    return new_page("/")


def violations(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical: rule, and where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {[node['html'][:160] for node in rule['nodes'][:4]]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
