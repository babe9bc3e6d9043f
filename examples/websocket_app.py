"""A websocket that knows its user: the handshake is logged in to, and only from this site's own pages.

pip install websockets
uvicorn websocket_app:app

A websocket's handshake has one leg: Kerberos, or a session that a page began. The websocket ends with the ticket.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from negotiate_mw import CookieSessions, NegotiateMiddleware


def home(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse({"username": user.username, "principal": user.principal, "mechanism": user.mechanism})


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"{socket.user.username}: {text}")


app = NegotiateMiddleware(
    Starlette(routes=[Route("/", home), WebSocketRoute("/echo", echo)]),
    sessions=CookieSessions(),  # sessions end with this process; give keys=[…] to keep them
)
