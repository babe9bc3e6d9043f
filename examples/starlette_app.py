"""Starlette: public and protected routes, ``@requires`` and ``request.user``.

uvicorn starlette_app:app
"""

from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from negotiate_mw import NegotiateMiddleware


def home(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse({"username": user.username, "principal": user.principal, "mechanism": user.mechanism})


@requires(["authenticated", "kerberos"])
def payroll(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"the payroll, for {request.user.display_name} alone\n")


@requires("group:HR")
def personnel(request: Request) -> PlainTextResponse:
    return PlainTextResponse("for HR alone\n")


def health(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


app = Starlette(
    routes=[
        Route("/", home),
        Route("/payroll", payroll),
        Route("/personnel", personnel),
        Route("/healthz", health),
    ],
    middleware=[Middleware(NegotiateMiddleware, exempt=("/healthz",))],
)
