"""A client in memory whose connection is one: for log-ins in several legs, which ordinary test clients can't do.

Law: it stands for a server with one of our adapters, so the app sees one TCP connection until the block ends.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from negotiate_mw.connection import STATE_KEY, Connection, Message
from negotiate_mw.respond import ASGIApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an app answered.

    Attributes:
        status: HTTP's.
        headers: as they came, the names in lower case.
        body: all of it.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The values of one header, joined with commas; None if it isn't there."""
        values = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(values) if values else None

    @property
    def token(self) -> bytes | None:
        """What the app's ``WWW-Authenticate: Negotiate …`` carries; None: nothing."""
        for key, value in self.headers:
            scheme, _, token = value.partition(" ")
            if key == "www-authenticate" and scheme == "Negotiate" and token:
                return b64decode(token, validate=True)
        return None

    @property
    def text(self) -> str:
        """The body, which has to be UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class MemoryConnection:
    """One TCP connection to an app; made by ``connection(app)``."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host
        self._connection = Connection(native=True)

    async def get(
        self, path: str = "/", *, token: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """``request("GET", path, token=token, headers=headers)``."""
        return await self.request("GET", path, token=token, headers=headers)

    async def request(
        self,
        method: str,
        path: str = "/",
        *,
        token: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Ask, and wait for the whole answer. What the app raises is raised here.

        Args:
            path: with its query, ``"/search?q=1"``.
            token: what ``Authorization: Negotiate …`` carries.
            headers: more of them.
            body: sent in one piece.
        """
        target, _, query = path.partition("?")
        sent = {"host": self._host} | {name.lower(): value for name, value in (headers or {}).items()}
        if token is not None:
            sent["authorization"] = f"Negotiate {b64encode(token).decode()}"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("192.0.2.7", 50000),  # RFC 5737's addresses are nobody's
            "server": (self._host, 80),
            "state": {STATE_KEY: self._connection},
        }
        inbox: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        outbox: list[Message] = []

        async def receive() -> Message:
            return inbox.pop() if inbox else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            outbox.append(message)

        await self._app(scope, receive, send)
        start, *parts = outbox
        return Answer(
            status=start["status"],
            headers=tuple(
                (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]
            ),
            body=b"".join(part.get("body", b"") for part in parts),
        )

    def close(self) -> None:
        """The client hangs up; what was half open is given up."""
        self._connection.close()


@asynccontextmanager
async def connection(app: ASGIApp, *, host: str = "testserver") -> AsyncIterator[MemoryConnection]:
    """One connection to ``app``, in memory, for an ``async with`` block.

    ::

        async with connection(app) as client:
            challenge = await client.get(token=b"ClientBlob1")      # 401, challenge.token == b"ServerBlob1"
            answer = await client.get(token=LATER + b"ClientBlob2")

    Args:
        app: any ASGI app; its lifespan isn't run.
        host: what the client asks for.
    """
    client = MemoryConnection(app, host)
    try:
        yield client
    finally:
        client.close()
