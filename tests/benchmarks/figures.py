"""What a benchmark found beside the bar it has to reach: a table, and lines for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value; `bar` is the most it may be, or the least where `at_least`.

    Ratios are of two things that took turns in one run, so that they hold on any machine;
    `slack` is how much worse one may be where the machine is busy with other things.
    """

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    at_least: bool = False
    slack: float = 1.0
    how: str = ""

    def passes(self, *, generous: bool = False) -> bool:
        """Say whether the bar is reached, as far as there is one."""
        if self.bar is None:
            return True
        slack = self.slack if generous else 1.0
        return self.value * slack >= self.bar if self.at_least else self.value <= self.bar * slack

    def line(self, *, generous: bool = False) -> str:
        """Return one row of the table."""
        bar = verdict = ""
        if self.bar is not None:
            bar = f"{'>=' if self.at_least else '<='} {_short(self.bar)}"
            verdict = "pass" if self.passes(generous=generous) else "FAIL"
        value = f"{_short(self.value)} {self.unit}".strip()
        return f"{self.name:58} {value:>14} {bar:>12}  {verdict:4}  {self.how}".rstrip()


def show(figures: Iterable[Figure], *, generous: bool = False) -> bool:
    """Print the table, then a JSON line for each figure; return whether all bars are reached."""
    figures = list(figures)
    for figure in figures:
        print(figure.line(generous=generous), flush=True)
    for figure in figures:
        passes = figure.passes(generous=generous)
        print(json.dumps({**asdict(figure), "passes": passes}), flush=True)
    return all(figure.passes(generous=generous) for figure in figures)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
