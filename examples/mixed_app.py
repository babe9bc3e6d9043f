"""One app for everybody: pages for all, pages for people, and an interface for one service of ours.

SERVICES=batch/jobs.corp.example@CORP.EXAMPLE uvicorn mixed_app:app
"""

import os
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from negotiate_mw import NegotiateMiddleware, Policy

SERVICES = frozenset(os.environ.get("SERVICES", "").split())
View = Callable[[Request], Response]


def for_people(view: View) -> View:
    def guarded(request: Request) -> Response:
        if request.user.is_service:
            raise HTTPException(403, "for people alone")
        return view(request)

    return guarded


def for_services(view: View) -> View:
    def guarded(request: Request) -> Response:
        if request.user.principal not in SERVICES:
            raise HTTPException(403, "for the services listed in SERVICES alone")
        return view(request)

    return guarded


def whoami(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse({"username": user.username, "principal": user.principal, "mechanism": user.mechanism})


def welcome(request: Request) -> PlainTextResponse:
    return PlainTextResponse("welcome\n")


app = NegotiateMiddleware(
    Starlette(
        routes=[
            Route("/welcome", welcome),
            Route("/", for_people(whoami)),
            Route("/api", for_services(whoami), methods=["GET", "POST"]),
        ]
    ),
    exempt=("/welcome",),
    policy=Policy(services=True),
)
