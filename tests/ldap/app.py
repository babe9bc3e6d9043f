"""What an operator writes: an app that only one group of one domain may use; ``LDAP_OPTIONS`` has the directory's."""

import json
import logging
import os

from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from negotiate_mw import LdapDirectory, LdapGroups, NegotiateMiddleware

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


async def groups(request: Request) -> JSONResponse:
    return JSONResponse(sorted(request.user.groups))


@requires(r"group:ADTEST\web-admins")
async def salaries(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Hello {request.user.username}")


directory = LdapDirectory(**json.loads(os.environ["LDAP_OPTIONS"]))
app = NegotiateMiddleware(
    Starlette(routes=[Route("/", groups), Route("/salaries", salaries)]), groups=LdapGroups(directory)
)
