import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from negotiate_mw import NegotiateMiddleware, Policy
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

from .driving import Client, Lifespan, Site, on_a_loop

CURE = "the keytab '/etc/krb5.keytab' can't be read; name the right file: Acceptor(keytab=…)"


def scripted() -> ScriptedAcceptor:
    return ScriptedAcceptor({b"OneLeg": (user("alice@EXAMPLE.COM"), None), b"ClientBlob1": b"ServerBlob1"})


class Broken(ScriptedAcceptor):
    """Can't be acquired until it is mended."""

    def __init__(self) -> None:
        super().__init__({b"OneLeg": (user("alice@EXAMPLE.COM"), None)})
        self.mended = False
        self.tries = 0

    async def acquire(self) -> None:
        self.tries += 1
        if not self.mended:
            raise ConfigurationError(CURE)
        await super().acquire()


class App:
    """Writes down what it sees of its lifespan."""

    def __init__(self, acceptor: ScriptedAcceptor, fails_at: str = "") -> None:
        self.saw: list[str] = []
        self._acceptor = acceptor
        self._fails_at = fails_at

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for what in ("startup", "shutdown"):
            message = await receive()
            assert message["type"] == f"lifespan.{what}"
            self.saw.append(f"{what}, {'acquired' if self._acceptor.acquired else 'closed'}")
            if what in self._fails_at:
                if "raises" in self._fails_at:
                    await send({"type": f"lifespan.{what}.failed", "message": "no database"})
                    raise KeyError("database")
                return await send({"type": f"lifespan.{what}.failed", "message": "no database"})
            await send({"type": f"lifespan.{what}.complete"})


@on_a_loop
async def test_the_acceptor_is_acquired_before_the_app_starts_and_closed_after_it_stopped() -> None:
    acceptor = scripted()
    app = App(acceptor)
    server = Lifespan(NegotiateMiddleware(app, acceptor=acceptor))

    assert await server.start() == {"type": "lifespan.startup.complete"}
    assert acceptor.acquired
    assert await server.stop() == {"type": "lifespan.shutdown.complete"}

    assert app.saw == ["startup, acquired", "shutdown, acquired"]
    assert not acceptor.acquired


@on_a_loop
async def test_an_acceptor_that_cannot_be_acquired_stops_the_start_with_one_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    acceptor = Broken()
    app = App(acceptor)

    lifespan = Lifespan(NegotiateMiddleware(app, acceptor=acceptor))
    answer = await lifespan.start()

    assert answer == {"type": "lifespan.startup.failed", "message": f"negotiate-mw: {CURE}"}
    assert isinstance(lifespan.error, ConfigurationError)
    assert app.saw == []
    (record,) = caplog.records
    assert (record.levelname, CURE in record.getMessage()) == ("ERROR", True)


@on_a_loop
async def test_realms_that_are_unknown_stop_the_start() -> None:
    acceptor = ScriptedAcceptor({}, realms=frozenset())

    answer = await Lifespan(NegotiateMiddleware(Site(), acceptor=acceptor)).start()

    assert answer["type"] == "lifespan.startup.failed"
    assert 'Policy(realms=["CORP.EXAMPLE"])' in answer["message"]


@on_a_loop
async def test_an_app_without_lifespan_gets_ours() -> None:
    acceptor = scripted()
    server = Lifespan(NegotiateMiddleware(Site(), acceptor=acceptor))

    assert await server.start() == {"type": "lifespan.startup.complete"}
    assert acceptor.acquired
    assert await server.stop() == {"type": "lifespan.shutdown.complete"}
    assert not acceptor.acquired


@on_a_loop
async def test_an_app_that_returns_from_its_lifespan_at_once_gets_ours() -> None:
    acceptor = scripted()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    server = Lifespan(NegotiateMiddleware(app, acceptor=acceptor))

    assert await server.start() == {"type": "lifespan.startup.complete"}
    assert await server.stop() == {"type": "lifespan.shutdown.complete"}
    assert not acceptor.acquired


@pytest.mark.parametrize("fails_at", ["startup", "startup raises"])
@on_a_loop
async def test_an_app_that_fails_to_start_says_so_and_the_acceptor_is_closed(fails_at: str) -> None:
    acceptor = scripted()
    server = Lifespan(NegotiateMiddleware(App(acceptor, fails_at), acceptor=acceptor))

    assert await server.start() == {"type": "lifespan.startup.failed", "message": "no database"}
    await asyncio.wait([server._task])

    assert not acceptor.acquired
    assert isinstance(server._task.exception(), KeyError if "raises" in fails_at else type(None))


@pytest.mark.parametrize("fails_at", ["shutdown", "shutdown raises"])
@on_a_loop
async def test_an_app_that_fails_to_stop_says_so_and_the_acceptor_is_closed(fails_at: str) -> None:
    acceptor = scripted()
    server = Lifespan(NegotiateMiddleware(App(acceptor, fails_at), acceptor=acceptor))
    await server.start()

    await server._to_app.put({"type": "lifespan.shutdown"})
    await asyncio.wait([server._task])

    assert (await server._from_app.get())["type"] == "lifespan.shutdown.failed"
    assert not acceptor.acquired
    assert isinstance(server._task.exception(), KeyError if "raises" in fails_at else type(None))


@on_a_loop
async def test_starlettes_own_lifespan_runs_within_ours() -> None:
    acceptor, saw = scripted(), []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        saw.append(acceptor.acquired)
        yield
        saw.append(acceptor.acquired)

    server = Lifespan(NegotiateMiddleware(Starlette(lifespan=lifespan), acceptor=acceptor))
    await server.start()
    await server.stop()

    assert saw == [True, True]
    assert not acceptor.acquired


@on_a_loop
async def test_the_end_drops_what_was_half_open() -> None:
    acceptor = scripted()
    app = NegotiateMiddleware(Site(), acceptor=acceptor)
    server = Lifespan(app)
    await server.start()
    await Client(app).get(b"ClientBlob1")
    assert len(acceptor.open) == 1

    await server.stop()

    assert not acceptor.open


# where the server runs no lifespan


@on_a_loop
async def test_without_lifespan_the_first_request_acquires() -> None:
    acceptor = scripted()

    answer = await Client(NegotiateMiddleware(Site(), acceptor=acceptor)).get(b"OneLeg")

    assert (answer.text, acceptor.acquired) == ("alice", True)


@pytest.mark.parametrize("token", [b"OneLeg", None])
@on_a_loop
async def test_without_lifespan_a_broken_acceptor_is_503_and_its_sentence_until_it_is_mended(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, token: bytes | None
) -> None:
    clock = [100.0]
    monkeypatch.setattr("negotiate_mw.middleware.monotonic", lambda: clock[0])
    caplog.set_level(logging.WARNING, "negotiate_mw")
    acceptor = Broken()
    client = Client(NegotiateMiddleware(Site(), acceptor=acceptor))

    answers = [await client.get(token) for _ in range(5)]

    assert {answer.status for answer in answers} == {503}
    assert answers[0].all("retry-after") == ["5"]
    assert answers[0].challenge is None
    assert CURE not in answers[0].text
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert CURE in caplog.text
    assert acceptor.tries == 1  # not for each request

    acceptor.mended = True
    clock[0] += 1.1
    assert (await client.get(b"OneLeg")).text == "alice"


@on_a_loop
async def test_without_lifespan_an_exempt_request_needs_no_acceptor() -> None:
    app = NegotiateMiddleware(Site(), acceptor=Broken(), exempt=("/healthz",))

    assert (await Client(app).get(path="/healthz")).status == 200


@on_a_loop
async def test_new_realms_in_the_keytab_are_in_force_at_the_next_request() -> None:
    acceptor = ScriptedAcceptor({b"Bob": (user("bob@NEW.EXAMPLE"), None)})
    client = Client(NegotiateMiddleware(Site(), acceptor=acceptor))
    assert (await client.get(b"Bob")).status == 403

    acceptor.realms = frozenset({"NEW.EXAMPLE"})

    assert (await client.get(b"Bob")).text == "bob"


@on_a_loop
async def test_realms_that_the_policy_names_do_not_follow_the_keytab() -> None:
    acceptor = ScriptedAcceptor({b"Bob": (user("bob@NEW.EXAMPLE"), None)})
    client = Client(NegotiateMiddleware(Site(), acceptor=acceptor, policy=Policy(realms=["EXAMPLE.COM"])))

    acceptor.realms = frozenset({"NEW.EXAMPLE"})

    assert (await client.get(b"Bob")).status == 403


@pytest.mark.parametrize("kind", ["webtransport", "", "HTTP"])
@on_a_loop
async def test_an_unknown_kind_of_scope_reaches_no_app(kind: str) -> None:
    site = Site()

    with pytest.raises(ValueError, match="unknown ASGI scope type"):
        await NegotiateMiddleware(site, acceptor=scripted())({"type": kind}, None, None)  # type: ignore[arg-type]

    assert site.asked == 0


@on_a_loop
async def test_an_error_of_ours_at_the_start_stops_it_too_and_is_not_taken_for_an_app_without_lifespan() -> None:
    class Broken(ScriptedAcceptor):
        async def acquire(self) -> None:
            raise OSError("the disk is gone")

    answer = await Lifespan(NegotiateMiddleware(Site(), acceptor=Broken({}))).start()

    assert answer["type"] == "lifespan.startup.failed"
    assert "the disk is gone" in answer["message"]


def test_in_starlettes_test_client_a_failed_start_is_its_error() -> None:
    app = NegotiateMiddleware(Starlette(), acceptor=Broken())

    with pytest.raises(ConfigurationError, match="keytab"), TestClient(app):
        raise AssertionError("it started")
