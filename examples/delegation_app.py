"""A front that calls a second service as its user, with the ticket that the user forwarded.

BACK=http://localhost:8001/ uvicorn delegation_app:front
uvicorn delegation_app:back --port 8001
curl --negotiate -u : --delegation always http://localhost:8000/
"""

import asyncio
import os
from base64 import b64encode
from urllib.parse import urlsplit

import gssapi
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.errors import DelegationError

BACK = os.environ.get("BACK", "http://localhost:8001/")


def first_token(credentials: gssapi.Credentials) -> str:
    """Asks the KDC for a ticket to the second service, so it is for a thread."""
    target = gssapi.Name(f"HTTP@{urlsplit(BACK).hostname}", gssapi.NameType.hostbased_service)
    context = gssapi.SecurityContext(name=target, creds=credentials, usage="initiate")
    return b64encode(context.step() or b"").decode()


async def call_back(request: Request) -> JSONResponse:
    token = await asyncio.to_thread(first_token, request.user.need_delegated().credentials)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(BACK, headers={"authorization": f"Negotiate {token}"})
    return JSONResponse({"principal": request.user.principal, "back": answer.json()})


async def list_tickets(request: Request) -> PlainTextResponse:
    """Any program can use the ticket, too."""
    async with request.user.need_delegated().ccache() as name:
        klist = await asyncio.create_subprocess_exec(
            "klist", env={**os.environ, "KRB5CCNAME": name}, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await klist.communicate()
    return PlainTextResponse(printed.decode())


async def not_delegated(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse(f"This page acts for you elsewhere, and can't: {error}\n", 403)


def whoami(request: Request) -> JSONResponse:
    return JSONResponse({"principal": request.user.principal, "via": request.user.via})


front = NegotiateMiddleware(
    Starlette(
        routes=[Route("/", call_back), Route("/tickets", list_tickets)],
        exception_handlers={DelegationError: not_delegated},
    ),
    acceptor=Acceptor(delegation=True),
)
back = NegotiateMiddleware(Starlette(routes=[Route("/", whoami)]))
