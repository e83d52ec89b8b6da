"""captions, classify, alt-text: questions that are answered with words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipsearch.cli.common import (
    json_option,
    library_options,
    limit_option,
    opened,
    photo_of,
    print_json,
    print_line,
    progress,
    say,
    visible,
)
from clipsearch.cli.preview import draw
from clipsearch.cli.queries import QueryCommand, query_text

if TYPE_CHECKING:
    from clipsearch.library import Library
    from clipsearch.records import Proposal

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("photo")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--from", "source", type=FILE, help="Take candidates from a file, one a line.")
@click.option("--temperature", type=float, help="Softmax temperature.  [default: the model's]")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Lines.")
@json_option
@library_options
def captions(
    photo: str,
    texts: tuple[str, ...],
    source: Path | None,
    temperature: float | None,
    k: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Rank candidate captions for PHOTO: a number, or the path of any image file.

    \b
      clipsearch captions pool.jpg "a dog in a pool" "a cat asleep"
      clipsearch captions pool.jpg --from captions.txt

    Without candidates, the shipped bank of sentences for personal photos is ranked. The first
    caption is the best of those offered, which does not make it true: when none beats neutral
    sentences such as "a photo of something", that is said.
    """
    from clipsearch import prompts

    candidates = [*texts, *(prompts.sentences(source) if source else ())]
    with opened(**options, create=True) as library:
        ranked = library.captions(
            photo_of(photo), candidates or prompts.captions(), temperature=temperature
        )
    if as_json:
        names = ("photo", "model", "fits", "margin", "captions")
        print_json({name: getattr(ranked, name) for name in names})
        return
    for caption in ranked[:k]:
        print_line(f"{caption.probability:6.1%}  {caption.cosine:6.3f}  {caption.text}")
    _say_fit(ranked.fits)


@click.command()
@click.argument("photo")
@click.argument("labels", nargs=-1, metavar="LABEL...")
@click.option("--template", metavar="T", help='One template, such as "a photo of a {}.".')
@click.option("--temperature", type=float, help="Softmax temperature.  [default: the model's]")
@json_option
@library_options
def classify(
    photo: str,
    labels: tuple[str, ...],
    template: str | None,
    temperature: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Classify PHOTO, zero-shot: cosine and softmax for each LABEL.

    \b
      clipsearch classify pool.jpg dog cat "something else"

    The softmax shares 100 % among the labels you offer: without "something else" one of them
    wins even if none is true, and near-synonyms split what belongs to one. Labels are put into
    seven templates whose vectors are averaged, or into the one that --template names.
    """
    with opened(**options, create=True) as library:
        found = library.classify(
            photo_of(photo), labels, template=template, temperature=temperature
        )
    if as_json:
        print_json({name: getattr(found, name) for name in ("photo", "model", "labels")})
        return
    for label in found:
        print_line(f"{label.probability:6.1%}  {label.cosine:6.3f}  {label.label}")
    _say_fit(found.fits)


class _Proposing(click.Group):
    """A group whose first word may be a query: what is no subcommand is for `propose`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in {"-h", "--help"}):
            args = ["propose", *args]
        return super().parse_args(ctx, args)


@click.group("alt-text", cls=_Proposing)
def alt_text() -> None:
    """Propose a caption for every photo; then review, accept, and export them.

    \b
      clipsearch alt-text                              from the shipped bank of sentences
      clipsearch alt-text --from mine.txt dog beach    from yours, for photos that answer a query
      clipsearch alt-text review                       accept, edit or reject, one by one
      clipsearch alt-text accept --min-margin 0.1      all that are that sure
      clipsearch export --to xmp                       where Lightroom and digiKam read them

    Accepted and edited texts stay through all later runs.
    """


@alt_text.command("propose", cls=QueryCommand)
@click.argument("query", nargs=-1, metavar="[QUERY]...")
@click.option("--from", "source", type=FILE, help="Candidates, one a line.")
@limit_option
@json_option
@library_options
def propose(
    query: tuple[str, ...], source: Path | None, k: int | None, as_json: bool, **options: Any
) -> None:
    """Propose the best caption for all photos, or those that answer QUERY."""
    with opened(**options) as library, progress(options["quiet"]) as show:
        report = library.propose_alt_text(source, query_text(query) or None, k=k, on_progress=show)
    if as_json:
        print_json(report)
        return
    print_line(
        f"run {report.run}: {report.proposed} captions proposed for {report.photos} photos, "
        f"for {report.none_fits} none fits"
    )


@alt_text.command("accept")
@click.argument("photos", nargs=-1, metavar="[PHOTO]...")
@click.option("--text", help="Another text than the proposed one; for one PHOTO.")
@click.option(
    "--min-margin",
    type=click.FloatRange(min=0),
    help="Without PHOTO: all proposals this far ahead of their runner-up.",
)
@library_options
def accept(
    photos: tuple[str, ...], text: str | None, min_margin: float | None, **options: Any
) -> None:
    """Accept what is proposed: for some photos, or all that are sure enough."""
    if text is not None and len(photos) != 1:
        raise click.UsageError("--text wants exactly one PHOTO")
    if not photos and min_margin is None:
        raise click.UsageError("name a PHOTO, or say how sure with --min-margin")
    with opened(**options) as library:
        chosen: list[int | str] = [photo_of(photo) for photo in photos]
        if not photos:
            chosen = [each.photo_id for each in library.proposals(min_margin=min_margin or 0)]
        for photo in chosen:
            accepted = library.accept_alt_text(photo, text)
            if photos:
                print_line(f"{photo}  {accepted.text}")
        if not photos:
            print_line(f"{len(chosen)} captions accepted")


@alt_text.command("review")
@click.option("--preview", is_flag=True, help="Draw the photos where the terminal can.")
@library_options
def review(preview: bool, **options: Any) -> None:
    """Go through the proposals, the surest first: accept, edit, reject, next or quit."""
    counts = {"a": 0, "e": 0, "r": 0}
    with opened(**options) as library:
        waiting = library.proposals()
        for number, proposal in enumerate(waiting, 1):
            print_line("")
            print_line(f"{number}/{len(waiting)}  {library.photo(proposal.photo_id).path}")
            if preview:
                preview = draw(library, proposal.photo_id)
            print_line(f"  {proposal.text}  ({proposal.cosine:.2f}, +{proposal.margin:.2f})")
            try:
                key = click.prompt(
                    "accept, edit, reject, next, quit",
                    type=click.Choice(["a", "e", "r", "n", "q"]),
                    default="n",
                    err=True,
                )
                if key in counts:
                    _decide(library, proposal, key)
                    counts[key] += 1
            except click.Abort:  # end of input, Ctrl-C: what was decided is kept
                break
            if key == "q":
                break
    print_line(f"{counts['a']} accepted, {counts['e']} edited, {counts['r']} rejected")


def _decide(library: Library, proposal: Proposal, key: str) -> None:
    if key == "r":
        library.reject_alt_text(proposal.photo_id)
        return
    text = None
    if key == "e":
        text = click.prompt("text", default=visible(proposal.text), err=True)
    library.accept_alt_text(proposal.photo_id, text)


def _say_fit(fits: bool) -> None:
    if not fits:
        say("none of them fits: neutral sentences are as near to this photo")
