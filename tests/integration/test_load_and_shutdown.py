"""Load, faults and the end of a server, over real sockets: nobody waits longer than said, and nothing is left."""

import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5

from .loaded_app import LIMITS
from .serving import ROOT, SECONDS, Answer, Server, Wire, get, serve
from .tokens import neg_token_init

HTTP = "HTTP/localhost"
OFFLOADING = "tests.integration.loaded_app:app"
ROOMY = "tests.integration.loaded_app:roomy"
HOLDS_THE_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def own_env(service_env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A server's environment with a replay cache of its own."""
    rcache = tmp_path / "rcache"
    rcache.mkdir(0o700)
    return service_env | {"KRB5RCACHEDIR": str(rcache)}


@contextmanager
def lock_held(env: dict[str, str]) -> Iterator[None]:
    """Another process holds the replay cache's lock, for a ``with`` block."""
    (file,) = Path(env["KRB5RCACHEDIR"]).iterdir()
    command = [sys.executable, "-c", HOLDS_THE_LOCK, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.communicate(timeout=SECONDS)


def many_tokens(realm: KerberosRealm, ccache: Path, count: int) -> list[bytes]:
    return [realm.token(HTTP, ccache) for _ in range(count)]


def at_once(server: Server, tokens: list[bytes]) -> list[tuple[float, Answer]]:
    """One request for each token, all at the same time; seconds and answers, quickest first."""
    results: list[tuple[float, Answer]] = []

    def ask(token: bytes) -> None:
        began = time.monotonic()
        answer = get(server, token=token)
        results.append((time.monotonic() - began, answer))

    threads = [threading.Thread(target=ask, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(tokens)
    return sorted(results, key=lambda result: result[0])


def assert_out_of_order(answer: Answer) -> None:
    assert answer.status == 503
    assert answer.headers["retry-after"]
    assert answer.challenges == []


def assert_unharmed(server: Server, realm: KerberosRealm, ccache: Path) -> None:
    answer = get(server, token=realm.token(HTTP, ccache))
    assert answer.status == 200
    assert answer.json["principal"] == "alice@TEST.EXAMPLE"
    assert "Traceback" not in server.log


# The replay cache's lock in somebody else's hand: a step that takes as long as that one likes


def test_a_lock_held_by_another_process_is_503_at_the_deadline_and_all_is_well_on_release(
    own_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    with serve(OFFLOADING, env=own_env) as server:
        with lock_held(own_env):
            mark = server.mark()
            ((took, answer),) = at_once(server, many_tokens(kerberos_realm, alice, 1))
            said = server.since(mark)
        unharmed = get(server, token=kerberos_realm.token(HTTP, alice))

    assert_out_of_order(answer)
    assert took >= LIMITS.step_seconds
    assert said.count("\n") == 1
    assert "ERROR negotiate_mw: refused with 503: timeout: a step took over 2 s" in said
    assert unharmed.status == 200


def test_a_full_pool_refuses_at_once_and_keeps_nobody_waiting_who_needs_no_step(
    own_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    room = LIMITS.threads + LIMITS.queue
    tokens = many_tokens(kerberos_realm, alice, room + 6)
    with serve(OFFLOADING, env=own_env) as server:
        with lock_held(own_env):
            mark = server.mark()
            crowd: list[tuple[float, Answer]] = []
            thread = threading.Thread(target=lambda: crowd.extend(at_once(server, tokens)))
            thread.start()
            server.until_logged("refused with 503: busy", mark=mark)
            stranger, exempt = get(server), get(server, "/public/a")
            in_time = not server.since(mark).count("timeout")
            thread.join()
        after = [get(server, token=token).status for token in many_tokens(kerberos_realm, alice, room)]
        said = server.since(mark)

    for _, answer in crowd:
        assert_out_of_order(answer)
    assert said.count("refused with 503: busy") == 6
    assert said.count("refused with 503: timeout") == room
    assert (stranger.status, exempt.status) == (401, 200)
    assert in_time
    assert after == [200] * room


def test_clients_that_leave_while_their_step_runs_leave_nothing(
    own_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    tokens = many_tokens(kerberos_realm, alice, LIMITS.threads + LIMITS.queue)
    with serve(OFFLOADING, env=own_env) as server:
        assert_unharmed(server, kerberos_realm, alice)
        files = open_files(server)
        with lock_held(own_env):
            for number, token in enumerate(tokens):
                leave(server, request(token), reset=number % 2 == 0)
            get(server, "/public/a")  # they have been read
        until(lambda: get(server, token=kerberos_realm.token(HTTP, alice)).status == 200)
        until(lambda: open_files(server) <= files)

        assert_unharmed(server, kerberos_realm, alice)


# The client is gone


def request(token: bytes, body: bytes = b"") -> bytes:
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Negotiate {b64encode(token).decode()}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def leave(server: Server, data: bytes, *, reset: bool) -> None:
    """Send this much and be gone: in order, or by a reset."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
        connection.sendall(data)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("app", ["app", ROOMY], ids=["on the loop", "in the pool"])
@pytest.mark.parametrize("implementation", ["h11", "httptools"])
def test_a_client_gone_at_any_point_of_its_request_leaves_nothing(
    own_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, implementation: str, app: str
) -> None:
    half_open = request(neg_token_init([KRB5]), body=b"body")
    with serve(app, "--http", implementation, env=own_env) as server:
        assert_unharmed(server, kerberos_realm, alice)
        files = open_files(server)
        whole = request(kerberos_realm.token(HTTP, alice), body=b"b" * 40)
        for number, cut in enumerate([*range(1, len(whole), 13), len(whole)]):
            leave(server, whole[:cut], reset=number % 2 == 0)
        for number, cut in enumerate([*range(1, len(half_open), 5), *[len(half_open)] * 50]):
            leave(server, half_open[:cut], reset=number % 2 == 0)
        with ExitStack() as stack:
            for _ in range(20):  # after the first leg of several
                wire = stack.enter_context(Wire(server.port))
                assert wire.get(token=neg_token_init([KRB5])).token
        until(lambda: open_files(server) <= files)

        assert_unharmed(server, kerberos_realm, alice)
        assert "ERROR" not in server.log


# The end


def running_threads(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


def hammer(server: Server, tokens: list[bytes], statuses: Counter[object]) -> None:
    """Log in again and again, over new connections and over kept ones, until the server is gone."""
    try:
        while True:
            with Wire(server.port) as wire:
                statuses[wire.get(token=tokens.pop()).status] += 1
                statuses[wire.get(token=neg_token_init([KRB5])).status] += 1
                statuses[wire.get().status] += 1
    except (OSError, http.client.HTTPException, IndexError) as error:
        statuses[type(error)] += 1


@pytest.mark.parametrize("app", ["app", ROOMY], ids=["on the loop", "in the pool"])
def test_a_stop_under_load_is_in_order(
    own_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, app: str
) -> None:
    statuses: Counter[object] = Counter()
    with serve(app, env=own_env) as server:
        tokens = many_tokens(kerberos_realm, alice, 200)
        threads = [threading.Thread(target=hammer, args=(server, tokens, statuses)) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: statuses[200] >= 20)
        server.process.terminate()
        code = server.process.wait(SECONDS)
        for thread in threads:
            thread.join()
        log = server.log

    assert code in (0, -15)  # as uvicorn says that it was told to
    assert "Application shutdown complete." in log
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert {status for status in statuses if isinstance(status, int)} == {200, 401}
    assert [file.name for file in Path(own_env["KRB5RCACHEDIR"]).iterdir()] == [f"krb5_{os.geteuid()}.rcache2"]


def test_a_stop_while_steps_hang_ends_at_their_deadline(
    own_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    tokens = many_tokens(kerberos_realm, alice, LIMITS.threads + LIMITS.queue)
    answers: list[tuple[float, Answer]] = []
    with serve(OFFLOADING, env=own_env) as server, lock_held(own_env):
        before = running_threads(server)
        thread = threading.Thread(target=lambda: answers.extend(at_once(server, tokens)))
        thread.start()
        until(lambda: running_threads(server) == before + LIMITS.threads)
        server.process.terminate()
        code = server.process.wait(SECONDS)  # the threads still hang
        thread.join()
        log = server.log

    assert code in (0, -15)
    assert [answer.status for _, answer in answers] == [503] * len(tokens)
    assert "Application shutdown complete." in log
    assert "Traceback" not in log


def test_children_of_a_fork_accept_and_share_what_was_accepted(
    own_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    tokens = many_tokens(kerberos_realm, alice, 21)
    command = [sys.executable, "-m", "tests.integration.forking", *(b64encode(token).decode() for token in tokens)]

    done = subprocess.run(command, cwd=ROOT, env=own_env, capture_output=True, text=True, timeout=SECONDS)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert Counter(done.stdout.split()) == {"alice@TEST.EXAMPLE": 21, "replay": 60}
