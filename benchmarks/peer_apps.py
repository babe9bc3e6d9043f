"""Other people's middlewares around the same app, each as its own documentation shows it. Runs in the peers' venv.

Law: nothing of ours is imported. Each app answers with the user that its middleware found.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HOST = "localhost"


async def _answer(send: Send, user: str) -> None:
    body = f"{user}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def asgi_gssapi() -> Any:
    from asgi_gssapi import SPNEGOAuthMiddleware  # type: ignore[import-not-found]

    async def app(scope: Scope, receive: Any, send: Send) -> None:
        await _answer(send, scope["gssapi"]["principal"])

    return SPNEGOAuthMiddleware(app, hostname=HOST)


def fastapi_spnego() -> Any:
    """Without FastAPI, which would only add to it."""
    from fastapi_spnego import SpnegoConfig, SpnegoMiddleware  # type: ignore[import-not-found]

    async def app(scope: Scope, receive: Any, send: Send) -> None:
        await _answer(send, scope["state"]["spnego_identity"].principal)

    return SpnegoMiddleware(app, config=SpnegoConfig(hostname=HOST))


def flask_gssapi() -> Any:
    from flask import Flask
    from flask_gssapi import GSSAPI  # type: ignore[import-not-found]

    app = Flask(__name__)
    app.config["GSSAPI_HOSTNAME"] = HOST
    gssapi = GSSAPI(app)

    @app.get("/index.html")
    @gssapi.require_auth()  # type: ignore[untyped-decorator]
    def whoami(username: str) -> str:
        return f"{username}\n"

    return app
