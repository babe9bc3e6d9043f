"""One node of a service: says who asks, and which node answered; what it shares with others, the environment says."""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from negotiate_mw import Acceptor, NegotiateMiddleware, RedisReplayCache, RedisSessions


async def whoami(request: Request) -> Response:
    return PlainTextResponse(getattr(request.user, "principal", "nobody"), headers={"x-node": os.environ["NODE"]})


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"{socket.user.principal}: {text}")


_url = os.environ["REDIS_URL"]
app = NegotiateMiddleware(
    Starlette(routes=[Route("/", whoami), Route("/healthz", whoami), WebSocketRoute("/talk", talk)]),
    acceptor=Acceptor(rcache=os.environ["RCACHE"], replay=RedisReplayCache(_url, when_down="local")),
    sessions=RedisSessions(_url, keys=os.environ["SESSION_KEYS"].split()),
    exempt=("/healthz",),
)
