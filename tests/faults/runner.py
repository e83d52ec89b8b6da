"""Run the faults of the table, some at a time, and print the records."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import click

from tests.faults.stage import CannotTry, Record, Stage
from tests.faults.table import FAULTS, Fault

SHORT_PHOTOS = 30
_SHOWN = 6


def attempt(
    fault: Fault, folder: Path, seed: int, *, short: bool, times: int | None = None
) -> Record:
    """Try one fault in a folder that is removed again; an error of the harness is a wrong, too."""
    record = Record(fault.name)
    count = times or (fault.short if short else fault.full)
    place = Path(tempfile.mkdtemp(dir=folder))
    place.chmod(0o755)
    stage = Stage(
        place,
        Random(f"{seed} {fault.name}"),
        count,
        record,
        SHORT_PHOTOS if short else 60,
    )
    try:
        fault.inject(stage)
    except CannotTry as reason:
        record.skipped = str(reason)
    except Exception:
        record.wrong.append(f"the harness fails: {traceback.format_exc(limit=-6)}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if not record.injected and not record.skipped:
        record.wrong.append("the fault was never injected")
    return record


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the harness and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--short", action="store_true", help="each fault once or a few times")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument("--times", type=int, default=None, help="instead of what the table says")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else int(time.time()) % 100_000
    chosen = [
        fault
        for fault in FAULTS
        if options.only in fault.name
        and (options.times or (fault.short if options.short else fault.full))
    ]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    click.echo(f"{len(chosen)} faults, seed {seed}", err=True)
    started = time.monotonic()

    def tried(fault: Fault, folder: Path) -> Record:
        begun = time.monotonic()
        record = attempt(fault, folder, seed, short=options.short, times=options.times)
        took = time.monotonic() - begun
        click.echo(f"{took:6.1f} s  {fault.name}", err=True)
        return record

    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        with ThreadPoolExecutor(options.jobs) as pool:
            records = list(pool.map(lambda fault: tried(fault, folder), chosen))
    seconds = time.monotonic() - started
    _tell(records, seed, seconds)
    return 0 if all(record.is_good for record in records) else 1


def _tell(records: Sequence[Record], seed: int, seconds: float) -> None:
    line = "{:44} {:>14} {:>7} {:>14} {:>9} {:>9}"
    click.echo(
        line.format("fault", "times injected", "losses", "wrong answers", "median s", "worst s")
    )
    for record in records:
        times = sorted(record.recovery)
        click.echo(
            line.format(
                record.name,
                "skipped" if record.skipped else record.injected,
                len(record.losses),
                len(record.wrong),
                f"{times[len(times) // 2]:.1f}" if times else "",
                f"{times[-1]:.1f}" if times else "",
            )
        )
    for record in records:
        for word, texts in (("LOST ", record.losses), ("WRONG", record.wrong)):
            for text in texts[:_SHOWN]:
                click.echo(f"{word}  {record.name}: {text}")
            if len(texts) > _SHOWN:
                click.echo(f"{word}  {record.name}: and {len(texts) - _SHOWN} more")
        for text in record.notes:
            click.echo(f"note   {record.name}: {text}")
        if record.skipped:
            click.echo(f"skip   {record.name}: {record.skipped}")
    total = {
        "seed": seed,
        "seconds": round(seconds, 1),
        "injected": sum(record.injected for record in records),
        "losses": sum(len(record.losses) for record in records),
        "wrong": sum(len(record.wrong) for record in records),
        "faults": {
            record.name: {
                "injected": record.injected,
                "losses": len(record.losses),
                "wrong": len(record.wrong),
                "recovery_s": [round(value, 2) for value in sorted(record.recovery)[-1:]],
                "skipped": record.skipped or None,
            }
            for record in records
        },
    }
    click.echo(json.dumps(total))
