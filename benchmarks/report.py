"""Medians, spreads, and what a table of them has to say about the machine it was made on."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version


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
    parts = [f"{os.cpu_count()} CPUs ({platform.machine()})", f"{platform.system()}"]
    parts.append(f"{platform.python_implementation()} {platform.python_version()}")
    return ", ".join([*parts, *(f"{name} {version(name)}" for name in libraries)])
