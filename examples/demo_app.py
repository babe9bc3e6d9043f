"""The smallest app with single sign-on: it tells you who you are.

KRB5_KTNAME=http.keytab uvicorn demo_app:app
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from negotiate_mw import NegotiateMiddleware


async def whoami(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse(
        {
            "principal": user.principal,
            "username": user.username,
            "realm": user.realm,
            "mechanism": user.mechanism,
            "expires_at": user.expires_at and user.expires_at.isoformat(),
        }
    )


app = NegotiateMiddleware(Starlette(routes=[Route("/", whoami)]))
