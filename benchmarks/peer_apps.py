"""Other people's middlewares around the same app, each as its own documentation shows it. Runs in the peers' venv.

Law: nothing of the middleware is imported. Each app answers with the user that its middleware found.
"""

from collections.abc import MutableMapping
from typing import Any

from benchmarks.bare import Send, answer

Scope = MutableMapping[str, Any]
HOST = "localhost"


def asgi_gssapi() -> Any:
    from asgi_gssapi import SPNEGOAuthMiddleware  # type: ignore[import-not-found]

    async def app(scope: Scope, receive: Any, send: Send) -> None:
        await answer(send, scope["gssapi"]["principal"])

    return SPNEGOAuthMiddleware(app, hostname=HOST)


def fastapi_spnego() -> Any:
    """Without FastAPI, which would only add to it."""
    from fastapi_spnego import SpnegoConfig, SpnegoMiddleware  # type: ignore[import-not-found]

    async def app(scope: Scope, receive: Any, send: Send) -> None:
        await answer(send, scope["state"]["spnego_identity"].principal)

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
