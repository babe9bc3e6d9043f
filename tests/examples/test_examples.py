"""Every example is started as its first lines say, and logged in to."""

import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import NTLM
from tests.integration.serving import ROOT, SECONDS, Server, get, serve
from tests.integration.tokens import NTLM_NEGOTIATE, neg_token_init

HTTP = "HTTP/localhost"
EXAMPLES = ROOT / "examples"
TESTS = ROOT / "tests"


def test_every_example_is_tested_somewhere() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    tests = "".join(path.read_text() for path in TESTS.rglob("*.py"))

    untested = {name for name in names if name not in tests}

    assert names
    assert not untested


@pytest.fixture(scope="module", params=["starlette_app", "fastapi_app", "plain_asgi_app", "whoami"])
def example(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    with serve(f"{request.param}:app", "--app-dir", str(EXAMPLES), env=service_env) as server:
        yield server


def test_alice_logs_in_to_it(example: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    client = kerberos_realm.initiator(HTTP, alice)

    answer = get(example, token=client.step())

    assert answer.status == 200
    assert answer.json["principal"] == "alice@TEST.EXAMPLE"
    assert answer.json["username"] == "alice"
    assert answer.json["mechanism"] == "kerberos"
    client.step(answer.token)
    assert client.complete


def test_curl_logs_in_to_it(example: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    done = subprocess.run(
        ["curl", "-sS", "--negotiate", "-u", ":", example.url],
        env=kerberos_realm.environ(alice),
        capture_output=True,
        text=True,
        check=True,
    )

    assert '"alice@TEST.EXAMPLE"' in done.stdout


def test_a_stranger_does_not(example: Server) -> None:
    answer = get(example)

    assert (answer.status, answer.challenges) == (401, ["Negotiate"])


def test_starlettes_own_decorators_work_unchanged(
    service_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    with serve("starlette_app:app", "--app-dir", str(EXAMPLES), env=service_env) as server:
        payroll, personnel, public_with_ticket = (
            get(server, target, kerberos_realm.token(HTTP, alice)) for target in ("/payroll", "/personnel", "/healthz")
        )
        public = get(server, "/healthz")

    assert (payroll.status, payroll.body) == (200, b"the payroll, for alice alone\n")
    assert personnel.status == 403  # she is in no group
    assert (public.status, public.body) == (200, b"ok\n")
    assert public_with_ticket.challenges == []


def test_fastapis_public_pages_are_public(service_env: dict[str, str]) -> None:
    with serve("fastapi_app:app", "--app-dir", str(EXAMPLES), env=service_env) as server:
        statuses = [get(server, target).status for target in ("/docs", "/openapi.json", "/redoc", "/")]

    assert statuses == [200, 200, 401, 401]


# A handshake over a plain TCP stream


@pytest.fixture(scope="module")
def tcp_server(service_env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, str(EXAMPLES / "tcp_stream.py"), "serve", "127.0.0.1", "0"]
    with subprocess.Popen(command, env=service_env, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            listening = re.fullmatch(r"listening on 127\.0\.0\.1 (\d+)\n", child.stdout.readline())
            assert listening
            yield child, int(listening[1])
        finally:
            child.terminate()


def connect(port: int, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / "tcp_stream.py"), "connect", "127.0.0.1", str(port), "HTTP@localhost"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS)


def test_alice_logs_in_over_a_plain_tcp_stream(
    tcp_server: tuple[subprocess.Popen[str], int], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    done = connect(tcp_server[1], kerberos_realm.environ(alice))

    assert (done.stdout, done.stderr) == ("hello alice@TEST.EXAMPLE\n", "")


def test_bad_tokens_over_a_plain_tcp_stream_are_refused_and_the_next_client_is_served(
    tcp_server: tuple[subprocess.Popen[str], int], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    child, port = tcp_server
    replayed = kerberos_realm.token(HTTP, alice)
    tokens = [replayed, replayed, b"garbage", neg_token_init([NTLM], NTLM_NEGOTIATE), b""]
    answers = []
    for token in tokens:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            client.sendall(struct.pack("!I", len(token)) + token)
            with client.makefile("rb") as stream:
                answers.append(stream.read())

    assert b"hello alice@TEST.EXAMPLE" in answers[0]
    assert answers[1:] == [b""] * 4
    assert child.stdout is not None
    refusals = [child.stdout.readline() for _ in range(3)]
    assert [re.findall(r"^refused: \w+ \((\S+)\)", line) for line in refusals] == [
        ["replay"],
        ["malformed"],
        ["mechanism-not-allowed"],
    ]
    assert "hello alice" in connect(port, kerberos_realm.environ(alice)).stdout


def test_without_a_ticket_nobody_logs_in_over_a_plain_tcp_stream(
    tcp_server: tuple[subprocess.Popen[str], int], kerberos_realm: KerberosRealm
) -> None:
    done = connect(tcp_server[1], kerberos_realm.environ())

    assert done.returncode != 0
    assert "hello" not in done.stdout
