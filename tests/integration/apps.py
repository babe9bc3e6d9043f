"""What the integration tests serve: one small app, behind the middleware in several ways.

Law: each is what an operator would write; the keytab comes from ``KRB5_KTNAME``.
"""

import logging
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from negotiate_mw import Acceptor, NegotiateMiddleware, Policy

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("negotiate_mw").setLevel(logging.DEBUG)


def seen(connection: Request | WebSocket) -> dict[str, object]:
    """What the app knows about the user."""
    user = connection.user
    return {
        "is_authenticated": user.is_authenticated,
        "principal": getattr(user, "principal", None),
        "account_id": user.identity,
        "username": user.display_name,
        "mechanism": getattr(user, "mechanism", None),
        "scopes": list(connection.auth.scopes),
    }


async def whoami(request: Request) -> Response:
    return JSONResponse(seen(request))


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        for part in ("one ", "two ", request.user.principal):
            yield part

    return StreamingResponse(parts())


async def error(request: Request) -> Response:
    raise RuntimeError("the app's own mistake")


async def empty(request: Request) -> Response:
    return Response(status_code=204)


async def login_needed(request: Request) -> Response:
    return PlainTextResponse("the app's own 401", 401, headers={"www-authenticate": 'Bearer realm="app"'})


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json(seen(socket))
    await socket.send_text(await socket.receive_text())
    await socket.close()


ROUTES = [
    Route("/", whoami, methods=["GET", "POST"]),
    Route("/stream", stream),
    Route("/error", error),
    Route("/empty", empty),
    Route("/login-needed", login_needed),
    Route("/public/{rest:path}", whoami),
    Route("/private/{rest:path}", whoami),
    WebSocketRoute("/echo", echo),
]
bare = Starlette(routes=ROUTES)

app = NegotiateMiddleware(bare)
optional = NegotiateMiddleware(bare, required=False)
pac_required = NegotiateMiddleware(bare, policy=Policy(pac="required"))
services = NegotiateMiddleware(bare, policy=Policy(services=True))
exempting = NegotiateMiddleware(bare, exempt=("/public/*", "/stream"))
needs_tls = NegotiateMiddleware(bare, policy=Policy(require_tls=True))
behind_proxy = NegotiateMiddleware(bare, policy=Policy(require_tls=True, tls_terminated_by_proxy=True))
any_realm = NegotiateMiddleware(bare, acceptor=Acceptor(), policy=Policy(realms="*"))


async def _pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


wrapped = Starlette(
    routes=ROUTES, middleware=[Middleware(BaseHTTPMiddleware, dispatch=_pass_on), Middleware(NegotiateMiddleware)]
)
