"""Runs the campaigns again and again, each round with a new seed, until the time is over.

Law: one line per run, with all that it takes to run it again; the exit status tells whether every one passed.
"""

import argparse
import logging
import random
import sys
import time
from collections.abc import Sequence

from .registry import CAMPAIGNS
from .report import Campaign, Report


def line(campaign: Campaign, seed: int, report: Report, seconds: float) -> str:
    """One run in a line, and a line below it for each broken promise."""
    counts = ", ".join(f"{name} {value}" for name, value in report.counts.items())
    verdict = "FAIL" if report.failures else "pass"
    said = f"{verdict} {campaign.name}: {report.held}/{report.done} = {report.ratio:.4%}, seed {seed}, {seconds:.0f} s"
    return "\n".join([f"{said}; {counts}", *(f"  {failure}" for failure in report.failures)])


def soak(campaigns: Sequence[Campaign], seconds: float, seed: int | None, *, short: bool) -> bool:
    """True if every run passed. Each campaign is begun at least once; none after the time is over."""
    dice, passed, end = random.Random(), True, time.monotonic() + seconds
    done: set[str] = set()
    while True:
        for campaign in campaigns:
            if time.monotonic() >= end and len(done) == len(campaigns):
                return passed
            number = dice.randrange(2**32) if seed is None else seed
            began = time.monotonic()
            report = campaign.run(campaign.short if short else campaign.long, number)
            print(line(campaign, number, report, time.monotonic() - began), flush=True)
            passed &= not report.failures
            done.add(campaign.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every run passed; 1: one didn't."""
    parser = argparse.ArgumentParser(prog="soak", description="Run the campaigns for some time.")
    parser.add_argument("--minutes", type=float, default=60, help="how long; each campaign runs once in any case")
    parser.add_argument("--only", action="append", choices=[campaign.name for campaign in CAMPAIGNS])
    parser.add_argument("--seed", type=int, help="the seed of a line before, to run it again")
    parser.add_argument("--short", action="store_true", help="the counts of the test suite")
    options = parser.parse_args(arguments)
    logging.getLogger("negotiate_mw").addHandler(logging.NullHandler())  # one line for each campaign, not each refusal
    campaigns = [campaign for campaign in CAMPAIGNS if not options.only or campaign.name in options.only]
    return 0 if soak(campaigns, options.minutes * 60, options.seed, short=options.short) else 1


if __name__ == "__main__":
    sys.exit(main())
