"""What a campaign found.

Law: a campaign is a function of a count and a seed; it starts what it needs, leaves nothing behind, and says what it
saw. Broken promises are found, not raised: the same figures then stand beside them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one run.

    Attributes:
        done: how many inputs, opens, steps, … there were.
        held: for how many of them the promise held; ``held / done`` is the ratio that is printed.
        counts: what else was counted or measured, by name, in the unit that the name ends with.
        failures: each broken promise as a sentence; none: passed.
    """

    done: int
    held: int
    counts: Mapping[str, int | float]
    failures: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """The share of ``done`` that held."""
        return self.held / self.done if self.done else 0.0


class Campaign(NamedTuple):
    """A campaign: ``run(count, seed)``, the count of the test suite, and that of ``scripts/soak``."""

    name: str
    run: Callable[[int, int], Report]
    short: int
    long: int
