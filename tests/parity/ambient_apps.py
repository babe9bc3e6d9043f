"""What pages of other origins reach for: an app that remembers what came to it, and trusts one origin or none.

Law: ``TRUSTED_ORIGIN`` says which; the keytab comes from ``KRB5_KTNAME``. ``/seen``, before the middleware, tells and
forgets.
"""

import logging
import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from negotiate_mw import NegotiateMiddleware, Policy

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

TRUSTED = [os.environ["TRUSTED_ORIGIN"]]
_seen: list[tuple[str, str | None]] = []


class Noting:
    """An app that notes what reaches it: the method, and whose request it is."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            _seen.append((scope.get("method", "websocket"), _principal(HTTPConnection(scope))))
        await self._app(scope, receive, send)


def _principal(connection: HTTPConnection) -> str | None:
    return getattr(connection.user, "principal", None)


async def whoami(request: Request) -> Response:
    return JSONResponse({"principal": _principal(request), "method": request.method})


async def greet(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(str(_principal(socket)))
    await socket.close()


async def seen(_request: Request) -> Response:
    told = list(_seen)
    _seen.clear()
    return JSONResponse(told)


ROUTES = [Route("/", whoami, methods=["GET", "POST", "PUT"]), WebSocketRoute("/socket", greet)]
CORS = Middleware(CORSMiddleware, allow_origins=TRUSTED, allow_methods=["*"], allow_credentials=True)

strict = NegotiateMiddleware(Noting(Starlette(routes=ROUTES)))
trusting = NegotiateMiddleware(
    Noting(Starlette(routes=ROUTES, middleware=[CORS])), policy=Policy(trusted_origins=TRUSTED)
)
app = Starlette(routes=[Route("/seen", seen), Mount("/strict", strict), Mount("/trusting", trusting)])
