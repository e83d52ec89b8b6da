"""demo: the whole path on a few photos that other packages ship under free licences."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from clipsearch.cli.common import library_options, opened, print_line, progress
from clipsearch.errors import ClipsearchError

if TYPE_CHECKING:
    from clipsearch.library import Library

# Package, folder in it, photos. Sources and licences: skimage/data/README.txt (public domain,
# CC0) and the comments of sklearn/datasets/images/README.txt (CC BY).
PHOTOS = (
    (
        "skimage",
        "data",
        (
            "astronaut.png",
            "brick.png",
            "camera.png",
            "chelsea.png",
            "clock_motion.png",
            "coffee.png",
            "coins.png",
            "grass.png",
            "gravel.png",
            "hubble_deep_field.jpg",
            "moon.png",
            "motorcycle_left.png",
            "page.png",
            "retina.jpg",
            "rocket.jpg",
        ),
    ),
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
)
PHRASES = (
    "a cat",
    "a cup of coffee",
    "a rocket on its launch pad",
    "old coins",
    "a motorbike in a workshop",
    "a temple in Asia",
    "a flower in bloom",
    "galaxies in the night sky",
    "a man taking pictures",
)


@click.command()
@click.argument(
    "folder", default="clipsearch-demo", type=click.Path(file_okay=False, path_type=Path)
)
@library_options
@click.pass_context
def demo(ctx: click.Context, /, folder: Path, **options: Any) -> None:
    """Make a small library in FOLDER, search and tag it: a minute, offline.

    The photos are those that scikit-image and scikit-learn ship with their code; install them
    with `pip install "clipsearch[demo]"`.
    """
    photos = folder / "photos"
    count = _copy_photos(photos)
    # CLIPSEARCH_LIBRARY names the user's own library: the demo keeps out of it.
    chosen = ctx.get_parameter_source("library") is ParameterSource.COMMANDLINE
    options = {**options, "library": options["library"] if chosen else folder / "library"}
    from clipsearch.relevance import WEAK

    with opened(**options, create=True) as library:
        with progress(options["quiet"]) as show:
            report = library.index(photos, on_progress=show)
        print_line(
            f"{count} photos in {photos}, {report.embedded} embedded in {report.seconds:.1f} s "
            f"with {report.model}"
        )
        print_line("")
        print_line(f"{'phrase':28} {'nearest, and how likely':29} {'second':29} third")
        for phrase in PHRASES:
            hits = library.search(phrase, k=3, min_relevance=0).hits
            cells = (f"{hit.relevance:4.0%} {Path(hit.path).name}" for hit in hits)
            print_line(f"{phrase:28} " + " ".join(f"{cell:29}" for cell in cells).rstrip())
        if library.search(PHRASES[0], k=1).calibration == "fitted":
            print_line(f"A search leaves out what is less likely than {WEAK:.0%}.")
        _show_tags(library, options["quiet"])
        print_line("")
        print_line(f"your turn:  clipsearch search --library {library.folder} a camera on a tripod")
        print_line("your own:   clipsearch index ~/Pictures")
        print_line(f"clean up:   delete the folder {folder}")


def _show_tags(library: Library, quiet: bool) -> None:
    with progress(quiet) as show:
        report = library.tag(on_progress=show)
    print_line("")
    print_line(f"{report.tags} tags from {report.labels} labels; the surest of each photo:")
    for photo in library.described():
        # A label brings its parents along: the names that nothing is below say enough.
        names = [tag.name for tag in photo.tags]
        leaves = [tag for tag in photo.tags if not any(n.startswith(f"{tag.name}/") for n in names)]
        best = sorted(leaves, key=lambda tag: -(tag.score or 0))[:3]
        if best:
            words = ", ".join(f"{tag.name} {tag.score or 1:.2f}" for tag in best)
            print_line(f"{Path(photo.path).name:26} {words}")


def _copy_photos(target: Path) -> int:
    count = 0
    for package, inner, names in PHOTOS:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ClipsearchError(
                f"the photos of the demo come with {package}, which is not installed; "
                'run pip install "clipsearch[demo]"'
            )
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            source = Path(spec.origin).parent / inner / name
            if source.is_file():  # a later release may ship other photos
                if not (target / name).exists():
                    shutil.copyfile(source, target / name)
                count += 1
    if count == 0:
        raise ClipsearchError("the installed packages ship none of the photos of the demo")
    return count
