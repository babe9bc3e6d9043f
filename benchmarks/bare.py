"""The app without a login, by itself: it loads nothing of the middleware, whose memory would count as its own."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

USER = "alice@TEST.EXAMPLE"
BODY = f"{USER}\n".encode()
PATH = "/index.html"  # a file of the other web servers
CONTENT = (b"content-type", b"text/plain; charset=utf-8")
_HEADERS = [CONTENT, (b"content-length", str(len(BODY)).encode())]

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def bare(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """Answers every request with the same bytes."""
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def answer(send: Send, user: str) -> None:
    """Answers with a user's name."""
    body = f"{user}\n".encode()
    headers = [CONTENT, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def named(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """Answers with the name of a user whom it takes for granted: all that the apps behind a middleware do."""
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    await answer(send, USER)
