"""What the secrets campaign serves: everything that can log does, at the most talkative level."""

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from negotiate_mw import Acceptor, NegotiateMiddleware


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Says all that it knows of its user; fails where it is asked to."""
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/fails":
        raise RuntimeError(f"the app's own mistake, for {scope['user']!r}")
    known = {name: value for name, value in scope.items() if name not in ("headers", "query_string")}
    body = repr(known).encode(errors="backslashreplace")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


def sessions(given: Path) -> dict[str, Any]:
    """The option, where there are sessions."""
    if find_spec("negotiate_mw.sessions.cookie") is None:
        return {}
    from negotiate_mw.sessions.cookie import CookieSessions

    return {"sessions": CookieSessions(keys=[(given / "session.key").read_text()])}


def served() -> NegotiateMiddleware:
    """For a uvicorn of its own: ``SECRETS`` is the directory that the keytab and the user file lie in."""
    logging.basicConfig(level=logging.DEBUG)
    given = Path(os.environ["SECRETS"])
    acceptor = Acceptor(
        mechanisms=("kerberos", "ntlm"),
        keytab=given / "http.keytab",
        ntlm_users=given / "users.txt",
        rcache=os.environ["RCACHE"],
    )
    return NegotiateMiddleware(page, acceptor=acceptor, exempt=("/open",), **sessions(given))
