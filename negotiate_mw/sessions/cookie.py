"""Sessions that the client keeps: a sealed cookie, and nothing on the server but a cache.

Law: a cookie is believed as far as its seal goes, and for as long as its own times say; a session that was ended here
doesn't come back here, whatever cookie or response is still on its way. What one process can't know is that another
one ended a session: where a log-out has to reach every node at once, sessions are kept in Redis.
"""

import asyncio
import multiprocessing
import os
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import token_urlsafe
from time import time
from typing import Any

from negotiate_mw import telemetry
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.handshake import Remembered
from negotiate_mw.identity import Identity
from negotiate_mw.sessions.cookies import LARGEST, Cookie, check_audience, check_domain
from negotiate_mw.sessions.record import Record, decode, encode
from negotiate_mw.sessions.sealing import MAKE_A_KEY, Sealer, make_key

Scope = MutableMapping[str, Any]

_MOST_SECONDS = 400 * 86400  # browsers keep no cookie longer (RFC 6265bis 5.5)
_LEAST_IDLE = 120  # seconds; use is noted to the minute
_RESEAL_SECONDS = 60
_SKEW_SECONDS = 60  # by which another node's clock may be ahead
_CACHED = 10_000  # opened cookies, with 20 groups 5 KiB each, 7 where the policy gives other names,
_CACHED_GROUPS = 20 * _CACHED  # and no more of these in all
_ENDED = 100_000  # ended sessions to remember until they would have ended anyway, about 0.2 KiB each
_ADVICE_SECONDS = 60


@dataclass(slots=True, eq=False)
class _Live(Remembered):
    """A session that was opened here, as its cookie says."""

    record: Record
    reseal_at: float


@dataclass(slots=True, eq=False)
class _Watch:
    """Somebody who waits for a session's end."""

    revoked: asyncio.Event
    ends: float


class CookieSessions:
    """Remembers a log-in in a sealed cookie, so that the next requests need no ticket.

    ::

        sessions = CookieSessions(keys=[os.environ["SESSION_KEY"]])
        app = NegotiateMiddleware(app, sessions=sessions)

    A session ends with its ticket, ``max_age`` after the log-in, or when nobody used it for ``idle``, whichever is
    first. Nothing is stored on the server, so a log-out is known to the process that it reached: there the session is
    over, and every client that takes the answer's ``Set-Cookie`` is rid of it. A *copy* of the cookie, or another
    response of that moment on another node that seals it anew, is good elsewhere until the session ends by itself;
    ``RedisSessions`` ends it everywhere.

    Args:
        keys: secrets, the newest first, each of at least 32 random bytes, the same on every node; what any of them
            sealed is accepted, so put a new one in front and take the old one out ``max_age`` later. None: one that
            nobody else knows, for a single process; its sessions end with it.
        max_age: seconds from the log-in to the end, at most 400 days; groups are no staler than that.
        idle: seconds without a request after which a session ends, 120 to ``max_age``, counted to the minute; None:
            unused sessions last as long as others.
        audience: what the sessions are for, such as ``"wiki"``: those of another audience are none here, whatever
            keys are shared. Two middlewares that differ in ``groups=``, or that shall not take each other's sessions,
            need two.
        domain: share sessions among all hosts below a domain, **each of which can then use and plant sessions here**;
            see ``negotiate_mw.sessions.cookies.Cookie``. None: this host's alone.

    Raises:
        ConfigurationError: an option is wrong, a key is weak, or there is none where several processes serve.
    """

    def __init__(
        self,
        *,
        keys: Sequence[str | bytes] | None = None,
        max_age: float = 3600,
        idle: float | None = None,
        audience: str = "",
        domain: str | None = None,
    ) -> None:
        if type(max_age) not in (int, float) or not 0 < max_age <= _MOST_SECONDS:
            raise ConfigurationError(f"max_age={max_age!r}: give seconds above 0, such as 3600, and at most 400 days'")
        if idle is not None and (type(idle) not in (int, float) or not _LEAST_IDLE <= idle <= max_age):
            raise ConfigurationError(f"idle={idle!r}: give {_LEAST_IDLE} seconds or more, up to max_age={max_age!r}")
        if keys is None and _is_one_of_several():
            raise ConfigurationError(
                "CookieSessions(keys=None): the server has worker processes, and each would make a key of its own and "
                f"refuse the others' sessions; make one for all with `{MAKE_A_KEY}`, and give it as keys=[…]"
            )
        self._is_generated = keys is None
        self._sealer = Sealer([make_key()] if keys is None else keys, "cookie session")
        self._max_age = max_age
        self._idle = idle
        self._audience = check_audience(audience)
        domain = check_domain(domain)
        self._cookies = tuple(Cookie(is_tls=is_tls, audience=audience, domain=domain) for is_tls in (False, True))
        self._aad = {cookie.name: cookie.name + b"\n" + _bytes(audience) for cookie in self._cookies}
        self._key = f"negotiate_mw.session.{id(self):x}"
        # by NAME=VALUE: the name is part of what a value was sealed for
        self._cache: OrderedDict[bytes | None, _Live] = OrderedDict()
        self._cached_groups = 0
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._watches: dict[str, set[_Watch]] = {}
        self._advise_at = 0.0

    def __repr__(self) -> str:
        return f"CookieSessions(max_age={self._max_age!r}, idle={self._idle!r}, audience={self._audience!r})"

    def session(self, scope: Scope, *, is_tls: bool) -> "CookieSession":
        """The view of one request."""
        session = scope[self._key] = CookieSession(self, self._cookies[is_tls], scope["headers"])
        return session

    async def logout(self, scope: Scope) -> None:
        """End the session of a request, before its response has started; without one, only the cookie is cleared.

        The next page logs in again by itself, if the browser has a ticket: show one that needs no log-in
        (``exempt=``), such as the page that calls this.

        Args:
            scope: the request's, as the app got it.

        Raises:
            ConfigurationError: no ``NegotiateMiddleware`` with these sessions is around this app.
        """
        session = scope.get(self._key)
        if not isinstance(session, CookieSession):
            raise ConfigurationError(
                "logout(scope): this request has no session of these CookieSessions; give them to the outermost "
                "NegotiateMiddleware(app, sessions=…) around the app, and call logout with the request's scope"
            )
        session.end()

    async def start(self) -> None:
        """Say what a generated key means."""
        if self._is_generated:
            telemetry.warned(
                "session-key-generated",
                "sessions end when this process does, since their key was made by it; to keep them, make a key with "
                f"`{MAKE_A_KEY}`, and give it as CookieSessions(keys=[…])",
            )

    async def stop(self) -> None:
        """Forget what was opened."""
        self._cache.clear()
        self._cached_groups = 0

    def _create(self, identity: Identity, now: float, session_id: str | None) -> _Live:
        created, session_id = int(now), session_id or token_urlsafe(16)
        fields = {"id": session_id, "audience": self._audience, "created": created, "seen": created}
        return self._live(Record(identity=identity, **fields), now)  # type: ignore[arg-type] # named as they are

    def _live(self, record: Record, now: float) -> _Live:
        # without idle nothing in the cookie changes
        reseal_at = float("inf") if self._idle is None else max(record.seen, now - _RESEAL_SECONDS) + _RESEAL_SECONDS
        return _Live(record.identity, record.ends(self._max_age, self._idle), record, reseal_at)

    def _open(self, cookie: Cookie, value: bytes, now: float) -> _Live | None:
        pair = cookie.pair(value)
        live = self._cache.get(pair)
        if live is None:
            live = self._unseal(cookie, value, now)
            if live is None:
                return None
            self._keep(pair, live)
        if live.ends <= now or live.record.id in self._ended:
            self._forget(pair)
            return None
        return live

    def _unseal(self, cookie: Cookie, value: bytes, now: float) -> _Live | None:
        try:
            sealed = urlsafe_b64decode(value + b"=" * (-len(value) % 4))
        except Base64Error:
            return None
        if _text(sealed) != value:  # base64 can say the same in several ways
            return None
        data = self._sealer.open(sealed, self._aad[cookie.name])
        record = None if data is None else decode(data)
        if record is None or record.created > now + _SKEW_SECONDS:
            return None
        return self._live(record, now)

    def _seal(self, cookie: Cookie, live: _Live) -> bytes | None:
        """The cookie's value, which is open here from now on; None if browsers would drop it."""
        value = _text(self._sealer.seal(encode(live.record), self._aad[cookie.name]))
        if not cookie.fits(value):
            return None
        self._keep(cookie.pair(value), live)
        return value

    def _seal_again(self, cookie: Cookie, live: _Live, now: float) -> bytes | None:
        """The ``Set-Cookie`` that says that the session was used just now; None if browsers would drop it."""
        live.reseal_at = now + _RESEAL_SECONDS  # for whoever comes with the same cookie in the meantime
        fresh = self._live(replace(live.record, seen=int(now)), now)
        value = self._seal(cookie, fresh)
        for watch in self._watches.get(live.record.id, ()):
            watch.ends = fresh.ends
        return None if value is None else cookie.set(value, fresh.ends - now)

    def _keep(self, pair: bytes, live: _Live) -> None:
        self._forget(pair)
        self._cache[pair] = live
        self._cached_groups += len(live.identity.groups)
        while len(self._cache) > _CACHED or self._cached_groups > _CACHED_GROUPS:
            self._forget(next(iter(self._cache)))

    def _forget(self, pair: bytes | None) -> None:
        if (live := self._cache.pop(pair, None)) is not None:
            self._cached_groups -= len(live.identity.groups)

    def _end(self, record: Record, now: float) -> None:
        """The session is over in this process, whichever of its cookies comes."""
        ended = self._ended
        ended.pop(record.id, None)
        ended[record.id] = now + _SKEW_SECONDS + self._max_age  # whichever of its log-ins a cookie is of
        while ended and (len(ended) > _ENDED or next(iter(ended.values())) < now):
            ended.popitem(last=False)
        for watch in self._watches.get(record.id, ()):
            watch.revoked.set()

    async def _until_ended(self, live: _Live) -> None:
        session_id = live.record.id
        watch = _Watch(asyncio.Event(), live.ends)
        watches = self._watches.setdefault(session_id, set())
        watches.add(watch)
        try:
            while session_id not in self._ended and (left := watch.ends - time()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await watch.revoked.wait()
        finally:
            watches.discard(watch)
            if not watches:
                self._watches.pop(session_id, None)

    def _advise(self, identity: Identity, now: float) -> None:
        if now < self._advise_at:
            return
        self._advise_at = now + _ADVICE_SECONDS
        telemetry.warned(
            "session-too-large",
            f"{telemetry.plain(identity.principal)} gets no session and logs in with each request, since the cookie "
            f"would be over {LARGEST} bytes, which browsers drop; {len(identity.groups)} groups and "
            f"{len(identity.named_attributes)} attributes are in it: have fewer groups with PacGroups(names={{…}}), "
            "or keep sessions in Redis with RedisSessions(url, keys=[…])",
        )


class CookieSession:
    """One request's view of its user's session."""

    quiet_until: float = 0.0
    _live: _Live | None = None
    _value: bytes | None = None  # of a session that began with this request
    _is_stray = False  # the request's cookie is no session
    _is_over = False  # the app ended it

    def __init__(self, home: CookieSessions, cookie: Cookie, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._home = home
        self._cookie = cookie
        self._headers = headers

    def peek(self, fields: Mapping[bytes, bytes], now: float) -> Remembered | None:
        """Who the request's cookie stands for, if that is open here already."""
        home = self._home
        live = home._cache.get(self._cookie.glance(self._headers, fields))
        if live is None or now >= live.ends or live.record.id in home._ended:
            return None
        self._live, self.quiet_until = live, live.reseal_at
        return live

    async def open(self) -> Remembered | None:
        """Who the request's cookie stands for; None if there is none, it ended, or can't be read."""
        live = self._live = self._look(time())
        return live

    async def begin(self, identity: Identity) -> None:
        """Start a new session for somebody who has just logged in, in place of the request's own."""
        now, home, session_id = time(), self._home, None
        if (former := self._look(now)) is not None:
            # the same account's goes on: its end would gain nobody anything, and push somebody's log-out out in the end
            if former.record.identity.account_id == identity.account_id:
                session_id = former.record.id  # so that a log-out ends both
            else:
                home._end(former.record, now)
            self._is_stray = True
        self._is_over = False
        self._live = home._create(identity, now, session_id)
        self._value = home._seal(self._cookie, self._live) if self._live.ends > now else None
        if self._value is None:
            if self._live.ends > now:
                home._advise(identity, now)
            self._live = None

    async def leave(self) -> None:
        """End the request's own session, since somebody else has just logged in, and have it cleared."""
        if self._cookie.read(self._headers) != (None, False):
            self.end()

    async def ended(self) -> None:
        """Return once the session has ended or was ended in this process; without a session, never."""
        if self._live is None:
            await asyncio.Event().wait()
        else:
            await self._home._until_ended(self._live)

    def set_cookie(self) -> bytes | None:
        """The ``Set-Cookie`` value for a response that starts now; None if the client's cookie is as it should be."""
        live, now = self._live, time()
        if live is None:
            return self._cookie.clear() if self._is_stray or self._is_over else None
        if live.record.id in self._home._ended:
            return None  # whoever ended it has said so already, and may have put a new one in its place
        if self._value is not None:
            return self._cookie.set(self._value, live.ends - now)
        return None if now < live.reseal_at else self._home._seal_again(self._cookie, live, now)

    def end(self) -> None:
        """End it, and have the client forget it."""
        now = time()
        found = [self._home._open(self._cookie, value, now) for value in self._cookie.all(self._headers)]
        for live in {live.record.id: live for live in (self._live, *found) if live is not None}.values():
            self._home._end(live.record, now)
        self._live, self._value, self._is_over, self.quiet_until = None, None, True, 0.0

    def _look(self, now: float) -> _Live | None:
        value, self._is_stray = self._cookie.read(self._headers)
        live = None if value is None else self._home._open(self._cookie, value, now)
        if live is None and value is not None:
            self._is_stray = True
        return live


def _is_one_of_several() -> bool:
    """True if this process was made by a server that makes several, or could: gunicorn, uvicorn, hypercorn, granian.

    uvicorn with ``--reload`` has one such process, and Python gives it the command line of its parent.
    """
    is_gunicorn = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")
    return is_gunicorn or (multiprocessing.parent_process() is not None and "--reload" not in sys.argv)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(sealed: bytes) -> bytes:
    return urlsafe_b64encode(sealed).rstrip(b"=")
