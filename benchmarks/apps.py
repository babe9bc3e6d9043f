"""The apps under measurement: one that does nothing, and the same behind the middleware with all its defaults."""

from negotiate_mw import NegotiateMiddleware
from negotiate_mw.connection import Receive, Scope, Send

BODY = b"hello\n"
_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(BODY)).encode())]


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request with the same six bytes."""
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": BODY})


ours = NegotiateMiddleware(bare)
