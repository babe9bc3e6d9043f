"""The campaigns with their short counts; ``scripts/soak`` has the long ones."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from negotiate_mw.testing import RealmUnavailable
from negotiate_mw.testing.plugin import REQUIRED

from .child import in_child
from .registry import CAMPAIGNS
from .report import Campaign, Report
from .soak import line, soak

ROOT = Path(__file__).resolve().parents[2]
SEED = 1
SHORT = {campaign.name: campaign for campaign in CAMPAIGNS}


def run(name: str) -> Report:
    campaign = SHORT[name]
    try:
        report = campaign.run(campaign.short, SEED)
    except RealmUnavailable as exc:
        if os.environ.get(REQUIRED) == "1":
            raise
        pytest.skip(str(exc))
    print(line(campaign, SEED, report, 0))
    return report


def test_nothing_that_a_client_sends_is_an_error_of_ours_or_lets_anybody_in_without_a_key() -> None:
    report = run("hostile")

    assert report.failures == ()
    assert report.held == report.done >= 50_000
    assert report.counts["let in, by the proof's own user"] > 500  # or else it only shows that nobody gets in


def test_the_readers_raise_nothing_but_their_own_error() -> None:
    report = run("readers")

    assert report.failures == ()
    assert report.counts["read"] > 5_000


def test_a_flood_of_half_open_handshakes_keeps_nobody_out_and_leaves_nothing() -> None:
    report = run("flood")

    assert report.failures == ()
    assert report.ratio >= 0.99
    assert report.counts["most at once"] == 10_000  # the cap, which was reached


def test_two_things_at_once_on_one_context_and_callers_who_give_up_leave_nothing() -> None:
    report = run("races")

    assert report.failures == ()
    assert report.held == report.done
    assert report.counts["given up"] >= 2_000


def test_a_token_is_accepted_once_however_many_offer_it_at_once() -> None:
    report = run("replay")

    assert report.failures == ()
    assert report.counts["accepted"] == report.done == 1_000
    assert 0 < report.counts["by a process of its own"] < 1_000  # both kinds win now and then


def test_slow_accepts_leave_the_loop_and_other_peoples_threads_alone() -> None:
    report = run("slow")

    assert report.failures == ()
    assert report.counts["refused of the overflow"] == 200


# The runner


def test_a_crash_is_a_failure_with_its_place(tmp_path: Path) -> None:
    report = in_child("crashing")(3, SEED)

    assert (report.done, report.held) == (3, 0)
    (failure,) = report.failures
    assert "the process ended with -11" in failure
    assert "Segmentation fault" in failure


def test_the_runner_goes_on_until_the_time_is_over_and_tells_of_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    seeds: list[int] = []

    def sometimes(count: int, seed: int) -> Report:
        seeds.append(seed)
        failures = ("it broke",) if len(seeds) == 2 else ()
        return Report(done=count, held=count - len(failures), counts={"seen": len(seeds)}, failures=failures)

    good = soak([Campaign("some", sometimes, 1, 4)], 0, None, short=False)
    bad = soak([Campaign("some", sometimes, 1, 4), Campaign("more", sometimes, 1, 4)], 0, 7, short=True)

    assert (good, bad) == (True, False)
    first, second, why, third = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"pass some: 4/4 = 100\.0000%, seed \d+, 0 s; seen 1", first)
    assert second == "FAIL some: 0/1 = 0.0000%, seed 7, 0 s; seen 2"
    assert why == "  it broke"
    assert third.startswith("pass more: 1/1")
    assert seeds[1:] == [7, 7]


def test_the_exit_status_of_the_runner_is_that_of_its_campaigns() -> None:
    command = [sys.executable, "-m", "tests.campaigns.soak", "--minutes", "0", "--short", "--only", "readers"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pass readers: 50000/50000")
