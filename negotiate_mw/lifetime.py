"""A websocket outlives its request, but not what let it in: its user's ticket, and their session.

Law: at the end the client is told (1008), the app is told as if the client had gone, and nothing of ours stays behind.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from negotiate_mw.connection import Message, Receive, Scope, Send

POLICY_VIOLATION = 1008  # RFC 6455 7.4.1
_REASON = "sign-in ended"


class _Over(OSError):
    """What a server raises too when an app sends to a client that has gone (ASGI, 2.4)."""


async def run_websocket(
    app: Callable[[Scope, Receive, Send], Awaitable[None]],
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    until: datetime | None,
    ended: Callable[[], Awaitable[None]] | None,
) -> None:
    """Run ``app`` for a websocket until it returns; close the websocket at ``until``, or when ``ended`` returns.

    From then on the app receives a disconnect, and what it sends raises an OSError, as for a client that has gone.

    Args:
        until: when the user's ticket ends; None: it doesn't.
        ended: waits for the end of their session; None: they have none.
    """
    if until is None and ended is None:
        return await app(scope, receive, send)
    life = _Life(receive, send)
    watching = asyncio.create_task(life.end_at(until, ended))
    try:
        await app(scope, life.receive, life.send)
    except Exception as error:
        if not (life.is_over and _comes_of_it(error)):
            raise
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


class _Life:
    """One websocket, from the handshake to its end."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._waiting: set[asyncio.Timeout] = set()
        self._is_closed = False
        self.is_over = False

    async def receive(self) -> Message:
        if self.is_over:
            return _gone()
        waiting = asyncio.timeout(None)
        self._waiting.add(waiting)
        try:
            async with waiting:
                return await self._receive()
        except TimeoutError:
            if not waiting.expired():
                raise
            return _gone()
        finally:
            self._waiting.discard(waiting)

    async def send(self, message: Message) -> None:
        if self.is_over:
            raise _Over("the user's sign-in ended, and the websocket was closed")
        if message["type"] in ("websocket.close", "websocket.http.response.start"):
            self._is_closed = True
        await self._send(message)

    async def end_at(self, until: datetime | None, ended: Callable[[], Awaitable[None]] | None) -> None:
        seconds = None if until is None else (until - datetime.now(UTC)).total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (asyncio.Event().wait() if ended is None else ended())
        self.is_over = True
        for waiting in self._waiting:
            waiting.reschedule(asyncio.get_running_loop().time())
        if not self._is_closed:
            with suppress(OSError):  # the client was quicker
                await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": _REASON})


def _gone() -> Message:
    return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": _REASON}


def _comes_of_it(error: BaseException | None) -> bool:
    """True if an app failed because it sent after the end, whatever its framework made of that."""
    while error is not None and not isinstance(error, _Over):
        if isinstance(error, BaseExceptionGroup):
            return all(map(_comes_of_it, error.exceptions))
        error = error.__cause__ or error.__context__
    return error is not None
