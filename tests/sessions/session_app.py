"""What the tests with real servers serve; the key comes from the environment, and ``EXPIRE`` shortens sessions."""

import logging
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from negotiate_mw import CookieSessions, NegotiateMiddleware

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("negotiate_mw").setLevel(logging.DEBUG)

sessions = CookieSessions(
    keys=[os.environ["SESSION_KEY"]] if "SESSION_KEY" in os.environ else None,
    max_age=float(os.environ.get("MAX_AGE", "3600")),
)


async def hello(request: Request) -> Response:
    return PlainTextResponse(request.user.principal)


async def logout(request: Request) -> Response:
    await sessions.logout(request.scope)
    return PlainTextResponse("bye")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(f"{socket.user.principal}: {await socket.receive_text()}")
    except WebSocketDisconnect:
        return


async def push(socket: WebSocket) -> None:
    import asyncio

    await socket.accept()
    while True:
        await socket.send_text("tick")
        await asyncio.sleep(0.05)


ROUTES = [Route("/", hello), Route("/logout", logout), WebSocketRoute("/echo", echo), WebSocketRoute("/push", push)]
app = NegotiateMiddleware(Starlette(routes=ROUTES), sessions=sessions, exempt=("/logout",))
