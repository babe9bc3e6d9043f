"""The integration tests' app, with one page more: how is this request's connection known?

Law: the page is outside the middleware, so that it tells what the server shows and nothing else.
"""

import os

from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.connection import Receive, Scope, Send, resolve
from negotiate_mw.respond import ASGIApp
from tests.integration import apps

PAGE = "/connection"


def telling(app: ASGIApp) -> ASGIApp:
    """``app`` with that page."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PAGE:
            return await app(scope, receive, send)
        found = resolve(scope, receive, send)
        body = b"none" if found is None else b"native" if found.native else b"derived"
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


def with_ntlm(app: ASGIApp) -> ASGIApp:
    """``app`` with a page for NTLM, of a middleware of its own that no lifespan reaches."""
    ntlm = NegotiateMiddleware(
        apps.bare, acceptor=Acceptor(mechanisms=("ntlm",), ntlm_users=os.environ.get("TEST_NTLM_USERS", "none"))
    )

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/ntlm":
            return await ntlm({**scope, "path": "/", "raw_path": b"/"}, receive, send)
        await app(scope, receive, send)

    return serve


app = telling(with_ntlm(apps.app))
