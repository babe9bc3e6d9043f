"""Pages that ask for no ticket."""

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from negotiate_mw import NegotiateMiddleware


async def hello(request: object) -> Response:
    return PlainTextResponse("hello")


async def another_login(request: object) -> Response:
    return PlainTextResponse("who are you?", 401, headers={"www-authenticate": 'Bearer realm="app"'})


optional = NegotiateMiddleware(Starlette(routes=[Route("/", hello)]), required=False)
bare_of_all = Starlette(routes=[Route("/", another_login)])
