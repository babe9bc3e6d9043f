"""The hot path's instructions, which hardly depend on the machine's other work: they may not creep up."""

import compileall
import json
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.instructions import BASELINE, HOT, TELLING, hot_path, interpreter, silent

MOST_PERCENT = 10
UPDATE = ".venv/bin/python -m benchmarks.instructions --update-baseline"


def test_the_hot_path_takes_no_more_instructions_than_its_baseline_allows() -> None:
    if shutil.which("valgrind") is None and "NEGOTIATE_MW_REQUIRE_REALM" not in os.environ:
        pytest.skip("needs valgrind: sudo apt-get install --no-install-recommends valgrind")
    baseline = json.loads(BASELINE.read_text()).get(interpreter())
    if baseline is None:
        pytest.skip(f"{BASELINE.name} has no counts of {interpreter()}; to add them: {UPDATE}")

    counted = hot_path()

    grown = {case: 100 * (counted[case] / baseline[case] - 1) for case in HOT}
    too_much = [f"{case}: {grown[case]:+.1f} %" for case in HOT if grown[case] > MOST_PERCENT]
    assert not too_much, (
        f"{', '.join(too_much)} instructions a request, {baseline} before and {counted} now; at most +{MOST_PERCENT} % "
        f"are taken for granted. If that is what it costs, write it down: {UPDATE}"
    )


def test_the_baseline_has_every_kind_of_request() -> None:
    known = json.loads(BASELINE.read_text())

    assert known
    assert all(set(counts) == set(HOT) for counts in known.values())


def test_the_package_runs_without_the_lines_that_tell_of_a_log_in(tmp_path: Path) -> None:
    silent(tmp_path)

    package = tmp_path / "negotiate_mw"
    assert compileall.compile_dir(package, quiet=1)
    assert not [module for module in ("middleware.py", "accept.py") if TELLING.search((package / module).read_text())]
