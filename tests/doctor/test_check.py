"""The command ``negotiate-mw check``, as an operator types it."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.causes import CAUSES
from negotiate_mw.testing import KerberosRealm

from .conftest import Run

APP = """
from negotiate_mw import Acceptor, NegotiateMiddleware
{lines}
"""
STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
inner = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])
inner.add_middleware(NegotiateMiddleware, acceptor=Acceptor(keytab="{keytab}", hostname="other.test.example"))
app = Starlette(routes=[Mount("/inner", inner)])
"""


def write_app(directory: Path, lines: str) -> None:
    (directory / "main.py").write_text(APP.format(lines=lines))


def everything(directory: Path) -> dict[str, tuple[int, int, str]]:
    """Each file with its mode, time and contents."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_keytab_in_order_is_ok(run: Run, kerberos_realm: KerberosRealm, alice: Path, keytab: Path) -> None:
    done = run("check", "--keytab", str(keytab), env=kerberos_realm.environ(alice))

    assert done.returncode == 0, done.stdout
    assert "a ticket for HTTP/localhost opens: kvno 1, aes256-cts-hmac-sha1-96" in done.stdout
    assert "logged in as alice@TEST.EXAMPLE" in done.stdout
    assert done.stderr == ""


def test_a_problem_is_named_with_its_cure_and_makes_the_exit_status_2(run: Run, kerberos_realm: KerberosRealm) -> None:
    done = run("check", "--keytab", "/nowhere/http.keytab", env=kerberos_realm.environ())

    assert done.returncode == 2
    assert "PROBLEM keytab" in done.stdout
    assert "[keytab]" in done.stdout
    assert "→ name the right file: Acceptor(keytab=…) or KRB5_KTNAME=…" in done.stdout


def test_a_warning_alone_makes_the_exit_status_1(run: Run, kerberos_realm: KerberosRealm, keytab: Path) -> None:
    done = run("check", "--keytab", str(keytab), "--rcache", "none", env=kerberos_realm.environ())

    assert done.returncode == 1
    assert "[replay-cache-off]" in done.stdout


def test_an_app_that_cannot_be_imported_makes_the_exit_status_3(run: Run, kerberos_realm: KerberosRealm) -> None:
    done = run("check", "no_such_module:app", env=kerberos_realm.environ())

    assert done.returncode == 3
    assert "No module named 'no_such_module'" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("path", ["main", "main:", ":app", "main:nothing", "main:plain"])
def test_a_path_without_a_middleware_is_refused_in_one_line(
    run: Run, kerberos_realm: KerberosRealm, tmp_path: Path, path: str
) -> None:
    write_app(tmp_path, "plain = lambda scope, receive, send: None")

    done = run("check", path, env=kerberos_realm.environ())

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


def test_json_has_every_line_and_the_status(run: Run, kerberos_realm: KerberosRealm, keytab: Path) -> None:
    keytab.chmod(0o644)

    done = run("check", "--json", "--keytab", str(keytab), env=kerberos_realm.environ())

    report = json.loads(done.stdout)
    assert report["status"] == done.returncode == 2
    (line,) = (line for line in report["lines"] if line["level"] == "problem")
    assert line["theme"] == "keytab"
    assert line["cause"] == "keytab-exposed"
    assert line["cure"].startswith("`chmod 0600 ")
    assert {line["cause"] for line in report["lines"]} <= CAUSES.keys() | {""}
    assert {line["level"] for line in report["lines"]} <= {"ok", "skipped", "warning", "problem"}


def test_the_options_of_a_wrapped_app_are_its_own(
    run: Run, kerberos_realm: KerberosRealm, keytab: Path, tmp_path: Path
) -> None:
    write_app(tmp_path, f'app = NegotiateMiddleware(lambda s, r, t: None, acceptor=Acceptor(keytab="{keytab}"))')

    done = run("check", "main:app", env=kerberos_realm.environ())

    assert done.returncode == 0, done.stdout
    assert f"{keytab} can be read by us" in done.stdout


def test_the_options_of_starlettes_middleware_in_a_mount_are_found(
    run: Run, kerberos_realm: KerberosRealm, keytab: Path, tmp_path: Path
) -> None:
    write_app(tmp_path, STARLETTE.format(keytab=keytab))

    done = run("check", "main:app", env=kerberos_realm.environ())

    assert done.returncode == 2
    assert "[hostname-without-key]" in done.stdout
    assert "no key of HTTP/other.test.example" in done.stdout


def test_a_wrong_option_of_the_app_is_said_in_its_own_words(
    run: Run, kerberos_realm: KerberosRealm, tmp_path: Path
) -> None:
    write_app(tmp_path, 'app = NegotiateMiddleware(None, acceptor=Acceptor(offload="sometimes"))')

    done = run("check", "main:app", env=kerberos_realm.environ())

    assert done.returncode == 3
    assert 'give "auto", "always" or "never"' in done.stderr


def test_the_servers_command_line_names_the_app_and_is_examined(
    run: Run, kerberos_realm: KerberosRealm, keytab: Path, tmp_path: Path
) -> None:
    write_app(
        tmp_path,
        "from negotiate_mw import CookieSessions\n"
        f'app = NegotiateMiddleware(None, acceptor=Acceptor(keytab="{keytab}"), sessions=CookieSessions())',
    )

    done = run("check", "--server", "uvicorn main:app --workers 4 --http h11", env=kerberos_realm.environ())

    assert done.returncode == 2
    assert "[generated-key]" in done.stdout
    assert "[head-too-large]" in done.stdout


def test_looking_changes_nothing(run: Run, kerberos_realm: KerberosRealm, keytab: Path, tmp_path: Path) -> None:
    (tmp_path / "rcache").mkdir(mode=0o700)
    ccache = kerberos_realm.kinit("alice", ccache=tmp_path / "ccache")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {**kerberos_realm.environ(ccache), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    before = everything(tmp_path)

    done = run("check", "--keytab", str(keytab), "--rcache", str(tmp_path / "rcache"), env=env)

    assert "a ticket for HTTP/localhost opens" in done.stdout
    assert everything(tmp_path) == before


@pytest.fixture
def walkable() -> Iterator[Path]:
    """A directory that everybody gets to, as pytest's own isn't."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


AS_ANYBODY = """
import os, sys
from negotiate_mw.cli import main
# before, since the interpreter's own files may be root's alone
import encodings.idna, negotiate_mw.doctor.checks, negotiate_mw.doctor.tickets
os.setgroups([])
os.setgid({gid})
os.setuid({uid})
sys.exit(main(["check"]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become somebody else")
def test_any_uid_whose_group_may_read_the_keytab_and_that_can_write_to_one_directory(
    kerberos_realm: KerberosRealm, walkable: Path
) -> None:
    # as in a container: the secret is root's and the group's; /tmp and home aren't there
    uid, gid = 65001, 65000
    keytab = kerberos_realm.keytab("HTTP/localhost", path=walkable / "http.keytab")
    place = walkable / "run"
    place.mkdir(mode=0o700)
    os.chown(place, uid, gid)
    os.chown(keytab, 0, gid)
    keytab.chmod(0o440)
    env = {"PATH": os.environ["PATH"], "KRB5_CONFIG": "/dev/null", "KRB5_KTNAME": f"FILE:{keytab}"}
    env |= {"RUNTIME_DIRECTORY": str(place), "TMPDIR": "/proc", "HOME": "/nonexistent", "COLUMNS": "300"}
    code = AS_ANYBODY.format(uid=uid, gid=gid)

    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "mode 0440" in done.stdout
    assert f"{place}/krb5_{uid}.rcache2 is ours" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become somebody else")
def test_a_keytab_that_this_uid_may_not_read_is_a_problem(kerberos_realm: KerberosRealm, walkable: Path) -> None:
    keytab = kerberos_realm.keytab("HTTP/localhost", path=walkable / "http.keytab")
    env = {"PATH": os.environ["PATH"], "KRB5_CONFIG": "/dev/null", "KRB5_KTNAME": str(keytab), "TMPDIR": "/tmp"}
    code = AS_ANYBODY.format(uid=65001, gid=65000)

    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert "setfacl -m u:65001:r" in done.stdout


def test_the_command_imports_nothing_of_the_checks_until_it_runs() -> None:
    code = "import sys, negotiate_mw.cli as c\ntry: c.main(['check', '--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in sys.modules if m in ('gssapi', 'cryptography', 'redis')], file=sys.stderr)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stderr.strip() == "[]"


def test_a_kdc_that_answers_nothing_is_a_warning_and_no_hang(
    run: Run, kerberos_realm: KerberosRealm, alice: Path, keytab: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        conf = Path(kerberos_realm.env["KRB5_CONFIG"]).read_text()
        broken = tmp_path / "krb5.conf"
        broken.write_text(re.sub(r"kdc = \S+", f"kdc = 127.0.0.1:{silent.getsockname()[1]}", conf))
        env = {**kerberos_realm.environ(alice), "KRB5_CONFIG": str(broken)}

        done = run("check", "--seconds", "6", "--keytab", str(keytab), env=env)

    assert done.returncode == 1
    assert "[no-answer]" in done.stdout  # the ticket's check is left waiting
    assert "[kdc-unreachable]" in done.stdout  # the clock's gives up by itself
    assert "the replay cache " in done.stdout
