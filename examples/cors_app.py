"""An interface for the pages of one other origin: they may use their user's ticket here, and nobody else's may.

FRONT=https://portal.corp.example uvicorn cors_app:app

In the page: ``fetch("https://api.corp.example/", {credentials: "include"})``.
"""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from negotiate_mw import NegotiateMiddleware, Policy

FRONT = os.environ["FRONT"]


def home(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse({"username": user.username, "principal": user.principal, "mechanism": user.mechanism})


app = Starlette(
    routes=[Route("/", home, methods=["GET", "POST"])],
    middleware=[
        # outermost: it answers preflights, which carry no ticket, and puts its headers on refusals too
        Middleware(CORSMiddleware, allow_origins=[FRONT], allow_methods=["GET", "POST"], allow_credentials=True),
        Middleware(NegotiateMiddleware, policy=Policy(trusted_origins=[FRONT])),
    ],
)
