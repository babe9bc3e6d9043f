"""docs/testing.md is run as it stands: each block is a file of one project, and its tests pass."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.usefixtures("kerberos_realm")  # to skip with its reason where there is no KDC
def test_the_pages_own_tests_pass(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    wanted = sum(text.count("\ndef test_") for text in FILES.values())
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )

    assert f"{wanted} passed" in done.stdout, done.stdout
    assert wanted > 6


def test_every_block_is_one_of_the_files() -> None:
    assert PAGE.count("```python") == len(FILES)
