"""Medians, spreads, which rounds count, and what a table of them has to say about the machine it was made on."""

import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Protocol, TypeVar

BUSY = 0.93  # a server that got less of its core shared it, or waited for the load: such a round is left out
FEWEST = 3  # rounds that a median can be taken of


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of rounds and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


@dataclass(frozen=True, slots=True)
class Aim:
    """One of the project's own bars, and whether this run got over it."""

    what: str
    bar: str
    got: str
    met: bool


@dataclass(frozen=True, slots=True)
class Quiet:
    """How many of the rounds nothing else disturbed."""

    rounds: int
    quiet: int

    @property
    def enough(self) -> bool:
        return self.quiet >= FEWEST and self.quiet * 2 >= self.rounds

    @property
    def said(self) -> str:
        return (
            f"{self.quiet} of {self.rounds} rounds were quiet (each steady server got {BUSY:.0%} of its core or more)"
        )

    @property
    def sentence(self) -> str:
        what = " and are what is shown." if self.enough else ": too few, so all are shown, and mean little."
        return self.said + what


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one benchmark found: its text in Markdown, its charts by file name, its aims, and what others go on from."""

    name: str
    text: str
    charts: Mapping[str, str] = field(default_factory=dict)
    aims: Sequence[Aim] = ()
    quiet: Quiet | None = None
    values: Mapping[str, float] = field(default_factory=dict)


class _Busy(Protocol):
    @property
    def busy(self) -> float: ...


R = TypeVar("R", bound=_Busy)


def quiet_rounds(runs: Mapping[str, Sequence[R]], steady: Sequence[str]) -> tuple[dict[str, list[R]], Quiet]:
    """The rounds in which every row of ``steady`` had its core for itself; all of them where these are too few."""
    rounds = len(next(iter(runs.values())))
    calm = [i for i in range(rounds) if all(runs[row][i].busy >= BUSY for row in steady)]
    quiet = Quiet(rounds, len(calm))
    counted = calm if quiet.enough else range(rounds)
    return {row: [each[i] for i in counted] for row, each in runs.items()}, quiet


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them doesn't exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100_000) // 100_000) - 1)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned; the first is text, the others are numbers."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join((cells[0].ljust(widths[0]), *others))} |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(map(line, (head, rule, *rows)))


def machine(*libraries: str) -> str:
    """What the figures depend on, in general words."""
    parts = [f"{os.cpu_count()} CPUs ({_processor()})", f"{platform.system()}"]
    # how an interpreter was built matters, and the distribution's own is what its users have
    whose = ", the distribution's own" if sys.base_prefix == "/usr" else ", built elsewhere"
    parts.append(f"{platform.python_implementation()} {platform.python_version()}{whose}")
    return ", ".join([*parts, *(f"{name} {version(name)}" for name in libraries)])


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{model}, {platform.machine()}" if model else platform.machine()
