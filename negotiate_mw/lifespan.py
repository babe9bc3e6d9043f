"""The app's lifespan with ours around it: acquire before the app starts, close after it stopped.

Law: what the operator has to mend stops the start with one sentence, which only the protocol's own message does
(servers take an exception for an app without lifespan); an app that has no lifespan still gets ours.
"""

from collections.abc import Awaitable, Callable

from negotiate_mw import telemetry
from negotiate_mw.connection import Message, Receive, Scope, Send
from negotiate_mw.errors import ConfigurationError

Hook = Callable[[], Awaitable[None]]


async def run_lifespan(
    app: Callable[[Scope, Receive, Send], Awaitable[None]],
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    start: Hook,
    stop: Hook,
) -> None:
    """Run ``app``'s lifespan between ``start`` and ``stop``."""
    startup = await receive()
    try:
        await start()
    except ConfigurationError as error:
        telemetry.out_of_order(str(error))
        await send({"type": "lifespan.startup.failed", "message": f"negotiate-mw: {error}"})
        raise  # servers have it already; a test client knows of a failed start by nothing else
    except Exception as error:
        telemetry.app_failed("starting", error)
        await send({"type": "lifespan.startup.failed", "message": f"negotiate-mw: {type(error).__name__}: {error}"})
        raise
    unread = [startup]
    sent: set[str] = set()

    async def receiving() -> Message:
        return unread.pop() if unread else await receive()

    async def sending(message: Message) -> None:
        if not message["type"].startswith("lifespan."):
            return  # an app that answers whatever it is asked, and doesn't know of this
        sent.add(message["type"])
        if message["type"] == "lifespan.startup.failed" or message["type"].startswith("lifespan.shutdown."):
            await stop()
        await send(message)

    try:
        await app(scope, receiving, sending)
    except Exception as error:
        if sent:  # it speaks the protocol, and failed at it: the server's to report
            await stop()
            raise
        telemetry.without_lifespan(error)
    if not sent:
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await stop()
        await send({"type": "lifespan.shutdown.complete"})
