"""No framework: the identity is in the scope.

uvicorn plain_asgi_app:app
"""

import json
from typing import Any

from negotiate_mw import NegotiateMiddleware


async def whoami(scope: Any, receive: Any, send: Any) -> None:
    user = scope["user"]
    body = json.dumps({"username": user.username, "principal": user.principal, "mechanism": user.mechanism}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = NegotiateMiddleware(whoami)
