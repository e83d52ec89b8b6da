"""Take pictures of the page: `python -m tests.browser.screenshots FOLDER`, or `make screenshots`.

The library is that of `clipsearch demo`, with alt text proposed; every view is taken wide and as
on a phone, light and dark. Needs chromium and the packages of the extra `test`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from click.testing import CliRunner
from playwright.sync_api import sync_playwright

from clipsearch.cli.demo import demo
from clipsearch.library.serving import ServedLibrary
from tests.browser.conftest import PHONE, WIDE, served

VIEWS = {
    "search": "/?q=a+cup+of+coffee&cut=all",
    "photo": "/?q=a+cat&cut=all&photo={cat}",
    "explainer": "/?q=a+cat&cut=all&photo={cat}&explain=1",
    "archive": "/?view=archive",
    "library": "/?view=library",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    target = parser.parse_args().folder
    target.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        done = CliRunner().invoke(demo, [folder, "--model", "starter", "--quiet"])
        if done.exit_code:
            raise SystemExit(f"the demo library cannot be made: {done.exception}")
        with ServedLibrary(Path(folder) / "library", "starter") as library:
            library.propose_alt_text()
            cat = library.search("a cat", k=1).hits[0].id
            with served(library) as url, sync_playwright() as started:
                browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
                for size, width in (("wide", WIDE), ("phone", PHONE)):
                    for scheme in ("light", "dark"):
                        context = browser.new_context(
                            base_url=url,
                            viewport={"width": width[0], "height": width[1]},
                            color_scheme=scheme,
                            reduced_motion="reduce",
                        )
                        for name, address in VIEWS.items():
                            page = context.new_page()
                            page.goto(address.format(cat=cat))
                            page.wait_for_load_state("load")
                            page.wait_for_timeout(2500)  # thumbnails are made now
                            path = target / f"{name}-{size}-{scheme}.jpg"
                            page.screenshot(path=path, type="jpeg", quality=85)
                            sys.stdout.write(f"{path}\n")
                            page.close()
                        context.close()
                browser.close()


if __name__ == "__main__":
    main()
