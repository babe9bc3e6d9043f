"""The wheel, installed, does what the checkout does: the source distribution's own tests run against it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from negotiate_mw.cli import _COMMANDS
from negotiate_mw.testing import KerberosRealm
from tests.test_readme import BLOCKS, environ, free_port, run_server

from .building import ROOT, Environment, clean_environ, unpack

LOG_INS = [
    "tests/integration/test_clients.py::test_curl_logs_in_and_the_first_request_is_enough",
    "tests/integration/test_clients.py::test_the_c_library_verifies_the_final_token",
]
COMMANDS = [
    "tests/doctor/test_check.py::test_a_keytab_in_order_is_ok",
    "tests/doctor/test_check.py::test_the_servers_command_line_names_the_app_and_is_examined",
]
PLUGIN = """
from negotiate_mw.testing import KerberosRealm, as_user


def test_the_fixture_is_a_realm(kerberos_realm: KerberosRealm) -> None:
    assert kerberos_realm.initiator("HTTP/localhost", kerberos_realm.kinit("alice")).step()
"""


@pytest.fixture(scope="module")
def tree(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution without the package, so that its tests can only be of what is installed."""
    unpacked = unpack(sdist, tmp_path_factory.mktemp("tree"))
    shutil.rmtree(unpacked / "negotiate_mw")
    return unpacked


def outcome(tested: Environment, tree: Path, *arguments: str) -> str:
    options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "--color=no"]
    done = tested.run("python", "-m", "pytest", *options, *arguments, cwd=tree)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    (counts,) = re.findall(r"^(\d+ \w+.*) in [\d.]+s", done.stdout, re.MULTILINE)
    return re.sub(r"\d+", "N", counts)


def test_what_is_imported_is_the_wheel(tested: Environment, tree: Path) -> None:
    done = tested.run("python", "-c", "import negotiate_mw; print(negotiate_mw.__file__)", cwd=tree)

    assert Path(done.stdout.strip()) == tested.site / "negotiate_mw" / "__init__.py"
    assert not (tree / "negotiate_mw").exists()
    assert str(ROOT) not in tested.run("python", "-c", "import sys; print(sys.path)", cwd=tree).stdout


def test_the_core_and_the_shell_pass(tested: Environment, tree: Path) -> None:
    assert outcome(tested, tree, "tests/core", "tests/shell") == "N passed"


@pytest.mark.usefixtures("kerberos_realm")  # to skip with its reason where there is no KDC
def test_alice_logs_in_with_a_real_ticket(tested: Environment, tree: Path) -> None:
    assert outcome(tested, tree, *LOG_INS) == "N passed"


def test_from_a_keytab_to_a_protected_app_it_takes_at_most_ten_lines(
    tested: Environment, kerberos_realm: KerberosRealm, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(BLOCKS["app.py"])
    kerberos_realm.keytab("HTTP/localhost", path=tmp_path / "http.keytab")
    env = clean_environ(**environ(kerberos_realm)) | {"PATH": f"{tested.programs}:{os.environ['PATH']}"}
    port = free_port()
    start = BLOCKS["run"].replace("uvicorn", "exec python -m uvicorn").replace("8000", str(port))

    with run_server(start, tmp_path, env, port):
        ask = ["bash", "-c", BLOCKS["curl"].replace("8000", str(port))]
        answer = subprocess.run(ask, env=env, check=True, capture_output=True, text=True)

    typed = [line for block in ("app.py", "run") for line in BLOCKS[block].splitlines() if line]
    assert answer.stdout == '"Hello alice"'
    assert len(typed) <= 10


@pytest.mark.usefixtures("kerberos_realm")
def test_a_deployment_is_examined(tested: Environment, tree: Path) -> None:
    assert outcome(tested, tree, *COMMANDS) == "N passed"


@pytest.mark.usefixtures("kerberos_realm")
def test_pytest_finds_the_plugin_by_itself(tested: Environment, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(PLUGIN)

    assert outcome(tested, tmp_path, "-W", "error", "test_mine.py") == "N passed"


def test_every_test_of_the_source_distribution_is_collected(tested: Environment, tree: Path) -> None:
    done = tested.run("python", "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "tests", cwd=tree)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


@pytest.mark.parametrize("name", [command.name for command in _COMMANDS])
def test_each_command_is_there_and_explains_itself(tested: Environment, tmp_path: Path, name: str) -> None:
    done = tested.run("negotiate-mw", name, "--help", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: negotiate-mw {name}")


def test_every_public_name_has_a_type_that_is_known(tested: Environment, tmp_path: Path) -> None:
    pyright = Path(sys.executable).parent / "pyright"
    options = ["--verifytypes", "negotiate_mw", "--ignoreexternal", "--outputjson"]
    env = clean_environ(PATH=f"{tested.programs}:{os.environ['PATH']}")  # it asks the first python there

    done = subprocess.run([pyright, *options], cwd=tmp_path, env=env, capture_output=True, text=True)

    said = json.loads(done.stdout)["typeCompleteness"]
    problems = [
        f"{symbol['name']}: {problem['message']}"
        for symbol in said["symbols"]
        for problem in symbol["diagnostics"]
        if problem["severity"] == "error"
    ]
    assert said["packageRootDirectory"] == str(tested.site / "negotiate_mw")
    assert not problems
    assert said["completenessScore"] == 1
