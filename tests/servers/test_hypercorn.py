"""What hypercorn's own objects say about a connection, stock and after ``install()``; in this process, to see them."""

import asyncio
import gc
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.middleware import ProxyFixMiddleware as _ProxyFix
from hypercorn.utils import wrap_app
from websockets.sync.client import connect

from negotiate_mw import ChannelBinding, ConfigurationError, bindings, connection
from negotiate_mw.bindings import EndPoint
from negotiate_mw.connection import Connection, Receive, Scope, Send, is_loopback, is_tls, lifespan_tls_context, resolve
from negotiate_mw.servers.hypercorn import install
from tests.integration.serving import SECONDS, Wire

ProxyFix: Any = _ProxyFix  # it wants hypercorn's own types of messages


class Looking:
    """An app that keeps what each of its requests says about its connection, and how its connections end."""

    def __init__(self) -> None:
        self.connections: list[Connection | None] = []
        self.facts: list[tuple[bool, bool]] = []
        self.at_start: ssl.SSLContext | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            scope["state"]["app"] = "its own"
            self.at_start = lifespan_tls_context(receive)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        assert scope["state"]["app"] == "its own"
        self.facts.append((is_tls(scope, receive, send), is_loopback(scope, receive, send)))
        if scope["type"] == "websocket":
            self.connections.append(scope["state"].get(connection.STATE_KEY))
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
        else:
            self.connections.append(resolve(scope, receive, send))
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})


@contextmanager
def serve(app: Any, certificate: Path | None = None) -> Iterator[int]:
    """hypercorn in a thread of this process; its port."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.keep_alive_timeout = 1  # only then it lets go of a connection that was closed
    if certificate is not None:
        config.certfile, config.keyfile = str(certificate), str(certificate.with_suffix(".key"))
    sockets = config.create_sockets()
    (listening,) = sockets.secure_sockets or sockets.insecure_sockets
    listening.listen()  # before the loop does
    stop = threading.Event()

    async def until_stopped() -> None:
        while not stop.is_set():
            await asyncio.sleep(0.01)

    async def main() -> None:
        wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")
        await run.worker_serve(wrapped, config, sockets=sockets, shutdown_trigger=until_stopped)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stop.set()
        thread.join(SECONDS)


def until(claim: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def app() -> Looking:
    return Looking()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TCPServer", TCPServer)
    install()
    install()


@pytest.fixture(params=["stock", "installed"])
def either(request: pytest.FixtureRequest) -> str:
    if request.param == "installed":
        request.getfixturevalue("installed")
    return str(request.param)


def test_requests_of_one_connection_are_one_and_of_two_are_two(either: str, app: Looking) -> None:
    with serve(app) as port, Wire(port) as one, Wire(port) as other:
        for wire in (one, other, one, other):
            wire.get()

    first, second, third, fourth = app.connections
    assert first is third
    assert second is fourth
    assert first is not None
    assert second is not None
    assert first is not second
    assert first.native is (either == "installed")


def test_http_1_0_and_http_2_have_none(either: str, app: Looking) -> None:
    with serve(app) as port:
        with Wire(port) as wire:
            wire.get(version="1.0")
        with httpx.Client(http1=False, http2=True, trust_env=False) as client:
            assert client.get(f"http://localhost:{port}/").http_version == "HTTP/2"

    assert app.connections == [None, None]


def test_a_request_that_upgrades_its_connection_to_http_2_has_none(either: str, app: Looking) -> None:
    upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")]
    with serve(app) as port, Wire(port) as wire:
        assert wire.get(headers=upgrade).status == 101
        until(lambda: app.connections)

    assert app.connections == [None]


def test_behind_an_app_that_wraps_send_stock_hypercorn_has_none_and_ours_has_one(either: str, app: Looking) -> None:
    async def wrapping(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: connection.Message) -> None:
            await send(message)

        await app(scope, receive, sending)

    with serve(wrapping) as port, Wire(port) as wire:
        wire.get()

    assert [found is not None for found in app.connections] == [either == "installed"]


@pytest.mark.usefixtures("installed")
def test_the_end_of_a_connection_is_told(app: Looking) -> None:
    ended: list[Connection] = []
    with serve(app) as port:
        with Wire(port) as wire:
            wire.get()
            (native,) = app.connections
            assert native is not None
            assert not native.closed
            native.call_on_close(ended.append)
        until(lambda: native.closed)

    assert ended == [native]


@pytest.mark.usefixtures("installed")
def test_the_end_of_a_websocket_is_the_end_of_its_connection(app: Looking) -> None:
    with serve(app) as port:
        with connect(f"ws://localhost:{port}/", proxy=None):
            (native,) = app.connections
            assert native is not None
            assert not native.closed
        until(lambda: native.closed)


def test_a_derived_connection_is_forgotten_when_it_ends(app: Looking) -> None:
    gc.collect()
    before = len(connection._derived)
    with serve(app) as port:
        wires = [Wire(port) for _ in range(10)]
        for wire in wires:
            wire.get()
        known = len(connection._derived)
        for wire in wires:
            wire.close()
        until(lambda: gc.collect() >= 0 and len(connection._derived) <= before)

    assert known == before + 10


# What the socket says

FORGED = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "127.0.0.1")]


def test_a_plain_socket_is_no_tls_whatever_a_header_makes_of_the_scope(either: str, app: Looking) -> None:
    with serve(ProxyFix(app)) as port, Wire(port) as wire:
        wire.get(headers=FORGED)
        wire.get()

    assert app.facts == [(False, False), (False, True)]


def test_a_tls_socket_is_tls_also_where_a_proxy_shows(either: str, app: Looking, certificate: Path) -> None:
    tls = ssl.create_default_context(cafile=str(certificate))
    with serve(ProxyFix(app), certificate) as port, Wire(port, tls=tls) as wire:
        wire.get(headers=[("X-Forwarded-Proto", "http"), ("X-Forwarded-For", "192.0.2.1")])
        wire.get()

    assert app.facts == [(True, False), (True, True)]


def test_the_certificate_to_be_bound_to_is_known_at_the_start_and_without_tls_there_is_none(
    app: Looking, certificate: Path
) -> None:
    plain, end_point = Looking(), EndPoint(ChannelBinding.required())
    tls = ssl.create_default_context(cafile=str(certificate))
    with serve(app, certificate) as port, Wire(port, tls=tls) as wire:
        wire.get()
    with serve(plain) as port, Wire(port) as wire:
        wire.get()

    end_point.start(app.at_start)
    with pytest.raises(ConfigurationError, match="--ssl-certfile"):
        EndPoint(ChannelBinding.required()).start(plain.at_start)

    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert end_point.of(app.at_start) == bindings.of_certificate(der)
