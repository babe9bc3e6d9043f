"""The README does what it says: every block in it is run."""

import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from requests_ntlm import HttpNtlmAuth

from negotiate_mw.testing import KerberosRealm

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = dict(re.findall(r"<!-- test: (\S+) -->\n```\w+\n(.*?)```", README, re.DOTALL))
BIN = Path(sys.executable).parent


@pytest.fixture
def folder(tmp_path: Path, kerberos_realm: KerberosRealm) -> Path:
    """A folder with the README's Python blocks and a keytab, as a newcomer has it."""
    for name, block in BLOCKS.items():
        if name.endswith(".py"):
            (tmp_path / name).write_text(block)
    kerberos_realm.keytab("HTTP/localhost", path=tmp_path / "http.keytab")
    return tmp_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_server(command: str, folder: Path, env: dict[str, str], port: int) -> Iterator[None]:
    server = subprocess.Popen(["bash", "-c", command], cwd=folder, env=env)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, "the server ended"
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(10)


def environ(realm: KerberosRealm) -> dict[str, str]:
    env = realm.environ(realm.kinit("alice"))
    env.pop("KRB5_KTNAME", None)
    return env | {"PATH": f"{BIN}:{env['PATH']}"}


def test_every_block_but_the_answers_is_named_for_a_test() -> None:
    fences = re.findall(r"^```(\w+)", README, re.MULTILINE)

    named = [name for name in BLOCKS if name in {"install", "run", "curl", "demo"} or name.endswith(".py")]

    assert len(named) == len(BLOCKS) == len([kind for kind in fences if kind != "text"])


def test_the_install_block_names_packages_that_are_there_and_extras_that_exist() -> None:
    apt, pip = BLOCKS["install"].strip().splitlines()
    packages = shlex.split(apt, comments=True)[4:]
    requirement = shlex.split(pip, comments=True)[2]
    extras = re.findall(r"\w+", requirement)

    missing = [name for name in packages if shutil.which("dpkg-query") and not is_installed(name)]
    known = subprocess.run(
        [
            sys.executable,
            "-c",
            "import importlib.metadata as m; print(*m.metadata('negotiate-mw').get_all('Provides-Extra'))",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert "libkrb5-dev" in packages
    assert not missing
    assert re.fullmatch(r"\.\[[\w,]+\]", requirement)
    assert set(extras) <= set(known)


def is_installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${Status}", package]
    return subprocess.run(query, check=False, capture_output=True, text=True).stdout.endswith("ok installed")


def test_the_ten_lines_log_alice_in(folder: Path, kerberos_realm: KerberosRealm) -> None:
    port = free_port()
    env = environ(kerberos_realm)

    with run_server(BLOCKS["run"].replace("uvicorn", "exec uvicorn").replace("8000", str(port)), folder, env, port):
        answer = subprocess.run(
            ["bash", "-c", BLOCKS["curl"].replace("8000", str(port))],
            check=True,
            capture_output=True,
            text=True,
            env=env,
        )

    assert answer.stdout == '"Hello alice"'


def test_the_development_acceptor_logs_a_local_request_in_without_a_ticket(folder: Path) -> None:
    port = free_port()
    env = {**os.environ, "NEGOTIATE_MW_DEV": "1"}

    with run_server(f"exec {BIN}/uvicorn dev:app --port {port}", folder, env, port):
        # not urllib: it asks to close the connection, as a proxy on this machine may, and so isn't taken for local
        answer = requests.get(f"http://localhost:{port}/", timeout=5)

    assert answer.json() == "Hello alice"


def test_the_policy_block_starts(folder: Path, kerberos_realm: KerberosRealm) -> None:
    port = free_port()

    with run_server(f"exec uvicorn policy:app --port {port}", folder, environ(kerberos_realm), port):
        answer = requests.get(f"http://127.0.0.1:{port}/", timeout=5)

    assert answer.status_code == 401  # loopback is excepted from require_tls


def test_the_sessions_block_needs_one_ticket(folder: Path, kerberos_realm: KerberosRealm) -> None:
    port = free_port()
    env = environ(kerberos_realm) | {"KRB5_KTNAME": "http.keytab", "SESSION_KEY": secrets.token_urlsafe(32)}
    url = f"http://localhost:{port}/"

    with run_server(f"exec uvicorn sessions:app --port {port}", folder, env, port):
        log_in = ["curl", "-sSf", "--negotiate", "-u", ":", "-c", "jar", url]
        subprocess.run(log_in, cwd=folder, check=True, capture_output=True, env=env)
        again = ["curl", "-sSf", "-b", "jar", url]
        answer = subprocess.run(again, cwd=folder, check=True, capture_output=True, text=True, env=env)

    assert answer.stdout == '"Hello alice"'


def test_the_ntlm_block_starts_over_tls_and_lets_a_bound_log_in_in(folder: Path, kerberos_realm: KerberosRealm) -> None:
    port = free_port()
    env = environ(kerberos_realm)
    users = folder / "users.txt"
    users.touch(0o600)
    hashed = [BIN / "negotiate-mw", "ntlm-hash", "CORP", "bob", "-"]
    users.write_text(subprocess.run(hashed, input="secret\n", check=True, capture_output=True, text=True).stdout)
    certificate = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost", "-days", "2"]
    certificate += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*certificate, "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
    )
    (folder / "serve.py").write_text(
        "from ntlm import app\nfrom starlette.responses import PlainTextResponse\n"
        "app.add_route('/', lambda request: PlainTextResponse(request.user.principal))\n"
    )

    tls = "--ssl-certfile cert.pem --ssl-keyfile key.pem"
    with run_server(f"exec uvicorn serve:app --port {port} {tls}", folder, env, port):
        with requests.Session() as session:
            session.trust_env, session.verify = False, str(folder / "cert.pem")
            session.auth = HttpNtlmAuth("CORP\\bob", "secret")
            principal = session.get(f"https://localhost:{port}/").text

    assert principal == "CORP\\bob"


def test_the_demo_block_names_the_two_commands_and_the_demo_logs_in() -> None:
    demo, test = BLOCKS["demo"].split()

    printed = subprocess.run([ROOT / demo, "--once"], check=True, capture_output=True, text=True, timeout=300).stdout

    assert "alice@TEST.EXAMPLE" in printed
    assert os.access(ROOT / test, os.X_OK)


def test_the_refusal_in_the_readme_is_what_a_client_gets(folder: Path, kerberos_realm: KerberosRealm) -> None:
    port = free_port()
    shown = README.partition("```text\nHTTP/1.1 401")[2].partition("```")[0]

    with (
        run_server(
            f"KRB5_KTNAME=http.keytab exec uvicorn app:app --port {port}", folder, environ(kerberos_realm), port
        ),
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        urllib.request.urlopen(f"http://localhost:{port}/", timeout=5)

    headers, body = refused.value.headers, refused.value.read().decode()
    assert f"www-authenticate: {headers['www-authenticate']}\n" in shown
    assert f"cache-control: {headers['cache-control']}\n" in shown
    assert re.sub("[0-9a-f]{12}", "35a1e6cca338", body) in shown
