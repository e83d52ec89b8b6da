"""All faults: name, what injects it, how often in a full run and in a short one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.faults import clocks, damage, disks, kills, races, roots, serving, weights
from tests.faults.stage import Stage


@dataclass(frozen=True)
class Fault:
    """A row of the table."""

    name: str
    inject: Callable[[Stage], None]
    full: int
    short: int


def _job(action: str, name: str, full: int, short: int) -> Fault:
    inject = {"SIGKILL": kills.kill, "SIGINT": kills.interrupt, "SIGTERM": kills.terminate}
    return Fault(f"{action}: {name}", partial(inject[action], kills.JOBS[name]), full, short)


# In the order of a run: what takes longest first.
FAULTS: tuple[Fault, ...] = (
    Fault("catalogue damaged", damage.catalogue, 16, 1),
    Fault("SIGKILL: serve with an indexing job", serving.kill, 14, 1),
    Fault("write-ahead log damaged", damage.log, 8, 1),
    Fault("disk full", disks.fill, 30, 2),
    _job("SIGKILL", "index", 40, 4),
    _job("SIGKILL", "index what changed", 40, 2),
    _job("SIGKILL", "tag", 20, 1),
    _job("SIGKILL", "alt-text", 10, 0),
    _job("SIGKILL", "export to xmp", 40, 2),
    _job("SIGKILL", "export to csv", 10, 1),
    _job("SIGKILL", "export to folders", 20, 1),
    _job("SIGKILL", "undo", 16, 1),
    _job("SIGKILL", "forget", 10, 0),
    _job("SIGKILL", "migrate from the first schema", 16, 1),
    _job("SIGKILL", "migrate from the second schema", 10, 0),
    _job("SIGKILL", "migrate from the third schema", 10, 0),
    _job("SIGKILL", "model switch", 20, 2),
    *(
        _job(action, name, 4, 3 * (action == "SIGINT" and name == "index"))
        for action in ("SIGINT", "SIGTERM")
        for name in ("index", "tag", "export to xmp", "export to folders", "model switch")
    ),
    Fault("weights cut off in the download", weights.cut_off, 3, 0),
    Fault("catalogue busy for 20 s", partial(races.keep_busy, 20), 4, 0),
    Fault("catalogue busy for 3 s", partial(races.keep_busy, 3), 0, 1),
    Fault("catalogue busy for too long", races.keep_busy_for_too_long, 1, 0),
    Fault("files may not grow", disks.limit, 8, 0),
    Fault("read-only library", disks.forbid_library, 10, 0),
    Fault("read-only photos", disks.forbid_photos, 1, 0),
    Fault("permission lost in a run", disks.withdraw, 10, 2),
    Fault("root disappears and returns", roots.vanish, 8, 2),
    Fault("root blinks during the walk", roots.blink, 4, 1),
    Fault("disk of a root pulled out", roots.pull_out, 5, 0),
    Fault("disk inside a root pulled out", roots.pull_out_inside, 5, 1),
    Fault("times of photos jump", clocks.jump_of_files, 4, 0),
    Fault("copies named by a clock ahead", clocks.jump_of_backups, 2, 0),
    Fault("photos change while they are read", races.change_while_read, 6, 1),
    Fault("several indexers at once", races.index_twice, 5, 1),
    Fault("decoders killed", races.kill_decoders, 6, 1),
    Fault("index file damaged", damage.index_files, 12, 1),
    Fault("index file half written", damage.index_file_while_written, 3, 0),
)
