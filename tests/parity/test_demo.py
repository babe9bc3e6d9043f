"""``scripts/demo`` where there is no KDC: it shows a real log-in all the same."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from negotiate_mw.testing import realm
from tests.integration.serving import ROOT

SCRIPTS = ROOT / "scripts"
BARE_TOOLS = ("bash", "cat", "cksum", "dirname", "env", "grep", "id", "sort", "tr", "uname")
WARNING = "NTLM is allowed without required channel binding"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout on a machine where no KDC can be installed."""
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    for name in ("demo", "demo.py", "demo_ntlm_app.py"):
        shutil.copy(SCRIPTS / name, checkout / "scripts")
    for name in (".venv", "examples"):
        (checkout / name).symlink_to(ROOT / name)
    setup = checkout / "scripts" / "setup"
    setup.write_text('#!/bin/sh\n[ "$KERBEROS $1" = "no demo" ] || { echo "setup: no, sorry" >&2; exit 1; }\n')
    setup.chmod(0o755)
    return checkout


def assert_alice_logged_in_by_ntlm(printed: str) -> None:
    assert r"$ curl --ntlm -u 'DEMO\alice:" in printed
    assert (
        r'{"principal":"DEMO\\alice","username":"alice","realm":"DEMO","mechanism":"ntlm","expires_at":null}' in printed
    )
    assert printed.endswith("the app sees DEMO\\alice.\n")


@pytest.mark.parametrize(
    ("options", "before"),
    [
        (["--once", "--ntlm"], []),
        (["--once"], ["setup: no, sorry", "demo: so there is no KDC here; without one, NTLM with a file of users:"]),
    ],
    ids=["asked for", "no KDC"],
)
def test_it_shows_ntlm_and_leaves_nothing_behind(
    checkout: Path, tmp_path: Path, options: list[str], before: list[str]
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {**os.environ, "TMPDIR": str(temporary)}

    done = subprocess.run([checkout / "scripts" / "demo", *options], cwd="/", env=env, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert_alice_logged_in_by_ntlm(done.stdout)
    *others, warning = done.stderr.splitlines()
    assert others == before
    assert warning.startswith(WARNING)
    assert list(temporary.iterdir()) == []


def test_it_shows_ntlm_where_the_kdc_is_not_found(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(realm, "PROGRAMS", ("a-kdc-that-is-nowhere",))
    monkeypatch.setattr(sys, "argv", ["demo", "--once"])
    monkeypatch.setattr("signal.signal", lambda *_: None)

    runpy.run_path(str(SCRIPTS / "demo.py"), run_name="__main__")
    said = capfd.readouterr()

    assert_alice_logged_in_by_ntlm(said.out)
    assert "a-kdc-that-is-nowhere: not found. To install:" in said.err
    assert "So there is no KDC here; without one, NTLM with a file of users:" in said.err


def test_without_kerberos_little_is_needed(tmp_path: Path) -> None:
    """On a machine with hardly a program and no package tool that we know."""
    for folder in ("scripts", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(SCRIPTS / "setup", tmp_path / "scripts")
    for tool in BARE_TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is not there"))
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.executable).resolve())

    def missing(**env: str) -> list[str]:
        setup = [str(tmp_path / "scripts" / "setup"), "demo"]
        done = subprocess.run(setup, env={"PATH": str(tmp_path / "bin"), **env}, capture_output=True, text=True)
        assert done.returncode == 1
        named = re.search(r"apt-get install --no-install-recommends (.*)", done.stderr)
        return named[1].split() if named else []

    assert missing(KERBEROS="no") == ["curl"]
    assert {"curl", "krb5-user"} < set(missing())
