"""Sessions that Redis (or Valkey) keeps: the client has an id, every node finds the same, and each end counts on all.

Law: the id is in the cookie alone, Redis has its hash; the value is sealed for that hash, so who can write to Redis can
neither make a session nor exchange two. Whatever is wrong with a cookie, a value or the server, the answer is that
there is no session, and the client logs in again.
"""

import asyncio
import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic, time
from typing import Any
from weakref import WeakKeyDictionary

from negotiate_mw import telemetry
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.handshake import Remembered
from negotiate_mw.identity import Identity
from negotiate_mw.redis_store import Source, StoreDown
from negotiate_mw.sessions.cookies import Cookie, check_audience, check_domain
from negotiate_mw.sessions.ledger import CHUNK, MARK_BYTES, MAX_AGE, TAG_BYTES, Ledger, Marks, Place, tag_of
from negotiate_mw.sessions.record import Record, decode, encode
from negotiate_mw.sessions.sealing import Sealer
from negotiate_mw.sessions.watch import Watch

Scope = MutableMapping[str, Any]

CACHED_SECONDS = 0.9  # since Redis was asked; so an end counts everywhere within one second
_CACHED = 10_000  # sessions, with 20 groups 5 KiB each, 7 where the policy gives other names
_ID_BYTES = 24
_COOKIE_BYTES = (TAG_BYTES + _ID_BYTES) * 4 // 3  # in base64, which has one spelling for this length
_LEAST_IDLE = 60  # seconds
_SKEW_SECONDS = 60  # by which another node's clock may be ahead
_MOST_UNENDED = 100_000  # about 0.2 KiB each


@dataclass(slots=True, eq=False)
class _Live(Remembered):
    """A session as Redis had it a moment ago."""

    place: Place
    marks: Marks


class RedisSessions:
    """Remembers log-ins on a Redis or Valkey server, for all nodes that share it and the keys.

    ::

        sessions = RedisSessions("rediss://nmw:secret@redis.corp.example", keys=[os.environ["SESSION_KEY"]])
        app = NegotiateMiddleware(app, sessions=sessions)

    A session ends with its ticket, ``max_age`` after the log-in, when nobody used it for ``idle``, or when it is
    revoked; every node knows of that within one second, for open websockets too. While Redis gives no answer within
    250 ms there are no sessions, and clients log in with each request; websockets that are open then stay so for ten
    seconds.

    Args:
        url: the server, as redis-py takes it, or a function that makes a ``redis.asyncio`` client (Sentinel, Cluster).
        keys: secrets, the newest first, each of at least 32 random bytes, the same on every node; what any of them
            sealed is accepted, so put a new one in front and take the old one out ``max_age`` later.
        max_age: seconds from the log-in to the end, at most 7 days; groups are no staler than that.
        idle: seconds without a request after which a session ends, 60 to ``max_age``; a websocket that is open is no
            request. None: unused sessions last as long as others.
        audience: what the sessions are for, such as ``"wiki"``: those of another audience are none here.
        domain: see ``CookieSessions``: **each host below it can use and plant sessions here**.

    Raises:
        ConfigurationError: an option is wrong or a key is weak.
    """

    def __init__(
        self,
        url: Source,
        *,
        keys: Sequence[str | bytes],
        max_age: int = 3600,
        idle: int | None = None,
        audience: str = "",
        domain: str | None = None,
    ) -> None:
        if type(max_age) is not int or not 0 < max_age <= MAX_AGE:
            raise ConfigurationError(f"max_age={max_age!r}: give whole seconds, such as 3600, and at most 7 days'")
        if idle is not None and (type(idle) is not int or not _LEAST_IDLE <= idle <= max_age):
            raise ConfigurationError(f"idle={idle!r}: give {_LEAST_IDLE} seconds or more, up to max_age={max_age!r}")
        self._sealer = Sealer(keys, "redis session")
        self._ledger = Ledger(url, option="RedisSessions")
        self._max_age = max_age
        self._idle = idle
        self._audience = check_audience(audience)
        domain = check_domain(domain)
        self._cookies = tuple(Cookie(is_tls=is_tls, audience=audience, domain=domain) for is_tls in (False, True))
        self._key = f"negotiate_mw.session.{id(self):x}"
        self._cache: OrderedDict[str, tuple[float, _Live]] = OrderedDict()
        self._watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()
        self._unended: dict[str, None] = {}  # that an app ended here while Redis was down

    def __repr__(self) -> str:
        return f"RedisSessions(max_age={self._max_age!r}, idle={self._idle!r}, audience={self._audience!r})"

    def session(self, scope: Scope, *, is_tls: bool) -> "RedisSession":
        """The view of one request."""
        session = scope[self._key] = RedisSession(self, self._cookies[is_tls], scope["headers"])
        return session

    async def logout(self, scope: Scope) -> None:
        """End the session of a request on all nodes, before its response has started; its cookie is cleared.

        The next page logs in again by itself, if the browser has a ticket: show one that needs no log-in
        (``exempt=``), such as the page that calls this. While Redis is down the client is logged out all the same; the
        session itself ends as soon as Redis answers this process.

        Args:
            scope: the request's, as the app got it.

        Raises:
            ConfigurationError: no ``NegotiateMiddleware`` with these sessions is around this app.
        """
        session = scope.get(self._key)
        if not isinstance(session, RedisSession):
            raise ConfigurationError(
                "logout(scope): this request has no session of these RedisSessions; give them to the outermost "
                "NegotiateMiddleware(app, sessions=…) around the app, and call logout with the request's scope"
            )
        await session.end()

    async def revoke(self, session_id: str) -> bool:
        """End one session, by its ``id`` in ``active()``, on all nodes; False: there was none.

        Raises:
            StoreDown: Redis doesn't answer; the session may be alive.
        """
        self._cache.pop(session_id, None)
        return await self._ledger.revoke(session_id)

    async def revoke_account(self, account_id: str) -> None:
        """End all sessions that an account (``Identity.account_id``) has now, of whatever audience, on all nodes.

        It is no ban: who still may log in gets a new one.

        Raises:
            StoreDown: Redis doesn't answer; the sessions may be alive.
        """
        await self._ledger.revoke_account(account_id)
        self._cache.clear()

    async def revoke_all(self) -> None:
        """End all sessions there are now, of whatever audience, on all nodes.

        Raises:
            StoreDown: Redis doesn't answer; the sessions may be alive.
        """
        await self._ledger.revoke_all()
        self._cache.clear()

    async def active(self) -> AsyncIterator[Record]:
        """Every session that these keys open and that hasn't ended, for operators: takes as long as there are many.

        Raises:
            StoreDown: Redis doesn't answer.
        """
        marks: dict[bytes, Marks | None] = {}
        async for session_id, value in self._ledger.scan():
            opened = self._unsealed(Place(session_id, b"").key, value)
            if opened is None or opened[1].ends(self._max_age, None) <= time():
                continue
            tag = tag_of(opened[1].identity.account_id)
            if tag not in marks:
                marks[tag] = await self._ledger.marks(tag)
            if _agree(opened[0], marks[tag]):
                yield opened[1]

    async def start(self) -> None:
        """Connect, and say so if that can't be done: Redis may come later than this server."""
        try:
            await self._ledger.marks(bytes(TAG_BYTES))
        except StoreDown as error:
            self._warn(error)

    async def stop(self) -> None:
        """Close the connections and forget what was read."""
        self._cache.clear()
        if watch := self._watches.pop(asyncio.get_running_loop(), None):
            watch.stop()
        await self._ledger.aclose()

    async def _open(self, cookie: Cookie, raw: bytes) -> _Live | None:
        """The session of a cookie.

        Raises:
            StoreDown: that can't be told.
        """
        place = _place(cookie, raw)
        live = self._cached(place)
        if live is None:
            await self._end_unended()
            asked_at = monotonic()
            live = await self._read(place)
            if live is not None:
                self._keep(asked_at, live)
        return live if live is not None and live.ends > time() else None

    def _cached(self, place: Place) -> _Live | None:
        """The session as Redis had it less than a moment ago."""
        cached = self._cache.get(place.id)
        return cached[1] if cached is not None and monotonic() - cached[0] < CACHED_SECONDS else None

    async def _read(self, place: Place) -> _Live | None:
        stored = await self._ledger.read(place, self._idle)
        opened = None if stored is None else self._unsealed(place.key, stored.value)
        if stored is None or opened is None:
            return None
        sealed_marks, record = opened
        if not _agree(sealed_marks, stored.marks) or tag_of(record.identity.account_id) != place.tag:
            return None
        if record.audience != self._audience or record.created > time() + _SKEW_SECONDS:
            return None
        return _Live(record.identity, record.ends(self._max_age, None), place, sealed_marks)

    async def _begin(self, cookie: Cookie, identity: Identity, instead_of: Place | None) -> tuple[bytes, _Live] | None:
        """A new session and its id for the cookie; None if the ticket has ended already.

        Raises:
            StoreDown: it can't be kept.
        """
        raw = tag_of(identity.account_id) + secrets.token_bytes(_ID_BYTES)
        place = _place(cookie, raw)
        marks = await self._ledger.marks(place.tag)
        if marks is None:
            raise StoreDown("its mark of all sessions is none of ours; RedisSessions.revoke_all() makes a new one")
        created = int(time())
        record = Record(id=place.id, audience=self._audience, created=created, seen=created, identity=identity)
        live = _Live(identity, record.ends(self._max_age, None), place, marks)
        left = int(live.ends - time())
        if left <= 0:
            return None
        value = self._sealer.seal(marks.all + marks.account + encode(record), place.key.encode())
        await self._ledger.write(place, value, min(left, self._idle or left), instead_of=instead_of)
        return raw, live

    async def _end(self, place: Place) -> None:
        was_open = self._cache.pop(place.id, None) is not None
        if watch := self._watches.get(asyncio.get_running_loop()):
            for entry in [entry for entry in watch.entries if entry[0] == place]:
                watch.tell(entry)
        try:
            await self._ledger.revoke(place.id)
        except StoreDown as error:
            # strangers' cookies end here too, and mustn't take the place of sessions that were alive
            if was_open or len(self._unended) < _MOST_UNENDED:
                self._unended[place.id] = None
            self._warn(error)

    async def _end_unended(self) -> None:
        while self._unended:
            # taken out first, so that no two ask for the same
            some = [self._unended.popitem()[0] for _ in range(min(CHUNK, len(self._unended)))]
            try:
                await self._ledger.revoke(*some)
            except BaseException:
                self._unended |= dict.fromkeys(some)
                raise

    async def _until_ended(self, live: _Live) -> None:
        loop = asyncio.get_running_loop()
        watch = self._watches.get(loop)
        if watch is None:
            watch = self._watches[loop] = Watch(self._gone)
        await watch.until_ended((live.place, live.marks), live.ends - time())

    async def _gone(self, entries: Collection[tuple[Place, Marks]]) -> list[tuple[Place, Marks]]:
        gone = await self._ledger.gone(entries)
        return [entry for entry in entries if entry[0] in gone]

    def _unsealed(self, key: str, value: bytes) -> tuple[Marks, Record] | None:
        data = self._sealer.open(value, key.encode("ascii", "replace"))
        record = None if data is None else decode(data[2 * MARK_BYTES :])
        if data is None or record is None:
            return None
        return Marks(data[:MARK_BYTES], data[MARK_BYTES : 2 * MARK_BYTES]), record

    def _keep(self, asked_at: float, live: _Live) -> None:
        cache = self._cache
        cache[live.place.id] = asked_at, live
        cache.move_to_end(live.place.id)
        while len(cache) > _CACHED or next(iter(cache.values()))[0] < asked_at - CACHED_SECONDS:
            cache.popitem(last=False)

    def _warn(self, error: StoreDown) -> None:
        if self._ledger.store.is_time_to_warn():
            telemetry.warned(
                "session-store",
                f"there are no sessions, and clients log in with each request, since Redis can't be asked: "
                f"{telemetry.plain(error)}",
            )


class RedisSession:
    """One request's view of its user's session."""

    __slots__ = ("_cookie", "_headers", "_home", "_is_stray", "_live", "_value", "quiet_until")

    def __init__(self, home: RedisSessions, cookie: Cookie, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._home = home
        self._cookie = cookie
        self._headers = headers
        self._live: _Live | None = None
        self._value: bytes | None = None  # of a session that began with this request
        self._is_stray = False  # the client's cookie is to be cleared
        self.quiet_until: float = 0.0

    def peek(self, fields: Mapping[bytes, bytes], now: float) -> Remembered | None:
        """Who the request's cookie stands for, as far as Redis needn't be asked."""
        pair = self._cookie.glance(self._headers, fields)
        raw = None if pair is None else _raw(pair[len(self._cookie.name) + 1 :])
        live = None if raw is None else self._home._cached(_place(self._cookie, raw))
        if live is None or now >= live.ends:
            return None
        self._live, self.quiet_until = live, inf
        return live

    async def open(self) -> Remembered | None:
        """Who the request's cookie stands for; None if there is none, it ended, or that can't be told."""
        raw = self._raw()
        if raw is None:
            return None
        try:
            self._live = await self._home._open(self._cookie, raw)
        except StoreDown as error:  # the cookie stays: its session may come back with Redis
            self._home._warn(error)
            return None
        self._is_stray = self._live is None
        return self._live

    async def begin(self, identity: Identity) -> None:
        """Start a new session for somebody who has just logged in, in place of the request's own."""
        raw = self._raw()
        former = None if raw is None else _place(self._cookie, raw)
        # whoever logs in is not served as somebody else by the next request, whatever becomes of this session
        self._is_stray = self._is_stray or former is not None
        self._live = self._value = None
        if former is not None:
            self._home._cache.pop(former.id, None)
        try:
            begun = await self._home._begin(self._cookie, identity, former)
        except StoreDown as error:
            self._home._warn(error)
            begun = None
        if begun is None:
            if former is not None:
                await self._home._end(former)
        else:
            self._value, self._live = urlsafe_b64encode(begun[0]), begun[1]

    async def leave(self) -> None:
        """End the request's own session, since somebody else has just logged in, and have it cleared."""
        if self._cookie.read(self._headers) != (None, False):
            await self.end()

    async def ended(self) -> None:
        """Return once the session has ended or was revoked on whichever node; without a session, never."""
        if self._live is None:
            await asyncio.Event().wait()
        else:
            await self._home._until_ended(self._live)

    def set_cookie(self) -> bytes | None:
        """The ``Set-Cookie`` value for a response that starts now; None if the client's cookie is as it should be."""
        if self._value is not None and self._live is not None:
            return self._cookie.set(self._value, self._live.ends - time())
        return self._cookie.clear() if self._is_stray else None

    async def end(self) -> None:
        """End it, and have the client forget it."""
        found = map(_raw, self._cookie.all(self._headers))
        places = {_place(self._cookie, raw) for raw in found if raw is not None}
        if self._live is not None:
            places.add(self._live.place)
        self._live, self._value, self._is_stray, self.quiet_until = None, None, True, 0.0
        for place in places:
            await self._home._end(place)

    def _raw(self) -> bytes | None:
        value, self._is_stray = self._cookie.read(self._headers)
        raw = _raw(value)
        if raw is None and value is not None:
            self._is_stray = True
        return raw


def _raw(value: bytes | None) -> bytes | None:
    """The id that a cookie's value is; None if it is none of ours."""
    if value is None or len(value) != _COOKIE_BYTES:
        return None
    try:
        raw = urlsafe_b64decode(value)
    except ValueError:
        return None
    return raw if urlsafe_b64encode(raw) == value else None


def _place(cookie: Cookie, raw: bytes) -> Place:
    # the cookie's name is part of it: what was set over plain http is nothing over TLS, another audience's nothing here
    digest = hashlib.sha256(cookie.name + b"=" + raw).digest()
    return Place(urlsafe_b64encode(digest).rstrip(b"=").decode(), raw[:TAG_BYTES])


def _agree(sealed: Marks, now: Marks | None) -> bool:
    """True if no mark was made since; an account's is there for seven days only."""
    return now is not None and sealed.all == now.all and now.account in (bytes(MARK_BYTES), sealed.account)
