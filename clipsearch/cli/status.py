"""status, doctor: what there is, and what is wrong."""

from __future__ import annotations

import sys
from typing import Any

import click

from clipsearch.cli.common import json_option, library_options, opened, print_json, print_line


@click.command()
@click.option("--skipped", is_flag=True, help="List every file that was not indexed, and why.")
@json_option
@library_options
def status(skipped: bool, as_json: bool, **options: Any) -> None:
    """Say what the library holds."""
    with opened(**options) as library:
        if skipped:
            files = library.skipped()
            if as_json:
                print_json({"skipped": files})
            else:
                for file in files:
                    print_line(f"{file.path}: {file.reason}")
            return
        found = library.status()
        if as_json:
            names = ("photos", "skipped", "roots", "model", "dimensions", "revision")
            print_json({name: getattr(found, name) for name in names})
            return
        print_line(f"library     {library.folder}")
        print_line(f"photos      {found.photos}")
        print_line(f"skipped     {found.skipped}")
        print_line(f"model       {found.model or 'none yet'}")
        if others := [name for name in found.models if name != found.model]:
            print_line(f"kept too    {', '.join(others)}")
        for root in found.roots:
            print_line(f"root        {root}")


@click.command()
@library_options
def doctor(**options: Any) -> None:
    """Check the installation and the library; exit 1 if something is wrong."""
    from clipsearch.diagnosis import examine

    with opened(**options) as library:
        findings = list(examine(library))
    for finding in findings:
        print_line(f"{'ok   ' if finding.ok else 'WRONG'}  {finding.what}: {finding.detail}")
    if wrong := sum(not finding.ok for finding in findings):
        click.echo(f"clipsearch: {wrong} of {len(findings)} checks failed", err=True)
        sys.exit(1)
