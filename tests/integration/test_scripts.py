"""The commands a newcomer types, as they are typed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
BARE_TOOLS = ("bash", "cat", "cksum", "dirname", "env", "grep", "id", "sort", "tr", "uname")


def test_the_demo_logs_alice_in_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPTS / "demo", "--once"],
        cwd="/",
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    complaints = [line for line in done.stderr.splitlines() if not line.startswith("setup: installing ")]
    assert (done.returncode, complaints) == (0, [])
    assert '"principal":"alice@TEST.EXAMPLE"' in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def bare_machine(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A checkout, and the environment of a machine with hardly a program and no package tool that we know."""
    for directory in ("scripts", "bin"):
        (tmp_path / directory).mkdir()
    shutil.copy(SCRIPTS / "setup", tmp_path / "scripts")
    for tool in BARE_TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is not there"))
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    return tmp_path / "scripts" / "setup", {"PATH": str(tmp_path / "bin")}


def test_setup_where_it_cannot_install_says_what_to_type(bare_machine: tuple[Path, dict[str, str]]) -> None:
    setup, env = bare_machine

    done = subprocess.run([setup, "demo"], env=env, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 5, done.stderr
    first, apt, dnf, brew, last = done.stderr.splitlines()
    assert first.startswith("setup: these are missing: ")
    assert "sudo apt-get install --no-install-recommends" in apt
    assert "krb5-user" in apt
    assert "sudo dnf install" in dnf
    assert "krb5-workstation" in dnf
    assert "krb5" in brew.split()
    assert last == "Then run the same command again."


def test_setup_takes_no_level_that_it_does_not_know(bare_machine: tuple[Path, dict[str, str]]) -> None:
    setup, env = bare_machine

    done = subprocess.run([setup, "everything"], env=env, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (2, "usage: scripts/setup [demo|docs|test]\n")
