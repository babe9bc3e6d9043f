"""Two services of a domain: a front that gets tickets for its users, and the back that they are for.

Law: the keytab comes from ``KRB5_KTNAME``; where the back is, from ``BACK`` and ``SPN``.
"""

import os
from base64 import b64encode

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.errors import DelegationError

acceptor = Acceptor(constrained_delegation=True)


async def _call(token: bytes) -> object:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(
            os.environ["BACK"], headers={"authorization": f"Negotiate {b64encode(token).decode()}"}
        )
    return answer.json()


async def as_user(request: Request) -> JSONResponse:
    token = await request.user.need_service_tickets().token(os.environ["SPN"])
    return JSONResponse({"front": request.user.principal, "back": await _call(token)})


async def as_bob(request: Request) -> JSONResponse:
    bob = await acceptor.impersonate("bob@AD.TEST.EXAMPLE")
    return JSONResponse({"front": request.user.principal, "back": await _call(await bob.token(os.environ["SPN"]))})


def not_allowed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DelegationError)
    return JSONResponse({"reason": error.reason}, 403)


def whoami(request: Request) -> JSONResponse:
    return JSONResponse({"principal": request.user.principal, "via": request.user.via})


front = NegotiateMiddleware(
    Starlette(routes=[Route("/", as_user), Route("/bob", as_bob)], exception_handlers={DelegationError: not_allowed}),
    acceptor=acceptor,
)
back = NegotiateMiddleware(Starlette(routes=[Route("/", whoami)]))
