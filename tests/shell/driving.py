"""A client and a server in one, in memory: drives an ASGI app over connections that tests open and close.

Law: it checks what servers check (one start, then bodies to the last; bytes for headers, their names in lower case),
and what the app raises is a 500, as everywhere.
"""

import asyncio
import functools
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec

from negotiate_mw.connection import STATE_KEY, Connection

P = ParamSpec("P")
Message = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]
App = Callable[[Any, Any, Any], Awaitable[None]]


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an ``async def`` test."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@dataclass
class Answer:
    """What came back; ``error`` is what the app raised, ``read`` how many messages it received."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    error: Exception | None = None
    accepted: bool = False
    close_code: int | None = None
    read: int = 0

    def all(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.headers if key == name.encode()]

    @property
    def challenge(self) -> str | None:
        """The one WWW-Authenticate header, if there is any."""
        values = self.all("www-authenticate")
        assert len(values) <= 1, values
        return values[0] if values else None

    @property
    def token(self) -> bytes | None:
        """The token that it carries, if any."""
        scheme, _, token = (self.challenge or "").partition(" ")
        return b64decode(token) if scheme == "Negotiate" and token else None

    @property
    def text(self) -> str:
        return self.body.decode()


def negotiate(token: bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Negotiate " + b64encode(token)


class Client:
    """One TCP connection to an app; ``native=False`` is a server that we know nothing of."""

    def __init__(
        self,
        app: App,
        *,
        native: bool = True,
        peer: tuple[str, int] | None = ("192.0.2.7", 50000),
        host: str = "www.example.com",
        **scope: Any,
    ) -> None:
        self.app = app
        self.connection = Connection(native=True)
        self._native = native
        self._base = {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "client": peer} | scope
        self._host = host.encode()

    def close(self) -> None:
        self.connection.close()

    async def get(self, token: bytes | None = None, path: str = "/", **fields: Any) -> Answer:
        """One http request; ``headers=`` are added to Host and Authorization, other ``fields`` are the scope's.

        ``body=`` are the parts of the request's body; after an endless ``None`` nothing more comes.
        """
        parts = fields.pop("body", [b""])
        return await self.request(self._scope("http", token, path, {"method": "GET"} | fields), parts)

    async def websocket(self, token: bytes | None = None, path: str = "/", **fields: Any) -> Answer:
        """One websocket handshake, over a server that can refuse with a response unless ``extensions={}``."""
        extensions = {"extensions": {"websocket.http.response": {}}}
        return await self.request(self._scope("websocket", token, path, extensions | {"scheme": "ws"} | fields))

    def _scope(self, kind: str, token: bytes | None, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        headers: Headers = [(b"host", self._host)]
        if token is not None:
            headers.append(negotiate(token))
        headers += fields.pop("headers", [])
        state = {"state": {STATE_KEY: self.connection}} if self._native else {}
        paths = {"path": path, "raw_path": path.encode(errors="surrogatepass"), "root_path": "", "query_string": b""}
        return {"type": kind, **self._base, **paths, **state, **fields, "headers": headers}

    async def request(self, scope: dict[str, Any], body: Sequence[bytes | None] = (b"",)) -> Answer:
        answer, stage = Answer(), "before"
        kind = scope["type"]
        inbox: list[Message | None] = [{"type": "websocket.connect"}]
        if kind == "http":
            inbox = [
                None if part is None else {"type": "http.request", "body": part, "more_body": number + 1 < len(body)}
                for number, part in enumerate(body)
            ]

        async def receive() -> Message:
            message = inbox.pop(0) if inbox else {"type": f"{kind}.disconnect"}
            answer.read += 1
            if message is None:
                await asyncio.sleep(3600)
            assert message is not None
            return message

        async def send(message: Message) -> None:
            nonlocal stage
            what = message["type"]
            if what.endswith("response.start"):
                assert stage == "before"
                answer.status, answer.headers, stage = message["status"], list(message["headers"]), "started"
            elif what.endswith("response.body"):
                assert stage == "started"
                answer.body += message.get("body", b"")
                stage = "started" if message.get("more_body", False) else "ended"
            elif what == "websocket.accept":
                assert stage == "before"
                answer.status, answer.headers, stage = 101, list(message.get("headers", [])), "accepted"
                answer.accepted = True
            elif what == "websocket.close":
                answer.close_code = message["code"]
                answer.status, stage = answer.status or 403, "ended"
            else:
                raise AssertionError(f"{what} while {stage}")
            assert all(type(name) is type(value) is bytes and name == name.lower() for name, value in answer.headers)

        try:
            await self.app(scope, receive, send)
        except Exception as error:
            answer.error = error
            if stage == "before":
                answer.status, answer.body, stage = 500, b"Internal Server Error", "ended"
        assert answer.error is not None or stage in ("ended", "accepted"), f"the app left its response {stage}"
        return answer


class Site:
    """An app that says who it was asked by, and remembers the scopes it saw."""

    def __init__(self, status: int = 200, headers: Headers | None = None) -> None:
        self.scopes: list[dict[str, Any]] = []
        self._status = status
        self._headers = headers or []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise AssertionError("no lifespan here")
        self.scopes.append(scope)
        name = scope["user"].display_name or "nobody"
        if scope["type"] == "websocket":
            assert (await receive())["type"] == "websocket.connect"
            return await send({"type": "websocket.accept", "headers": [*self._headers, (b"x-user", name.encode())]})
        await send({"type": "http.response.start", "status": self._status, "headers": list(self._headers)})
        await send({"type": "http.response.body", "body": name.encode()})

    @property
    def asked(self) -> int:
        return len(self.scopes)


class Lifespan:
    """A server's half of the lifespan protocol."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.error: BaseException | None = None  # what a failed start raised after it had said so

    async def start(self) -> Message:
        self._task = asyncio.create_task(
            self._app({"type": "lifespan", "asgi": {}, "state": {}}, self._to_app.get, self._from_app.put)  # type: ignore[arg-type]
        )
        return await self._say("lifespan.startup")

    async def stop(self) -> Message:
        answer = await self._say("lifespan.shutdown")
        await self._task
        return answer

    async def _say(self, what: str) -> Message:
        await self._to_app.put({"type": what})
        answer = asyncio.create_task(self._from_app.get())
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED, timeout=10)
        if answer.done():
            if answer.result()["type"] == "lifespan.startup.failed":
                await asyncio.wait([self._task], timeout=10)
                self.error = self._task.exception()
            return answer.result()
        answer.cancel()
        self._task.result()
        raise AssertionError(f"no answer to {what}")
