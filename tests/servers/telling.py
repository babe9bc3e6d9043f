"""The integration tests' app, with one page more: how is this request's connection known?

Law: the page is outside the middleware, so that it tells what the server shows and nothing else.
"""

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


app = telling(apps.app)
