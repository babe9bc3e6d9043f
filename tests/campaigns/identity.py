"""Who is each response for? Random interleavings, and every short sequence, against a model of a dozen lines.

Law: the acceptor believes everything, and steps a context that has ended as gladly as a new one, so nothing but the
middleware keeps users apart. Requests are driven by hand and stop inside ``accept``, so any two can overlap.
"""

import asyncio
import itertools
import logging
import random
import ssl
from base64 import b64decode, b64encode
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, NamedTuple

from negotiate_mw import AcceptError, AcceptResult, Identity, Limits, NegotiateMiddleware, SecStatus
from negotiate_mw.connection import STATE_KEY, Connection
from negotiate_mw.testing.scripted import LATER, user

from .report import Report

FOREIGN = "mallory@EVIL.EXAMPLE"  # of a realm that may not log in
ENDED = "dave@EXAMPLE.COM"  # whose tickets end as soon as they are accepted
USERS = ("alice@EXAMPLE.COM", "bob@EXAMPLE.COM", "carol@EXAMPLE.COM", ENDED, "erin@EXAMPLE.COM", FOREIGN)
CONNECTIONS = 32
KINDS = ("native", "native", "native", "proxied", "derived")
BURST = 8  # events of one interleaving, on a few of the connections
WORLD = 10_000  # interleavings before all is stopped and begun anew

COOKIES = find_spec("negotiate_mw.sessions.cookie") is not None
EVENTS = ("ok", "bad", "half", "cancel", "close", "port reuse", "re-auth", "bound", "exempt")

PAST = datetime(2020, 1, 1, tzinfo=UTC)
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


class Who(NamedTuple):
    """What a response says: whose page it is, for whom its token is, and whether the connection is remembered."""

    status: int
    name: str = ""
    token: bytes | None = None
    persistent: bytes | None = None
    begins: bool = False  # a session, by a cookie


CHALLENGED = Who(401)
EXEMPT = Who(200)


class Model:
    """Who each response must be for: all that this campaign trusts. Connections are numbers that never come again."""

    def __init__(self) -> None:
        self.half: dict[int, str] = {}
        self.bound: dict[int, str] = {}
        self.sessions: dict[bytes, str] = {}  # by cookie
        self._together: dict[bytes, set[bytes]] = {}  # the cookies that one account got one over the other

    def arrives(self, connection: int, kind: str, name: str, cookie: bytes | None = None) -> str | None:
        """Whose handshake, or connection, a request finds; a token ends both."""
        opener = self.half.pop(connection, None)
        if kind == "plain":
            return self.bound.get(connection) or self.sessions.get(cookie or b"")
        self.bound.pop(connection, None)
        return opener if kind.startswith("later") else name

    def answers(
        self, connection: int, kind: str, name: str | None, *, is_open: bool, own: bool, former: bytes | None = None
    ) -> Who:
        """The response that is due.

        ``own``: what the connection proves is remembered for it, since it is the client's own, from end to end.
        ``former``: the request's own cookie.
        """
        if kind == "first" and is_open:
            self.half[connection] = name or ""
            return Who(401, token=b"more")
        if name is None or kind in ("first", "bad", "later bad"):
            return CHALLENGED
        proof = None if kind == "plain" else b"for " + name.encode()
        if name == FOREIGN:
            return Who(403, token=proof)
        if kind == "bound" and own and is_open and name != ENDED:
            self.bound[connection] = name
        if kind != "plain" and self.sessions.get(former or b"", name) != name:
            for cookie in self._together.pop(former or b""):
                self.sessions.pop(cookie, None)
                self._together.pop(cookie, None)
        return Who(
            200, name, proof, b"true" if connection in self.bound else b"false", kind != "plain" and name != ENDED
        )

    def begins(self, cookie: bytes, name: str, former: bytes | None) -> None:
        """A session with this cookie; one that its own account got over another ends with that."""
        is_own = self.sessions.get(former or b"") == name
        self._together[cookie] = self._together[former or b""] if is_own else set()
        self._together[cookie].add(cookie)
        self.sessions[cookie] = name

    def passes_by(self, connection: int) -> None:
        """A token comes where none is asked for: on an exempt path it is nobody's, and ends what is remembered."""
        self.bound.pop(connection, None)

    def ends(self, connection: int) -> None:
        self.half.pop(connection, None)
        self.bound.pop(connection, None)


class _Pause:
    """Where a request stops, until it is driven on."""

    def __await__(self) -> Generator[str, None, None]:
        yield "paused"


class Context:
    """A handshake of ``name``'s, which came over connection ``number``."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number


class Believing:
    """An acceptor that believes each token: ``kind:user:connection``. A context is whoever's its first token said."""

    presumed: Identity | None = None
    ntlm_domains: frozenset[str] | None = None
    realms = frozenset({"EXAMPLE.COM"})
    mechanisms = frozenset({"kerberos"})
    asks_host = False
    limits = Limits(half_open=10**9, handshake_seconds=10**6)
    acquired = True

    def __init__(self) -> None:
        self.open: set[Context] = set()
        self.stepped_after_end = 0
        self._results = {
            (name, bound): user(name, channel_bound=bound, expires_at=PAST if name == ENDED else None)
            for name in USERS
            for bound in (False, True)
        }

    def look(self) -> None:
        pass

    async def acquire(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def accept(self, context: object, token: bytes, **_: object) -> AcceptResult:
        kind, name, number = token.removeprefix(LATER).decode().split(":")
        if context is None:
            context = Context(name, int(number))
            self.open.add(context)
        assert isinstance(context, Context)
        self.stepped_after_end += context not in self.open
        try:
            await _Pause()
        except BaseException:
            self.open.discard(context)  # an acceptor deletes the context of a cancelled step
            raise
        if kind == "first":
            return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=b"more")
        self.open.discard(context)
        if kind == "bad":
            raise AcceptError(SecStatus.LOGON_DENIED, "wrong-key")
        identity = self._results[context.name, kind == "bound"]
        last = b"for " + context.name.encode()
        return AcceptResult(status=SecStatus.OK, context=context, token=last, identity=identity)

    def discard(self, context: object) -> None:
        assert isinstance(context, Context)
        self.open.discard(context)


class _Flow:
    """What uvicorn keeps for each connection."""


class _Transport:
    """A TLS socket's."""

    def get_extra_info(self, name: str) -> object:
        return TLS if name == "sslcontext" else None


class _Cycle:
    """What uvicorn keeps for each request."""

    def __init__(self, flow: _Flow) -> None:
        self.flow = flow
        self.transport = _Transport()

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}


_Cycle.__module__ = "uvicorn.protocols.http.stand_in"


class Slot:
    """Where a client is connected: one connection after the other, and what the client believes of the present one."""

    def __init__(self, number: int, address: tuple[str, int], kind: str) -> None:
        self.native = kind != "derived"
        self.proxied = kind == "proxied"
        self.busy: Request | None = None
        self.cookie: bytes | None = None
        self.left: list[Connection] = []  # ended at the client's side; the server hasn't heard of it yet
        self.connect(number, address)

    def connect(self, number: int, address: tuple[str, int]) -> None:
        self.number = number
        self.address = address
        self.connection = Connection(native=True)
        self.receive = _Cycle(_Flow()).receive

    def scope(self, kind: str, name: str, path: str) -> dict[str, Any]:
        headers = [(b"host", b"www.example.com")]
        if self.proxied:
            headers.append((b"via", b"1.1 proxy"))
        if self.cookie is not None:
            headers.append((b"cookie", self.cookie))
        if kind != "plain":
            token = (
                LATER if kind.startswith("later") else b""
            ) + f"{kind.rpartition(' ')[2]}:{name}:{self.number}".encode()
            headers.append((b"authorization", b"Negotiate " + b64encode(token)))
        return {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": path,
            "client": self.address,
            "headers": headers,
            "state": {STATE_KEY: self.connection} if self.native else {},
        }


class Request(NamedTuple):
    """One that stopped inside ``accept``."""

    coroutine: Coroutine[Any, Any, None]
    sent: list[dict[str, Any]]
    slot: Slot
    number: int
    connection: Connection
    kind: str
    finds: str | None
    said: str
    cookie: bytes | None


class World:
    """A middleware, its clients, and the model beside it."""

    def __init__(self, *, sessions: bool = False) -> None:
        self.acceptor = Believing()
        options: dict[str, Any] = {"exempt": ("/open",), "connection_bound": not sessions}
        if sessions:
            from negotiate_mw.sessions.cookie import CookieSessions

            options["sessions"] = CookieSessions(keys=[bytes(range(32)) * 2])
        self.sessions = sessions
        self.app = NegotiateMiddleware(_page, acceptor=self.acceptor, **options)
        self.cookies: list[bytes] = []
        self.by_cookie = 0
        self.model = Model()
        self.numbers = itertools.count()
        self.believed: dict[Slot, tuple[str | None, bool]] = {}  # whose handshake is half open; is it bound
        self.derived: set[int] = set()  # connections whose end no server tells
        self.requests = 0
        self.failures: list[str] = []
        self.history: list[str] = []

    def slot(self, port: int, kind: str = "native") -> Slot:
        slot = Slot(next(self.numbers), ("192.0.2.7", port), kind)
        self.believed[slot] = (None, False)
        return slot

    def event(self, slot: Slot, event: str, name: str, address: tuple[str, int] | None = None) -> None:
        """Let one happen; a request stays inside ``accept`` until ``goes_on`` or ``is_cancelled``."""
        self.history.append(f"{slot.number} {event} {name}")
        half, bound = self.believed[slot]
        if event == "ok":
            self._begin(slot, "one" if half is None else "later one", half or name)
            self.believed[slot] = (None, bound)
        elif event == "bad":
            self._begin(slot, "bad" if half is None else "later bad", name)
        elif event == "half":
            self._begin(slot, "first", name)
            self.believed[slot] = (name, bound)
        elif event == "cancel":
            self._begin(slot, "one" if half is None else "later one", name)
            self.is_cancelled(slot)
        elif event == "re-auth":
            self._begin(slot, "one", name)
        elif event == "bound":
            self._begin(slot, "plain" if bound else "bound", name)
            self.believed[slot] = (half, not bound)
        elif event == "exempt":
            self._begin(slot, "one", name, path="/open")
        elif event == "cookie":
            self._begin(slot, "plain", name)
        else:
            self._reconnect(slot, address, known=event == "close")

    def _reconnect(self, slot: Slot, address: tuple[str, int] | None, *, known: bool) -> None:
        """A new connection from the same client; the address is the old one, as when its port is used again."""
        slot.left.append(slot.connection)
        if known:
            self.server_hears_of_ends(slot)
        self.model.ends(slot.number)
        if not slot.native:
            self.derived.add(slot.number)
        slot.busy = None  # it goes on all the same; the caller has it
        slot.connect(next(self.numbers), address or slot.address)

    def server_hears_of_ends(self, slot: Slot) -> None:
        while slot.left:
            slot.left.pop().close()

    def _begin(self, slot: Slot, kind: str, name: str, *, path: str = "/") -> None:
        self.requests += 1
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        exempt = path == "/open"
        if exempt:
            self.model.passes_by(slot.number)
        finds = None if exempt else self.model.arrives(slot.number, kind, name, slot.cookie)
        self.by_cookie += kind == "plain" and finds is not None and slot.number not in self.model.bound
        coroutine = self.app(slot.scope(kind, name, path), slot.receive, send)
        kind = "exempt" if exempt else kind
        request = Request(coroutine, sent, slot, slot.number, slot.connection, kind, finds, name, slot.cookie)
        self._drive(request)

    def _drive(self, request: Request) -> None:
        try:
            paused = request.coroutine.send(None)
        except StopIteration:
            request.slot.busy = None if request.slot.busy is request else request.slot.busy
            self._compare(request)
        else:
            assert paused == "paused"
            request.slot.busy = request

    def goes_on(self, request: Request) -> None:
        self.history.append(f"{request.number} goes on")
        self._drive(request)

    def is_cancelled(self, slot: Slot) -> None:
        request, slot.busy = slot.busy, None
        if request is not None:
            try:
                request.coroutine.throw(asyncio.CancelledError())
            except asyncio.CancelledError:
                return
            self.failures.append(f"a cancelled request went on: {self._tail()}")

    def _compare(self, request: Request) -> None:
        due = EXEMPT
        if request.kind != "exempt":
            is_open = not (request.slot.native and request.connection.closed)
            own = request.slot.native and not request.slot.proxied and not self.sessions
            due = self.model.answers(
                request.number, request.kind, request.finds, is_open=is_open, own=own, former=request.cookie
            )
            due = due._replace(
                begins=due.begins and self.sessions, persistent=None if self.sessions else due.persistent
            )
        came = _who(request.sent)
        if due.begins and came.begins:
            cookie = _cookie(request.sent)
            self.model.begins(cookie, due.name, request.cookie)
            self.cookies.append(cookie)
            request.slot.cookie = cookie
        if came != due:
            self.failures.append(f"{request.kind} by {request.said}: {came}, should be {due}; {self._tail()}")

    def _tail(self) -> str:
        return " | ".join(self.history[-12:])

    def stops(self, slots: list[Slot]) -> None:
        """End it all: every connection, then the server; nothing may be left of any handshake."""
        for slot in slots:
            if slot.busy is not None:
                self.goes_on(slot.busy)
        if self.acceptor.stepped_after_end:
            self.failures.append(f"{self.acceptor.stepped_after_end} contexts stepped after their end: {self._tail()}")
        for slot in slots:
            slot.left.append(slot.connection)
            self.server_hears_of_ends(slot)
        derived = {slot.number for slot in slots if not slot.native} | self.derived
        leaked = [context for context in self.acceptor.open if context.number not in derived]
        self.app._store.clear()
        if len(self.app._bound or ()):
            self.failures.append(f"{len(self.app._bound or ())} ended connections are remembered: {self._tail()}")
        if leaked or self.acceptor.open:
            self.failures.append(f"{len(leaked)} + {len(self.acceptor.open)} contexts leaked: {self._tail()}")


async def _page(scope: Any, _: Any, send: Any) -> None:
    body = scope["user"].identity.encode()
    if bool(body) is not scope["user"].is_authenticated or ("authenticated" in scope["auth"].scopes) is not bool(body):
        body = b"two minds about who it is"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def _who(sent: list[dict[str, Any]]) -> Who:
    start, *bodies = sent
    tokens = [value.partition(b" ")[2] for name, value in start["headers"] if name == b"www-authenticate"]
    page = b"".join(body.get("body", b"") for body in bodies).decode() if start["status"] == 200 else ""
    persistent = [value for name, value in start["headers"] if name == b"persistent-auth"]
    token = b64decode(tokens[0]) if tokens and tokens[0] else None
    begins = not _cookie(sent).endswith(b"=")
    return Who(start["status"], page, token, b", ".join(persistent) if persistent else None, begins)


def _cookie(sent: list[dict[str, Any]]) -> bytes:
    """Name and value of the one cookie that a response sets; no value: it sets none, or takes it away."""
    values = [value for name, value in sent[0]["headers"] if name == b"set-cookie"]
    assert len(values) <= 1
    return values[0].partition(b";")[0] if values else b"="


@contextmanager
def _silent() -> Iterator[None]:
    """Without the middleware's log: half of all requests here are refused on purpose."""
    logger = logging.getLogger("negotiate_mw")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def interleavings(count: int, seed: int) -> Report:
    """``count`` bursts of overlapping events, each on a few of 32 connections, whose state lasts between bursts."""
    return asyncio.run(_interleavings(count, random.Random(seed)))


async def _interleavings(count: int, dice: random.Random) -> Report:
    done = held = requests = by_cookie = worlds = 0
    failures: list[str] = []
    with _silent():
        while done < count:
            world = World(sessions=COOKIES and worlds % 2 == 0)
            worlds += 1
            slots = [world.slot(50000 + n, KINDS[n % len(KINDS)]) for n in range(CONNECTIONS)]
            for _ in range(min(WORLD, count - done)):
                before = len(world.failures)
                _burst(world, dice.sample(slots, dice.randint(1, 4)), dice)
                held += len(world.failures) == before
                done += 1
                del world.history[:-100]
            world.stops(slots)
            requests += world.requests
            by_cookie += world.by_cookie
            failures += world.failures
    counts = {"requests": requests, "by cookie": by_cookie}
    return Report(done=done, held=held, counts=counts, failures=tuple(failures[:10]))


def _burst(world: World, slots: list[Slot], dice: random.Random) -> None:
    orphans: list[Request] = []
    for _ in range(BURST):
        slot = dice.choice(slots)
        if orphans and dice.random() < 0.3:
            world.goes_on(orphans.pop(dice.randrange(len(orphans))))
        if (busy := slot.busy) is None:
            event = dice.choice((*EVENTS, "cookie"))
            if event == "cookie" and world.cookies:  # of whoever logged in lately, here or elsewhere
                slot.cookie = dice.choice(world.cookies[-100:])
            address = dice.choice(slots).address if event == "port reuse" else None
            world.event(slot, event, dice.choice(USERS), address)
        elif (what := dice.random()) < 0.7:
            world.goes_on(busy)
        elif what < 0.85:
            world.is_cancelled(slot)
        else:
            world.event(slot, dice.choice(("close", "port reuse")), "")
            orphans.append(busy)
        if dice.random() < 0.2:
            world.server_hears_of_ends(slot)
    for orphan in orphans:
        world.goes_on(orphan)


def sequences(count: int, _: int) -> Report:
    """All sequences of events on one connection: ``count`` is 9 ** length. A bystander is half-way through a log-in."""
    length = next(n for n in itertools.count(1) if len(EVENTS) ** n >= count)
    return asyncio.run(_sequences(length))


async def _sequences(length: int) -> Report:
    done = held = 0
    failures: list[str] = []
    world = World()
    with _silent():
        for sequence in itertools.product(EVENTS, repeat=length):
            before = len(world.failures)
            world.history.clear()
            slot, bystander = world.slot(50000), world.slot(50001)
            for who, event in [(bystander, "half"), *((slot, event) for event in sequence), (bystander, "ok")]:
                world.event(who, event, USERS[4] if who is bystander else USERS[len(world.history) % 4])
                if who.busy is not None:
                    world.goes_on(who.busy)
            world.stops([slot, bystander])
            world.believed.clear()
            held += len(world.failures) == before
            done += 1
            failures += world.failures[before:]
    return Report(done=done, held=held, counts={"requests": world.requests}, failures=tuple(failures[:10]))
