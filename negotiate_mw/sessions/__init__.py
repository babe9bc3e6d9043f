"""The seam of what remembers a log-in between requests: ``CookieSessions``, ``RedisSessions``.

Law: a session says who somebody was when they proved it, and nothing more: the middleware holds that against its own
policy at every use. Nothing here raises for what a client sent or for a store that is out of order; the answer is
then that there is no session, and the client logs in again.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

from negotiate_mw.handshake import Remembered
from negotiate_mw.identity import Identity


class Session(Protocol):
    """One request's view of its user's session.

    Attributes:
        quiet_until: when ``set_cookie()`` may first have something to say, in seconds since 1970; 0.0: now.
    """

    quiet_until: float

    def peek(self, fields: Mapping[bytes, bytes], now: float) -> Remembered | None:
        """``open()`` where that takes no work: None is no answer. Never raises.

        Args:
            fields: the request's headers, by name.
            now: seconds since 1970.
        """

    async def open(self) -> Remembered | None:
        """Who the request's cookie stands for; None if there is none, it ended, or can't be read. Never raises."""

    async def begin(self, identity: Identity) -> None:
        """Start a new session for somebody who has just logged in, in place of the request's own. Never raises."""

    async def leave(self) -> None:
        """End the request's own session, since somebody else has just logged in, and have it cleared. Never raises."""

    async def ended(self) -> None:
        """Return once the session has ended or was revoked; for websockets, which outlive their request."""

    def set_cookie(self) -> bytes | None:
        """The ``Set-Cookie`` value for a response that starts now; None if the client's cookie is as it should be."""


class Sessions(Protocol):
    """Where sessions are kept."""

    def session(self, scope: MutableMapping[str, Any], *, is_tls: bool) -> Session:
        """The view of one request, which stays findable by ``scope`` for the app's ``logout(scope)``."""

    async def start(self) -> None:
        """Get ready with the server, or raise ConfigurationError with what to type."""

    async def stop(self) -> None:
        """Give everything back."""
