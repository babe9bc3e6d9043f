"""What the clients log in to: a page that says who asks, and how their last token came.

Law: as an operator would write it, with both mechanisms; the keytab comes from ``KRB5_KTNAME``. Two pages more are what
a false server would send: no proof, or a forged one.
"""

import logging
import os
from base64 import b64decode, b64encode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.wire.spnego import Wrapping, read

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


async def whoami(request: Request) -> Response:
    scheme, _, token = request.headers["authorization"].partition(" ")
    wrapping = "SPNEGO" if read(b64decode(token)).wrapping is Wrapping.SPNEGO else "raw"
    user = request.user
    return JSONResponse(
        {
            "principal": user.principal,
            "realm": user.realm,
            "mechanism": user.mechanism,
            "sent": f"{scheme}, {wrapping}",
        }
    )


def false(app: ASGIApp) -> ASGIApp:
    """``app``, with two pages that prove nothing to the client."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        page = scope.get("path")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = dict(message["headers"])
                proof = headers.pop(b"www-authenticate")
                if page == "/forged":
                    token = bytearray(b64decode(proof.partition(b" ")[2]))
                    token[-1] ^= 1
                    headers[b"www-authenticate"] = b"Negotiate " + b64encode(token)
                message = {**message, "headers": list(headers.items())}
            await send(message)

        await app(scope, receive, sending if page in ("/silent", "/forged") else send)

    return serve


app = false(
    NegotiateMiddleware(
        Starlette(routes=[Route("/{page:path}", whoami)]),
        acceptor=Acceptor(mechanisms=("kerberos", "ntlm"), ntlm_users=os.environ["TEST_NTLM_USERS"]),
    )
)
