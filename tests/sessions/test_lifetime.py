"""A websocket's end: the client is told, the app is told, and nothing stays behind."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from negotiate_mw.lifetime import run_websocket

SCOPE = {"type": "websocket", "path": "/", "headers": [], "subprotocols": [], "query_string": b""}
Ended = Callable[[], Awaitable[None]]


class Server:
    """A server's half of one websocket."""

    def __init__(self, *messages: Any) -> None:
        self.sent: list[Any] = []
        self._inbox = [{"type": "websocket.connect"}, *messages]

    async def receive(self) -> Any:
        if self._inbox:
            return self._inbox.pop(0)
        return await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def kinds(self) -> list[str]:
        return [message["type"].removeprefix("websocket.") for message in self.sent]


def run(app: Any, seconds: float | None = None, ended: Ended | None = None, *messages: Any) -> Server:
    """Run ``app`` for one websocket until it returns; fails if a task is left."""
    server = Server(*messages)

    async def main() -> None:
        until = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        async with asyncio.timeout(20):
            await run_websocket(app, dict(SCOPE), server.receive, server.send, until=until, ended=ended)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "something was left behind"

    asyncio.run(main())
    return server


async def soon() -> None:
    await asyncio.sleep(0.05)


async def listening(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass
    assert (await receive())["type"] == "websocket.disconnect"  # and again


async def pushing(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "text": "tick"})
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("seconds", "ended"), [(0.05, None), (None, soon), (60, soon), (0.05, asyncio.Event().wait)])
def test_an_app_that_listens_is_told_and_the_client_is_told(seconds: float | None, ended: Ended | None) -> None:
    server = run(listening, seconds, ended)

    assert server.kinds == ["accept", "close"]
    assert server.sent[-1]["code"] == 1008


def test_an_app_that_only_sends_ends_as_if_the_client_had_gone() -> None:
    server = run(pushing, 0.05)

    assert server.kinds[0] == "accept"
    assert server.kinds.count("close") == 1
    assert server.kinds[-1] == "close"


def test_an_app_of_starlette_that_only_sends_ends_without_an_error() -> None:
    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await socket.send_text("tick")
            await asyncio.sleep(0.01)

    server = run(Starlette(routes=[WebSocketRoute("/", endpoint)]), 0.05)

    assert server.kinds[-1] == "close"


def test_an_app_that_sends_in_a_group_of_tasks_ends_without_an_error() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pushing(scope, receive, send))

    server = run(app, 0.05)

    assert server.kinds[-1] == "close"


def test_a_mistake_beside_it_in_a_group_of_tasks_stays_the_apps() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await pushing(scope, receive, send)
        except OSError as error:
            raise BaseExceptionGroup("both", [error, KeyError("the app's own")]) from None

    with pytest.raises(BaseExceptionGroup):
        run(app, 0.05)


def test_an_app_that_catches_the_error_goes_on_to_its_end() -> None:
    cleaned_up = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(OSError, match="sign-in ended"):
            await pushing(scope, receive, send)
        cleaned_up.append(True)

    run(app, 0.05)

    assert cleaned_up == [True]


def test_a_mistake_of_the_app_stays_its_mistake() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await listening(scope, receive, send)
        raise KeyError("the app's own")

    with pytest.raises(KeyError):
        run(app, 0.05)


def test_a_ticket_that_ends_before_the_app_accepts_refuses_the_websocket() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.2)
        await send({"type": "websocket.accept"})

    server = run(app, 0.05)

    assert server.kinds == ["close"]


def test_what_has_ended_before_is_closed_at_once() -> None:
    server = run(listening, -3600)

    assert server.kinds[-1] == "close"


def test_an_app_that_closes_first_is_left_alone() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        await asyncio.sleep(0.2)

    server = run(app, 0.05)

    assert [message.get("code") for message in server.sent] == [None, 1000]


@pytest.mark.parametrize(("seconds", "ended"), [(3600, None), (None, asyncio.Event().wait), (None, None)])
def test_an_app_that_returns_in_time_leaves_nothing_behind(seconds: float | None, ended: Ended | None) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["text"] == "hello"
        assert (await receive())["type"] == "websocket.disconnect"

    messages = [{"type": "websocket.receive", "text": "hello"}, {"type": "websocket.disconnect", "code": 1001}]
    server = run(app, seconds, ended, *messages)

    assert server.kinds == ["accept"]


def test_a_task_of_the_app_that_receives_can_be_cancelled() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        receiving = asyncio.create_task(receive())
        await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.wait([receiving])
        assert receiving.cancelled()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)

    run(app, 60)


def test_a_client_that_has_gone_already_is_no_error() -> None:
    class Gone(Server):
        async def send(self, message: Any) -> None:
            if message["type"] == "websocket.close":
                raise OSError("gone")
            await super().send(message)

    async def main() -> None:
        server = Gone()
        await run_websocket(listening, dict(SCOPE), server.receive, server.send, until=datetime.now(UTC), ended=None)

    asyncio.run(main())
