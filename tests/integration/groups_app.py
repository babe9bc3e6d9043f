"""An app that only HR may use, and one that says which groups its user is in; ``HR_SID`` says who HR is."""

import logging
import os

from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from negotiate_mw import NegotiateMiddleware, PacGroups

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


async def groups(request: Request) -> JSONResponse:
    return JSONResponse(sorted(request.user.groups))


@requires("group:HR")
async def salaries(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Hello {request.user.username}")


app = Starlette(routes=[Route("/", groups), Route("/salaries", salaries)])
app.add_middleware(NegotiateMiddleware, groups=PacGroups(names={os.environ["HR_SID"]: "HR"}))
