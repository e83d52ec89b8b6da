"""models: which are known, and which one the library uses."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from clipsearch.cli.common import (
    backup_option,
    json_option,
    library_options,
    opened,
    print_json,
    print_line,
    progress,
    say,
)


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List known models with cost, quality and licence; `models use` switches.

    Any architecture and weights of open_clip can be used, and local checkpoints:
    ViT-B-32//path/to/weights.pt.
    """
    if ctx.invoked_subcommand:
        return
    from clipsearch.models.registry import KNOWN

    if as_json:
        print_json({"models": [dataclasses.asdict(known) for known in KNOWN]})
        return
    print_line(f"{'name':44} {'params':>7} {'pixels':>6} {'COCO R@1':>8} {'ImageNet':>8}  licence")
    for known in KNOWN:
        print_line(
            f"{known.name:44} {known.parameters:>5.0f} M {known.image_size:>6} "
            f"{_percent(known.coco_text_to_image_r1):>8} {_percent(known.imagenet_zero_shot):>8}"
            f"  {known.licence}"
        )
    click.echo(
        "\nCOCO R@1: share of captions whose photo comes first among 5,000. ImageNet: zero-shot\n"
        "accuracy over 1,000 classes. `--json` names the source of each figure.",
        err=True,
    )


@models.command("use")
@click.argument("name")
@backup_option
@library_options
def use(name: str, **options: Any) -> None:
    """Embed the whole library with model NAME, then switch to it.

    Searches go on with the old model until the new one is complete. Stop at any time and run it
    again to go on. The old vectors are kept: switching back only embeds what is new since.
    """
    options["model"] = name
    with opened(**options, create=True) as library, progress(options["quiet"]) as show:
        report = library.index(on_progress=show)
        model = library.status().model
    for notice in report.notices:
        say(notice)
    print_line(f"{report.embedded} photos embedded; the library now uses {model}")
    if model != report.model:
        sys.exit(1)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
