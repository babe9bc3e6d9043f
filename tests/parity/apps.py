"""What these tests serve: one page that says who asks, behind the middleware in several ways.

Law: the keytab comes from ``KRB5_KTNAME``, the other files from ``PARITY_*``. One server has many variants, each under
its own path; the first one's lifespan is the server's.
"""

import logging
import os

from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from negotiate_mw import Acceptor, ChannelBinding, NegotiateMiddleware, Policy

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

BOTH = ("kerberos", "ntlm")
USERS = os.environ["PARITY_USERS"]


async def whoami(request: Request) -> Response:
    user = request.user
    return JSONResponse(
        {
            "principal": getattr(user, "principal", None),
            "username": user.display_name,
            "mechanism": getattr(user, "mechanism", None),
            "channel_bound": getattr(user, "channel_bound", None),
            "scopes": list(request.auth.scopes),
            "read": len(await request.body()),
        }
    )


page = Starlette(routes=[Route("/{rest:path}", whoami, methods=["GET", "POST"])])


def variants(first: ASGIApp, **others: ASGIApp) -> ASGIApp:
    """``first``, but for ``/name`` of each other."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        name = scope.get("path", "/")[1:]
        await others.get(name, first)(scope, receive, send)

    return app


async def _pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def with_ntlm(**options: object) -> NegotiateMiddleware:
    """The middleware with both mechanisms."""
    return NegotiateMiddleware(page, acceptor=acceptor, **options)  # type: ignore[arg-type]


def breaks_on_negotiate(scope: Scope) -> bool:
    """True for the user agents of which we know no better."""
    return not any(name == b"user-agent" and value.startswith(b"Old") for name, value in scope["headers"])


def challenging_again(app: ASGIApp) -> ASGIApp:
    """``app`` as it must not be: every 401 of it asks for NTLM."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message.get("status") == 401:
                headers = message["headers"]
                if not any(name == b"www-authenticate" for name, _ in headers):
                    message = {**message, "headers": [*headers, (b"www-authenticate", b"NTLM")]}
            await send(message)

        await app(scope, receive, sending)

    return serve


acceptor = Acceptor(mechanisms=BOTH, ntlm_users=USERS)

app = variants(
    with_ntlm(),
    optional=with_ntlm(required=False),
    domains=with_ntlm(policy=Policy(ntlm_domains=["corp"])),
    **{"other-domains": with_ntlm(policy=Policy(ntlm_domains=["OTHER"]))},
    hidden=BaseHTTPMiddleware(with_ntlm(), dispatch=_pass_on),  # nobody sees the server's own objects from in there
    challenge=with_ntlm(challenge=breaks_on_negotiate),
    once=with_ntlm(negotiate_once=True),
    again=challenging_again(with_ntlm()),
)


def bound(binding: ChannelBinding) -> NegotiateMiddleware:
    """The middleware with both mechanisms, and this to say of TLS channels."""
    return with_ntlm(policy=Policy(channel_binding=binding))


required = bound(ChannelBinding.required())
over_tls = variants(
    required,
    present=bound(ChannelBinding.when_present()),
    off=bound(ChannelBinding.off()),
    same=bound(ChannelBinding.required(certfile=os.environ["PARITY_CERTIFICATE"])),
    other=bound(ChannelBinding.required(certfile=os.environ["PARITY_OTHER_CERTIFICATE"])),
)


def named(*hostname: str) -> NegotiateMiddleware:
    """The middleware under these names."""
    names = hostname[0] if len(hostname) == 1 else hostname
    return NegotiateMiddleware(page, acceptor=Acceptor(hostname=names))


names = variants(
    NegotiateMiddleware(page),
    one=named("localhost"),
    listed=named("localhost", "www.test.example"),
    host=named("{host}", "www.test.example", "localhost"),
    unlisted=named("{host}", "localhost"),
)
missing_key = named("localhost", "wiki.test.example")

connection_bound = NegotiateMiddleware(page, connection_bound=True)

# seen from in there, no request has a socket; its lifespan is the server's
veiled = BaseHTTPMiddleware(bound(ChannelBinding.when_present()), dispatch=_pass_on)
