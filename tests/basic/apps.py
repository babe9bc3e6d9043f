"""What the tests of passwords serve: an app that tells what it sees of a request, its headers included."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from negotiate_mw import NegotiateMiddleware, Policy
from tests.integration.apps import seen


async def whoami(request: Request) -> Response:
    user = request.user
    ends = None if user.expires_at is None else user.expires_at.timestamp()
    headers = [name.decode() for name, _ in request.scope["headers"]]
    return JSONResponse(seen(request) | {"headers": headers, "expires_at": ends, "groups": sorted(user.groups)})


bare = Starlette(routes=[Route("/", whoami, methods=["GET", "POST"])])

app = NegotiateMiddleware(bare, basic=True)
with_pac = NegotiateMiddleware(bare, basic=True, groups="pac", policy=Policy(pac="required"))
