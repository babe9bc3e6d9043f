"""Handshakes that take more than one request: kept per connection, on stock uvicorn and on our adapters.

The client is the C library with NTLM in front of Kerberos, which has to be told "Kerberos", and then proves by a MIC
that nobody tampered with the list: three legs (RFC 4178 4.2.2, request-mic).
"""

import asyncio
import gc
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn

from negotiate_mw import AcceptError, Acceptor, Limits, NegotiateMiddleware, Policy, SecStatus, connection
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5, NTLM, Continuation, read

from .gss_client import Initiators
from .serving import SECONDS, Answer, Server, Wire, get, serve
from .tokens import neg_token_init, neg_token_resp

NTLM_FIRST = ["ntlm", "kerberos"]
SERVERS = {
    "stock-h11": ("--http", "h11"),
    "stock-httptools": ("--http", "httptools"),
    "stock-uvloop": ("--loop", "uvloop"),
    "our-auto": ("--http", "negotiate_mw.servers.uvicorn:Auto"),
    "our-h11": ("--http", "negotiate_mw.servers.uvicorn:H11"),
    "our-httptools": ("--http", "negotiate_mw.servers.uvicorn:HttpTools"),
}


@pytest.fixture(scope="module", params=SERVERS.values(), ids=list(SERVERS))
def any_server(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    with serve("app", *request.param, env=service_env) as server:
        yield server


@pytest.fixture(scope="module")
def users(
    kerberos_realm: KerberosRealm, alice: Path, bob: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Initiators]]:
    """Alice's and bob's clients, who have a ticket and a password each."""
    passwords = tmp_path_factory.mktemp("ntlm") / "users"
    passwords.write_text("TEST:alice:a-password\nTEST:bob:b-password\n")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                Initiators({**kerberos_realm.environ(ccache), "NTLM_USER_FILE": str(passwords)}),
            )
            for name, ccache in {"alice": alice, "bob": bob}.items()
        }


def assert_user(answer: Answer, name: str) -> None:
    assert answer.status == 200
    assert answer.json["principal"] == f"{name}@TEST.EXAMPLE"


def assert_refused(answer: Answer) -> None:
    assert answer.status == 401
    assert answer.challenges == ["Negotiate"]


def assert_asked_for_more(answer: Answer, state: int) -> Continuation:
    assert answer.status == 401
    assert b"TEST.EXAMPLE" not in answer.body
    more = read(answer.token)
    assert isinstance(more, Continuation)
    assert more.state == state
    return more


def test_another_mechanism_in_front_takes_three_legs(any_server: Server, users: dict[str, Initiators]) -> None:
    client = users["alice"].begin("HTTP@localhost", NTLM_FIRST)

    with Wire(any_server.port) as wire:
        first = wire.get(token=client.step())
        second = wire.get(token=client.step(first.token))
        third = wire.get(token=client.step(second.token))

    assert assert_asked_for_more(first, 3).mechanism == KRB5  # request-mic
    assert_asked_for_more(second, 1)  # accept-incomplete: our own proof and MIC
    assert_user(third, "alice")
    assert third.challenges == []  # the library has nothing more to say
    assert client.complete


def test_a_list_without_a_token_takes_two_legs(any_server: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    client = kerberos_realm.initiator("HTTP/localhost", alice, wrapping="kerberos")

    with Wire(any_server.port) as wire:
        first = wire.get(token=neg_token_init([KRB5]))
        second = wire.get(token=neg_token_resp(client.step()))

    assert assert_asked_for_more(first, 1).mechanism == KRB5
    assert_user(second, "alice")
    final = read(second.token)
    assert isinstance(final, Continuation)
    assert final.state == 0
    client.step(final.mech_token)
    assert client.complete


def test_a_later_leg_that_only_the_library_can_read_is_the_clients_fault(
    kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    client = kerberos_realm.initiator("HTTP/localhost", alice, wrapping="kerberos")

    async def run() -> None:
        async with Acceptor(keytab=kerberos_realm.keytab("HTTP/localhost"), rcache=tmp_path) as acceptor:
            first = await acceptor.accept(None, neg_token_init([NTLM, KRB5]))
            await acceptor.accept(first.context, neg_token_resp(client.step()) + b"\0")

    with pytest.raises(AcceptError) as refused:
        asyncio.run(run())

    assert (refused.value.status, refused.value.reason) == (SecStatus.INVALID_TOKEN, "malformed")


@pytest.mark.parametrize("host", ["localhost", "www.test.example"])
@pytest.mark.parametrize("hostname", [["localhost", "www.test.example"], ["{host}", "www.test.example", "localhost"]])
def test_three_legs_are_taken_under_each_of_several_names(
    kerberos_realm: KerberosRealm, users: dict[str, Initiators], tmp_path: Path, hostname: list[str], host: str
) -> None:
    keytab = kerberos_realm.keytab("HTTP/localhost", "HTTP/www.test.example")
    client = users["alice"].begin(f"HTTP@{host}", NTLM_FIRST)

    async def run() -> str:
        async with Acceptor(keytab=keytab, rcache=tmp_path, hostname=hostname) as acceptor:
            result = await acceptor.accept(None, client.step() or b"", host=host)
            for _ in range(2):
                result = await acceptor.accept(result.context, client.step(result.token) or b"", host=host)
        assert result.identity is not None
        return result.identity.principal

    assert asyncio.run(run()) == "alice@TEST.EXAMPLE"


def test_the_app_has_the_user_for_the_last_leg_only(any_server: Server, users: dict[str, Initiators]) -> None:
    client = users["alice"].begin("HTTP@localhost", NTLM_FIRST)

    with Wire(any_server.port) as wire:
        answer = wire.get(token=client.step())
        while answer.status == 401:
            answer = wire.get(token=client.step(answer.token))
        afterwards = wire.get()

    assert_user(answer, "alice")
    assert_refused(afterwards)  # nothing remembers alice for the connection


def test_a_later_leg_over_another_connection_is_refused(any_server: Server, users: dict[str, Initiators]) -> None:
    client = users["alice"].begin("HTTP@localhost", NTLM_FIRST)

    with Wire(any_server.port) as wire, Wire(any_server.port) as other:
        first = wire.get(token=client.step())
        token = client.step(first.token)
        elsewhere = other.get(token=token)
        in_its_place = wire.get(token=token)

    assert_refused(elsewhere)
    assert_asked_for_more(in_its_place, 1)


def test_a_later_leg_after_the_connection_was_closed_is_refused(
    any_server: Server, users: dict[str, Initiators]
) -> None:
    client = users["alice"].begin("HTTP@localhost", NTLM_FIRST)
    with Wire(any_server.port) as wire:
        token = client.step(wire.get(token=client.step()).token)

    answers = [get(any_server, token=token) for _ in range(20)]

    for answer in answers:
        assert_refused(answer)


def test_a_leg_is_never_stepped_twice(any_server: Server, users: dict[str, Initiators]) -> None:
    client = users["alice"].begin("HTTP@localhost", NTLM_FIRST)

    with Wire(any_server.port) as wire:
        second = client.step(wire.get(token=client.step()).token)
        answer = wire.get(token=second)
        third = client.step(answer.token)
        assert_user(wire.get(token=third), "alice")
        again = [wire.get(token=third), wire.get(token=second)]

    for answer in again:
        assert_refused(answer)


def test_a_request_without_a_token_in_between_ends_the_handshake(
    any_server: Server, users: dict[str, Initiators]
) -> None:
    client = users["alice"].begin("HTTP@localhost", NTLM_FIRST)

    with Wire(any_server.port) as wire:
        token = client.step(wire.get(token=client.step()).token)
        stray = wire.get()
        late = wire.get(token=token)

    assert_refused(stray)
    assert_refused(late)


def test_http_1_0_gets_one_leg_and_no_more(
    any_server: Server, users: dict[str, Initiators], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    mark = any_server.mark()
    with Wire(any_server.port) as wire:
        several = wire.get(token=users["alice"].begin("HTTP@localhost", NTLM_FIRST).step(), version="1.0")
    with Wire(any_server.port) as wire:
        one = wire.get(token=kerberos_realm.token("HTTP/localhost", alice), version="1.0")

    assert_refused(several)
    any_server.until_logged("refused with 401: needs-connection: ", mark=mark)
    assert_user(one, "alice")


def test_interleaved_handshakes_keep_their_users(any_server: Server, users: dict[str, Initiators]) -> None:
    dice = random.Random(3)
    names = ["alice", "bob"] * 10
    clients = [users[name].begin("HTTP@localhost", NTLM_FIRST) for name in names]
    answers: dict[int, Answer] = {}

    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(any_server.port)) for _ in names]
        unfinished = list(range(len(names)))
        while unfinished:
            one = dice.choice(unfinished)
            token = clients[one].step(answers[one].token if one in answers else None)
            answers[one] = wires[one].get(token=token)
            if answers[one].status == 200:
                unfinished.remove(one)

    for one, name in enumerate(names):
        assert_user(answers[one], name)
        assert clients[one].complete


def test_connections_at_the_same_time_keep_their_users(
    any_server: Server, kerberos_realm: KerberosRealm, alice: Path, bob: Path
) -> None:
    tokens = [
        (name, kerberos_realm.initiator("HTTP/localhost", ccache, wrapping="kerberos").step())
        for name, ccache in [("alice", alice), ("bob", bob)] * 16
    ]
    got: list[tuple[str, Answer]] = []

    def log_in(mine: list[tuple[str, bytes]]) -> None:
        with Wire(any_server.port) as wire:
            for name, krb5 in mine:
                wire.get(token=neg_token_init([KRB5]))
                got.append((name, wire.get(token=neg_token_resp(krb5))))

    threads = [threading.Thread(target=log_in, args=(tokens[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == len(tokens)
    for name, answer in got:
        assert_user(answer, name)


# Where the server's own object is out of sight


@pytest.fixture(scope="module", params=[(), SERVERS["our-auto"]], ids=["stock", "our-auto"])
def wrapped_server(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    with serve("wrapped", *request.param, env=service_env) as server:
        yield server


def test_behind_a_middleware_that_hides_the_connection_one_leg_works_and_several_need_our_adapter(
    wrapped_server: Server, users: dict[str, Initiators], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    native = "negotiate_mw.servers" in str(wrapped_server.process.args)
    client = users["bob"].begin("HTTP@localhost", NTLM_FIRST)
    mark = wrapped_server.mark()

    with Wire(wrapped_server.port) as wire:
        first = wire.get(token=client.step())
        one_leg = wire.get(token=kerberos_realm.token("HTTP/localhost", alice))
        after = wire.get(token=neg_token_resp())

    if native:
        assert_asked_for_more(first, 3)
    else:
        assert_refused(first)
        wrapped_server.until_logged("refused with 401: needs-connection: ", mark=mark)
    assert_user(one_leg, "alice")
    assert_refused(after)


# What is left when a connection ends


@contextmanager
def in_this_process(app: NegotiateMiddleware, http: str) -> Iterator[int]:
    """A uvicorn in a thread of this process, so that a test can look into it; its port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=http, log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(SECONDS)


def until(claim: Callable[[], object]) -> None:
    """Wait for a claim to hold."""
    deadline = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def ok(scope: connection.Scope, receive: connection.Receive, send: connection.Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@pytest.fixture
def middleware(service_env: dict[str, str], tmp_path: Path) -> NegotiateMiddleware:
    acceptor = Acceptor(keytab=service_env["KRB5_KTNAME"], rcache=tmp_path, limits=Limits(handshake_seconds=1))
    return NegotiateMiddleware(ok, acceptor=acceptor, policy=Policy())


@pytest.mark.parametrize("http", ["H11", "HttpTools"])
def test_a_native_connection_takes_its_handshake_with_it(
    middleware: NegotiateMiddleware, service_env: dict[str, str], http: str
) -> None:
    middleware._store._max_age = 3600  # only the end of the connection can empty it in time
    with in_this_process(middleware, f"negotiate_mw.servers.uvicorn:{http}") as port:
        wires = [Wire(port) for _ in range(20)]
        for wire in wires:
            assert wire.get(token=neg_token_init([KRB5])).token
        half_open = len(middleware._store)
        for wire in wires:
            wire.close()
        until(lambda: len(middleware._store) == 0)

    assert half_open == 20
    assert len(connection._derived) == 0


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_a_derived_connection_is_forgotten_when_it_ends_and_its_handshake_when_it_is_old(
    middleware: NegotiateMiddleware, http: str
) -> None:
    gc.collect()
    before = len(connection._derived)
    with in_this_process(middleware, http) as port:
        wires = [Wire(port) for _ in range(20)]
        for wire in wires:
            assert wire.get(token=neg_token_init([KRB5])).token
        half_open = len(middleware._store)
        known = len(connection._derived)
        for wire in wires:
            wire.close()
        until(lambda: gc.collect() >= 0 and len(connection._derived) <= before)
        until(lambda: len(middleware._store) == 0)

    assert half_open > 0
    assert known == before + 20


def test_a_second_leg_that_comes_too_late_is_refused(
    middleware: NegotiateMiddleware, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    client = kerberos_realm.initiator("HTTP/localhost", alice, wrapping="kerberos")
    with in_this_process(middleware, "httptools") as port, Wire(port) as wire:
        assert wire.get(token=neg_token_init([KRB5])).token
        until(lambda: len(middleware._store) == 0)
        late = wire.get(token=neg_token_resp(client.step()))

    assert_refused(late)


def test_strangers_cannot_open_more_handshakes_than_the_limit(service_env: dict[str, str], tmp_path: Path) -> None:
    acceptor = Acceptor(keytab=service_env["KRB5_KTNAME"], rcache=tmp_path, limits=Limits(half_open=5))
    middleware = NegotiateMiddleware(ok, acceptor=acceptor)
    with in_this_process(middleware, "httptools") as port, ExitStack() as stack:
        wires = [stack.enter_context(Wire(port)) for _ in range(20)]
        for wire in wires:
            assert wire.get(token=neg_token_init([KRB5])).token
        kept = len(middleware._store)

    assert kept == 5
