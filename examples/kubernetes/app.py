"""What the pods serve: who you are, and whether this pod can tell.

uvicorn --app-dir examples/kubernetes app:app --port 8000
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from negotiate_mw import Acceptor, NegotiateMiddleware, Policy

acceptor = Acceptor()


def home(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse({"username": user.username, "principal": user.principal, "mechanism": user.mechanism})


def ready(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ready\n", 200 if acceptor.ready() else 503)


app = NegotiateMiddleware(
    Starlette(routes=[Route("/", home), Route("/readyz", ready)]),
    acceptor=acceptor,
    exempt=("/readyz",),
    policy=Policy(tls_terminated_by_proxy=True),  # by the ingress; see the NetworkPolicy
)
