"""The apps under measurement by ``benchmarks.sessions``: two that authenticate nobody, and the same with sessions.

Log-ins are scripted, since only what comes after them is measured; the key comes from the environment, so that one
cookie is good everywhere.
"""

import os
from collections import OrderedDict
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.apps import BODY, bare
from negotiate_mw import CookieSessions, NegotiateMiddleware
from negotiate_mw.respond import ASGIApp
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

TOKEN = b"ClientBlob1"
DOMAIN = "S-1-5-21-3623811015-3361044348-30300820"
ALICE = user(
    "alice@EXAMPLE.COM",
    account_id=f"{DOMAIN}-1106",
    sid=f"{DOMAIN}-1106",
    upn="alice@example.com",
    groups=frozenset(f"{DOMAIN}-{number}" for number in (513, 1201, 1202, 1203, 1204)),
)


class Forgetful(OrderedDict[bytes, Any]):
    """A cache that keeps nothing: every cookie is opened anew."""

    def __setitem__(self, key: bytes, value: Any) -> None:
        pass

    def __delitem__(self, key: bytes) -> None:
        pass


def with_sessions(app: ASGIApp, *, cached: bool) -> NegotiateMiddleware:
    """``app`` behind the middleware, with a session of ``ALICE``'s for whoever sends ``TOKEN``."""
    sessions = CookieSessions(keys=[os.environ["SESSION_KEY"]], max_age=86400, idle=3600)
    if not cached:
        sessions._cache = Forgetful()
    return NegotiateMiddleware(app, acceptor=ScriptedAcceptor({TOKEN: (ALICE, None)}), sessions=sessions)


async def hello(request: Request) -> Response:
    return PlainTextResponse(BODY)


starlette = Starlette(routes=[Route("/", hello)])
if "SESSION_KEY" in os.environ:
    bare_cached = with_sessions(bare, cached=True)
    bare_anew = with_sessions(bare, cached=False)
    starlette_cached = with_sessions(starlette, cached=True)
    starlette_anew = with_sessions(starlette, cached=False)

__all__ = ["bare", "bare_anew", "bare_cached", "starlette", "starlette_anew", "starlette_cached"]
