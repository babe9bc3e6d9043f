"""The apps under measurement: one that answers who asks, and that one behind the middleware.

Law: whatever authenticates answers with the user that it found, so that a request's answer proves who was let in;
``bare.named`` answers the same without looking. Functions make apps that need an environment of their own.
"""

import os
from typing import TYPE_CHECKING

from benchmarks.bare import BODY, PATH, USER, answer, bare, named
from negotiate_mw import NegotiateMiddleware
from negotiate_mw.connection import Receive, Scope, Send

if TYPE_CHECKING:
    from negotiate_mw import CookieSessions, RedisSessions


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the user's principal."""
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    await answer(send, scope["user"].principal)


__all__ = ["BODY", "PATH", "USER", "bare", "bound", "cookie", "exempt", "ours", "redis", "whoami"]

ours = NegotiateMiddleware(whoami)


def exempt() -> NegotiateMiddleware:
    return NegotiateMiddleware(named, exempt=(PATH,))


def bound() -> NegotiateMiddleware:
    return NegotiateMiddleware(whoami, connection_bound=True)


def cookie() -> NegotiateMiddleware:
    return NegotiateMiddleware(whoami, sessions=cookie_sessions())


def redis() -> NegotiateMiddleware:
    return NegotiateMiddleware(whoami, sessions=redis_sessions())


def cookie_sessions() -> "CookieSessions":
    from negotiate_mw import CookieSessions  # here, so that the defaults alone load no more than they need

    return CookieSessions(keys=[os.environ["SESSION_KEY"]], max_age=86400, idle=3600)


def redis_sessions() -> "RedisSessions":
    from negotiate_mw import RedisSessions

    return RedisSessions(os.environ["SESSION_REDIS"], keys=[os.environ["SESSION_KEY"]], max_age=86400, idle=3600)
