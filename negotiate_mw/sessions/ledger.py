"""What Redis holds of sessions: sealed values under hashed ids, and two kinds of marks that end many at once.

Law: a value is written once and never again, so nothing in flight can bring back a session that was ended. Whether one
is alive takes three keys, read in one round trip: the session's own; the mark of its account, which is there only after
``revoke_account``; and the mark of all sessions, which has to be there.
"""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Collection
from typing import Any, NamedTuple

from negotiate_mw.redis_store import RedisStore, Source

MARK_BYTES = 12
TAG_BYTES = 12
MAX_AGE = 7 * 86_400  # seconds; so long an account's mark is kept, since no session is older
NO_MARK = bytes(MARK_BYTES)

_SESSION = "negotiate-mw:session:"
_ACCOUNT = "negotiate-mw:account:"
_ALL = "negotiate-mw:sessions"
CHUNK = 500  # keys of one command, so that neither Redis nor our loop is held up for over a millisecond or so


class Marks(NamedTuple):
    """What a session has to agree with: it is sealed into it when it begins."""

    all: bytes
    account: bytes


class Stored(NamedTuple):
    """A session's sealed value, and the marks of this moment."""

    value: bytes
    marks: Marks


class Place(NamedTuple):
    """Where a session is: its ``id`` names it to operators and opens nothing; ``tag`` stands for its account."""

    id: str
    tag: bytes

    @property
    def key(self) -> str:
        return _SESSION + self.id


def tag_of(account_id: str) -> bytes:
    """What stands for an account in keys and cookies."""
    return hashlib.sha256(b"account\0" + account_id.encode("utf-8", "surrogatepass")).digest()[:TAG_BYTES]


class Ledger:
    """Sessions on one server; every method raises StoreDown.

    Args:
        source: see ``RedisStore``.
        option: what the operator wrote, for error messages.
    """

    def __init__(self, source: Source, *, option: str) -> None:
        self.store: RedisStore = RedisStore(source, option=option)

    async def read(self, place: Place, idle: int | None) -> Stored | None:
        """A session, whose end is put off to ``idle`` seconds from now; None: there is none."""

        async def question(client: Any) -> list[object]:
            async with client.pipeline(transaction=False) as pipeline:
                if idle is None:
                    pipeline.get(place.key)
                else:
                    pipeline.getex(place.key, ex=idle)
                pipeline.get(_account(place.tag))
                pipeline.get(_ALL)
                return list(await pipeline.execute())

        value, account, every = await self.store.ask(question)
        if not isinstance(value, bytes) or not isinstance(every, bytes):
            return None
        return Stored(value, Marks(every, account if isinstance(account, bytes) else NO_MARK))

    async def marks(self, tag: bytes) -> Marks | None:
        """What a session that begins now has to agree with; None: somebody else's value is in their place."""
        fresh = secrets.token_bytes(MARK_BYTES)

        async def question(client: Any) -> list[object]:
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.set(_ALL, fresh, nx=True)
                pipeline.get(_ALL)
                pipeline.get(_account(tag))
                return list(await pipeline.execute())[1:]

        every, account = (NO_MARK if mark is None else mark for mark in await self.store.ask(question))
        if not isinstance(every, bytes) or not isinstance(account, bytes):
            return None
        return Marks(every, account) if len(every) == len(account) == MARK_BYTES else None

    async def write(self, place: Place, value: bytes, seconds: int, *, instead_of: Place | None) -> None:
        """Add a session that begins, and take away the one in whose place it comes."""

        async def question(client: Any) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.set(place.key, value, ex=seconds)
                if instead_of is not None:
                    pipeline.unlink(instead_of.key)
                await pipeline.execute()

        await self.store.ask(question)

    async def revoke(self, *session_ids: str) -> bool:
        """End sessions, at most ``CHUNK`` at once; False: there was none of them."""
        keys = [_SESSION + session_id for session_id in session_ids]
        return bool(await self.store.ask(lambda client: client.unlink(*keys)))

    async def revoke_account(self, account_id: str) -> None:
        """End all sessions that an account has now; those that begin later are good."""
        key, mark = _account(tag_of(account_id)), secrets.token_bytes(MARK_BYTES)
        await self.store.ask(lambda client: client.set(key, mark, ex=MAX_AGE))

    async def revoke_all(self) -> None:
        """End all sessions there are now."""
        mark = secrets.token_bytes(MARK_BYTES)
        await self.store.ask(lambda client: client.set(_ALL, mark))

    async def gone(self, held: Collection[tuple[Place, Marks]]) -> set[Place]:
        """Which of these sessions have ended: two questions for each 500."""
        every = await self.store.ask(lambda client: client.get(_ALL))
        gone = {place for place, marks in held if marks.all != every}
        rest = [(place, marks) for place, marks in held if place not in gone]
        for start in range(0, len(rest), CHUNK):
            chunk = rest[start : start + CHUNK]
            gone |= await self._gone_of(chunk)
        return gone

    async def _gone_of(self, chunk: list[tuple[Place, Marks]]) -> set[Place]:
        keys = [place.key for place, _ in chunk]
        accounts = await self._many([_account(place.tag) for place, _ in chunk])
        gone = {
            place for (place, marks), mark in zip(chunk, accounts, strict=True) if mark not in (None, marks.account)
        }
        if await self.store.ask(lambda client: client.exists(*keys)) != len(keys):
            values = await self._many(keys)
            gone |= {place for (place, _), value in zip(chunk, values, strict=True) if value is None}
        return gone

    async def scan(self) -> AsyncIterator[tuple[str, bytes]]:
        """Ids and values of all sessions, those included that a mark has ended."""
        names: Any = None

        async def question(client: Any) -> list[bytes]:
            nonlocal names
            if names is None:
                # of all keys, for of other apps' there may be so many that one answer would take long
                names = client.scan_iter(count=CHUNK)
            return [name async for name in _first(names, CHUNK)]

        while asked := await self.store.ask(question):
            every = (name.decode("ascii", "replace") for name in asked)
            found = [name for name in every if name.startswith(_SESSION)]
            for name, value in zip(found, await self._many(found), strict=True):
                if isinstance(value, bytes):
                    yield name.removeprefix(_SESSION), value

    async def aclose(self) -> None:
        """Close the connections of this event loop; asking again opens new ones."""
        await self.store.aclose()

    async def _many(self, keys: list[str]) -> list[object]:
        if not keys:
            return []
        # a cluster has them in several places
        return await self.store.ask(lambda client: getattr(client, "mget_nonatomic", client.mget)(keys))


def _account(tag: bytes) -> str:
    return _ACCOUNT + urlsafe_b64encode(tag).decode()


async def _first(names: AsyncIterator[bytes], number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        name = await anext(names, None)
        if name is None:
            return
        yield name
