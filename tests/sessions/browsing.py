"""A browser's cookie jar around the in-memory client, and a clock that tests set."""

from typing import Any

import pytest

from negotiate_mw import middleware, respond
from negotiate_mw.sessions import cookie
from tests.shell.driving import Answer, App, Client

NOW = 1_900_000_000


class Browser:
    """Keeps cookies as browsers do, by name; each request is on a connection of its own."""

    def __init__(self, app: App, *, https: bool = True) -> None:
        self.app = app
        self.jar: dict[str, str] = {}
        self._scheme = "https" if https else "http"

    async def get(self, token: bytes | None = None, path: str = "/", **fields: Any) -> Answer:
        """One http request."""
        fields.setdefault("headers", []).extend(self.headers)
        return self.keep(await Client(self.app, scheme=self._scheme).get(token, path, **fields))

    async def websocket(self, token: bytes | None = None, path: str = "/", **fields: Any) -> Answer:
        """One websocket handshake."""
        fields.setdefault("headers", []).extend(self.headers)
        scheme = "wss" if self._scheme == "https" else "ws"
        return self.keep(await Client(self.app).websocket(token, path, **{"scheme": scheme} | fields))

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        line = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        return [(b"cookie", line.encode("latin-1"))] if line else []

    @property
    def cookie(self) -> str:
        """The one cookie's value."""
        (value,) = self.jar.values()
        return value

    @cookie.setter
    def cookie(self, value: str) -> None:
        (name,) = self.jar
        self.jar[name] = value

    def keep(self, answer: Answer) -> Answer:
        """Do what the answer's Set-Cookie says."""
        for line in answer.all("set-cookie"):
            pair, _, attributes = line.partition("; ")
            name, _, value = pair.partition("=")
            if "Max-Age=0" in attributes.split("; "):
                self.jar.pop(name, None)
            else:
                self.jar[name] = value
        return answer


class Clock:
    """What time it is for sessions, in seconds since 1970."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = float(NOW)
        for module in (cookie, middleware, respond):
            monkeypatch.setattr(module, "time", lambda: self.now)
