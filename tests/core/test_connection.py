import gc
from typing import Any

import pytest

import negotiate_mw.servers.uvicorn as servers_uvicorn
from negotiate_mw.connection import STATE_KEY, Connection, is_loopback, is_tls, resolve


async def receive() -> dict[str, Any]:
    return {"type": "http.request"}


def request(http_version: str = "1.1", kind: str = "http", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "http_version": http_version, "headers": [], **fields}


def native() -> dict[str, Any]:
    return {STATE_KEY: Connection(native=True)}


class Transport:
    def __init__(self, **info: object) -> None:
        self._info = info

    def get_extra_info(self, name: str) -> object:
        return self._info.get(name)


class Flow:
    """What uvicorn keeps for one connection."""


class Cycle:
    """What uvicorn keeps for one request."""

    def __init__(self, flow: Flow | None = None, **info: object) -> None:
        self.flow = flow or Flow()
        self.transport = Transport(**info)

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request"}


class Elsewhere(Cycle):
    """An object of the same shape of another server."""


class Stream:
    """What hypercorn keeps for one request."""

    def __init__(self, send: Any) -> None:
        self.send = send

    async def app_send(self, message: Any) -> None:
        await self.send(message)


class ElsesStream(Stream):
    """An object of the same shape of another server."""


class Http1:
    """What hypercorn keeps for one connection."""

    def __init__(self) -> None:
        self.stream = Stream(self.stream_send)

    async def stream_send(self, event: object) -> None: ...


class Http2(Http1):
    """The same, where many requests are on it at once."""


Cycle.__module__ = "uvicorn.protocols.http.h11_impl"
Stream.__module__ = "hypercorn.protocol.http_stream"
Http1.__module__, Http2.__module__ = "hypercorn.protocol.h11", "hypercorn.protocol.h2"


# resolve()


def test_a_native_connection_is_found_for_http_1_1() -> None:
    state = native()

    assert resolve(request(state=state), receive) is state[STATE_KEY]


@pytest.mark.parametrize("version", ["1.0", "2", "2.0", "3", "", "1.1.1"])
def test_other_versions_of_http_have_no_connection(version: str) -> None:
    assert resolve(request(version, state=native()), receive) is None
    assert resolve(request(version), Cycle().receive) is None


def test_a_scope_without_a_version_has_no_connection() -> None:
    assert resolve({"type": "http", "headers": [], "state": native()}, receive) is None


def test_a_websocket_has_no_connection() -> None:
    assert resolve(request(kind="websocket", state=native()), receive) is None


def test_a_closed_connection_is_none() -> None:
    state = native()
    state[STATE_KEY].close()

    assert resolve(request(state=state), Cycle().receive) is None


@pytest.mark.parametrize("forged", ["connection", 5, object(), {}, None, Flow()])
def test_anything_else_in_the_state_is_no_connection(forged: object) -> None:
    assert resolve(request(state={STATE_KEY: forged}), receive) is None


@pytest.mark.parametrize("state", [None, {}])
def test_no_state_is_no_connection(state: dict[str, Any] | None) -> None:
    assert resolve(request(state=state), receive) is None


def test_uvicorns_requests_of_one_flow_are_one_connection() -> None:
    flow = Flow()

    first, second = resolve(request(), Cycle(flow).receive), resolve(request(), Cycle(flow).receive)

    assert first is second is not None
    assert not first.native


def test_uvicorns_requests_of_two_flows_are_two_connections() -> None:
    one, other = Cycle(), Cycle()

    assert resolve(request(), one.receive) is not resolve(request(), other.receive)


def test_a_flow_whose_address_is_used_again_is_another_connection() -> None:
    seen = []
    for _ in range(20):
        connection = resolve(request(), Cycle().receive)
        assert connection not in seen
        seen.append(connection)
        gc.collect()


def test_a_receive_of_another_server_is_no_connection() -> None:
    assert resolve(request(), Elsewhere().receive) is None


def test_of_hypercorns_protocols_the_one_with_a_request_at_a_time_alone_is_a_connection() -> None:
    one, many = Http1().stream, Http2().stream

    assert resolve(request(), receive, one.app_send) is resolve(request(), receive, one.app_send) is not None
    assert resolve(request(), receive, many.app_send) is None


def test_a_send_of_another_server_is_no_connection() -> None:
    assert resolve(request(), receive, ElsesStream(Http1().stream_send).app_send) is None


def test_a_wrapped_receive_is_no_connection() -> None:
    cycle = Cycle()

    async def wrapped() -> dict[str, Any]:
        return await cycle.receive()

    assert resolve(request(), wrapped) is None


# Connection


def test_a_connection_tells_of_its_end_once_and_each_listener_once() -> None:
    connection, told = Connection(native=True), []
    connection.call_on_close(told.append)
    connection.call_on_close(told.append)

    connection.close()
    connection.close()

    assert told == [connection]
    assert connection.closed


def test_a_derived_connection_keeps_no_listener() -> None:
    connection, told = Connection(native=False), []
    connection.call_on_close(told.append)

    connection.close()

    assert told == []


# is_tls()


@pytest.mark.parametrize(
    ("scheme", "headers", "tls"),
    [
        ("https", [], True),
        ("wss", [], True),
        ("http", [], False),
        ("ws", [], False),
        (None, [], False),
        ("https", [(b"x-forwarded-proto", b"https")], False),
        ("http", [(b"x-forwarded-proto", b"https")], False),
        ("https", [(b"x-forwarded-ssl", b"on")], False),
        ("https", [(b"forwarded", b"proto=https")], False),
    ],
)
def test_a_scheme_counts_where_no_header_was_forwarded(
    scheme: str | None, headers: list[tuple[bytes, bytes]], tls: bool
) -> None:
    scope = request(headers=headers) | ({} if scheme is None else {"scheme": scheme})

    assert is_tls(scope, receive) is tls


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_under_uvicorn_the_socket_says_whether_it_is_tls(scheme: str) -> None:
    assert is_tls(request(scheme=scheme), Cycle(sslcontext=object()).receive)
    assert not is_tls(request(scheme=scheme), Cycle().receive)


# is_loopback()

LOCAL = [(b"host", b"localhost:8000")]


def from_(peer: Any, headers: list[tuple[bytes, bytes]] | None = None) -> bool:
    return is_loopback(request(client=peer, headers=LOCAL if headers is None else headers), receive)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_a_peer_of_this_machine_is_on_it(address: str) -> None:
    assert from_((address, 1))
    assert from_([address, 1])


@pytest.mark.parametrize(
    "peer", [("192.0.2.1", 1), ("::ffff:192.0.2.1", 1), ("1127.0.0.1", 1), ("", 1), ("::", 1), None, "127.0.0.1", ""]
)
def test_any_other_peer_is_not(peer: object) -> None:
    assert not from_(peer)


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST", b"localhost:80", b"127.0.0.1", b"127.0.0.1:8000", b"[::1]", b"[::1]:8000"]
)
def test_a_host_of_this_machine_is_on_it(host: bytes) -> None:
    assert from_(("127.0.0.1", 1), [(b"host", host)])


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"www.example",
        b"evil.example:80",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"127.evil.example",
        b"127.0.0.1@evil",
        b"\xff",
    ],
)
def test_a_host_that_was_rebound_to_this_machine_is_not_on_it(host: bytes) -> None:
    assert not from_(("127.0.0.1", 1), [(b"host", host)])


def test_no_host_and_two_hosts_are_not_on_this_machine() -> None:
    assert not from_(("127.0.0.1", 1), [])
    assert not from_(("127.0.0.1", 1), [*LOCAL, *LOCAL])


@pytest.mark.parametrize(
    "name",
    [
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-server",
    ],
)
def test_whoever_comes_through_a_proxy_is_not_on_this_machine(name: bytes) -> None:
    assert not from_(("127.0.0.1", 1), [*LOCAL, (name, b"127.0.0.1")])


def test_under_uvicorn_the_socket_says_who_the_peer_is() -> None:
    scope = request(client=("127.0.0.1", 1), headers=LOCAL)

    assert is_loopback(scope, Cycle(peername=("127.0.0.1", 1)).receive)
    assert not is_loopback(scope, Cycle(peername=("192.0.2.1", 1)).receive)
    assert not is_loopback(scope, Cycle(peername="").receive)  # a unix socket


HOST = (b"host", b"127.0.0.1:8000")


@pytest.mark.parametrize(
    ("change", "local"),
    [
        ({}, True),
        ({"http_version": "1.0"}, False),
        ({"client": ()}, False),
        ({"headers": [HOST, (b"connection", b"Close")]}, False),
        ({"headers": [HOST, (b"connection", b"keep-alive")]}, True),
    ],
)
def test_a_proxy_that_nobody_configured_is_not_a_local_client(change: dict[str, object], local: bool) -> None:
    async def receive() -> dict[str, object]:
        return {}

    scope = {
        "type": "http",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "headers": [HOST],
    }

    assert is_loopback(scope | change, receive) is local


def test_what_an_app_puts_into_its_lifespans_state_later_is_seen_on_open_connections() -> None:
    state: dict[str, Any] = {"loaded": 1}
    connection = Connection(native=True)
    ours = servers_uvicorn._State(state, connection)

    state["loaded"] = 2

    assert ours.copy() == {"loaded": 2, STATE_KEY: connection}
