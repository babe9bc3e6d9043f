"""A page that greets its user, in words that every browser shows alike."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from negotiate_mw import Acceptor, NegotiateMiddleware


def hello(request: Request) -> PlainTextResponse:
    along = ", whose ticket came along" if request.user.delegated else ""
    return PlainTextResponse(f"Hello {request.user.username}{along}")


app = NegotiateMiddleware(Starlette(routes=[Route("/", hello)]), acceptor=Acceptor(delegation=True))
