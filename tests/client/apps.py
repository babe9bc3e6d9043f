"""What the client logs in to: a page that says who asks, and what came over the wire on the way."""

import os
from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from negotiate_mw import Acceptor, ChannelBinding, NegotiateMiddleware, Policy

BOTH = ("kerberos", "ntlm")
requests: Counter[str] = Counter()  # by what the caller calls itself
tokens: list[bytes] = []


async def whoami(request: Request) -> Response:
    user = request.user
    return JSONResponse(
        {
            "principal": user.principal,
            "mechanism": user.mechanism,
            "channel_bound": user.channel_bound,
            "read": len(await request.body()),
            "method": request.method,
            "requests": requests[request.headers.get("x-caller", "")],
            "authorization": "authorization" in request.headers,
        }
    )


async def redirect(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"], int(request.query_params.get("status", 302)))


def counted(app: ASGIApp) -> ASGIApp:
    """``app``, with every request counted, and no token taken twice."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            requests[headers.get(b"x-caller", b"").decode()] += 1
            token = headers.get(b"authorization")
            if token is not None and not token.startswith(
                b"Negotiate TlRMTVNTUAABAAAA"
            ):  # NTLM's opening holds no secret
                if token in tokens:
                    requests["replayed"] += 1
                tokens.append(token)
            if scope["path"] == "/replayed":
                await JSONResponse(requests["replayed"])(scope, receive, send)
                return
        await app(scope, receive, send)

    return serve


page = Starlette(
    routes=[
        Route("/redirect", redirect, methods=["GET", "POST"]),
        Route("/{rest:path}", whoami, methods=["GET", "POST"]),
    ]
)
acceptor = Acceptor(mechanisms=BOTH, ntlm_users=os.environ["PARITY_USERS"])
policy = Policy(services=True)
app = counted(NegotiateMiddleware(page, acceptor=acceptor, policy=policy))
over_tls = counted(
    NegotiateMiddleware(
        page, acceptor=acceptor, policy=Policy(services=True, channel_binding=ChannelBinding.required())
    )
)
