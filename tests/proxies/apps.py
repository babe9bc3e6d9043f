"""What the tests here serve: pages behind the middleware in several ways, each under its own path.

Law: the keytab comes from ``KRB5_KTNAME``; whoever starts it with ``NEGOTIATE_MW_DEV=1`` gets the developer's page too.
"""

import json
import os

from negotiate_mw import NegotiateMiddleware, Policy
from negotiate_mw.connection import Receive, Scope, Send
from negotiate_mw.respond import ASGIApp
from negotiate_mw.testing import DevAcceptor
from tests.integration import apps

_HEADERS = b"x-wanted-headers"


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """Says who asks and how it looks from here, with the headers that the request wants, as a list in JSON."""
    wanted = json.loads(dict(scope["headers"]).get(_HEADERS, b"[]"))
    said = [getattr(scope["user"], "principal", None), scope["scheme"], (scope["client"] or [None])[0]]
    body = json.dumps(said).encode()
    headers = [(name.encode(), value.encode()) for name, value in wanted]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _under_paths(**others: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await apps.app(scope, receive, send)
        await others[scope["path"].split("/")[1]](scope, receive, send)

    return app


app = _under_paths(
    page=NegotiateMiddleware(answering),
    optional=NegotiateMiddleware(answering, required=False),
    tls=NegotiateMiddleware(answering, policy=Policy(require_tls=True)),
    **(
        {"dev": NegotiateMiddleware(answering, acceptor=DevAcceptor("dev@DEV"))}
        if os.environ.get("NEGOTIATE_MW_DEV") == "1"
        else {}
    ),
)
