"""The app that does nothing, by itself: it loads nothing of the middleware, whose memory would count as its own."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

USER = "alice@TEST.EXAMPLE"
BODY = f"{USER}\n".encode()
PATH = "/index.html"  # a file of the other web servers
CONTENT = (b"content-type", b"text/plain; charset=utf-8")
_HEADERS = [CONTENT, (b"content-length", str(len(BODY)).encode())]

Message = MutableMapping[str, Any]


async def bare(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answers every request with the same bytes."""
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": BODY})
