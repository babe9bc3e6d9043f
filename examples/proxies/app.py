"""The app behind a proxy that ends TLS: nobody reaches it but through the proxy.

uvicorn --app-dir examples/proxies app:app --host 127.0.0.1 --port 8000
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from negotiate_mw import NegotiateMiddleware, Policy


def home(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse({"username": user.username, "principal": user.principal, "mechanism": user.mechanism})


app = NegotiateMiddleware(
    Starlette(routes=[Route("/", home)]),
    policy=Policy(require_tls=True, tls_terminated_by_proxy=True),
)
