"""The translation of ``apache.SETTINGS``: the same paths, in our options, as ``docs/migration.md`` says.

Law: the keytab comes from ``KRB5_KTNAME``.
"""

import secrets

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from negotiate_mw import Acceptor, CookieSessions, NegotiateMiddleware, Policy
from negotiate_mw.local_names import local_name
from tests.client.web_servers import PAGE


async def site(request: Request) -> Response:
    user = request.user
    name = user.username if request.url.path == "/local" else user.principal
    headers = {"x-user": name, "x-mechanism": user.mechanism}
    if user.delegated is not None:
        async with user.delegated.ccache() as ccache:
            headers["x-ccache"] = ccache
    return PlainTextResponse(PAGE, headers=headers)


def may_be_asked(scope: Scope) -> bool:
    """BrowserMatch ^Old gssapi-no-negotiate."""
    return not dict(scope["headers"]).get(b"user-agent", b"").startswith(b"Old")


page = Starlette(routes=[Route("/{name}", site, methods=["GET", "POST"])])
NAMES = ("www.test.example", "localhost")

SETTINGS = {
    "plain": NegotiateMiddleware(page, challenge=may_be_asked),
    "krb5": NegotiateMiddleware(page),
    "one-name": NegotiateMiddleware(page, acceptor=Acceptor(hostname="localhost")),
    "host": NegotiateMiddleware(page, acceptor=Acceptor(hostname=("{host}", *NAMES))),
    "local": NegotiateMiddleware(page, policy=Policy(username=local_name)),
    "once": NegotiateMiddleware(page, negotiate_once=True),
    "tls": NegotiateMiddleware(page, policy=Policy(require_tls=True)),
    "basic": NegotiateMiddleware(page, basic=True),
    "session": NegotiateMiddleware(page, sessions=CookieSessions(keys=[secrets.token_urlsafe(32)])),
    "indicators": NegotiateMiddleware(page, policy=Policy(required_indicators=["pkinit"])),
    "delegation": NegotiateMiddleware(page, acceptor=Acceptor(delegation=True)),
    "connection": NegotiateMiddleware(page, connection_bound=True),
}


def by_path(settings: dict[str, ASGIApp]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await settings.get(scope.get("path", "/plain")[1:], settings["plain"])(scope, receive, send)

    return app


app = by_path({**SETTINGS})
