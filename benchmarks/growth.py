"""What a request costs as things grow: handshakes, sessions, groups, connections, exempt paths, keys.

    .venv/bin/python -m benchmarks.growth [--most N] [--rounds N]

Law: each size is measured on what really has that size, by processor time, so that waiting for the machine's other work
isn't in it (a request that asks Redis counts this process's part). A line is *level* where its cost grows in the last
step by less than the fourth root of the size: caches of the processor account for that much, a loop doesn't.
"""

import argparse
import asyncio
import gc
import math
import os
import random
import resource
import secrets
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from benchmarks import apps
from benchmarks.apps import bare
from benchmarks.breakdown import credential
from benchmarks.chart import lines as line_chart
from benchmarks.groups import ACCOUNT, ALICE, DOMAIN, buffer
from benchmarks.in_process import OPENING, receive, request, send
from benchmarks.kerberos import make_tokens
from benchmarks.report import Aim, Outcome, machine, table
from benchmarks.servers import BenchmarkError, Recipe, free_port, load, pin, serving, uvicorn
from benchmarks.throughput import World, ready
from negotiate_mw import Acceptor, NegotiateMiddleware, PacGroups
from negotiate_mw.connection import STATE_KEY, Connection, Scope
from negotiate_mw.groups import Groups
from negotiate_mw.identity import AcceptResult, vouched_groups
from negotiate_mw.policy import Limits
from negotiate_mw.respond import ASGIApp
from negotiate_mw.sessions import Sessions
from negotiate_mw.status import SecStatus
from negotiate_mw.testing import RealmError
from negotiate_mw.testing.scripted import LATER, ScriptedAcceptor, user
from negotiate_mw.wire.logon_info import read_logon_info

MOST = 1_000_000
LEVEL = 0.25  # the exponent below which a line is level
TIMES = 300  # requests of a round
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """Microseconds by size; ``why`` says what may grow, where something may."""

    name: str
    chart: str
    points: dict[int, float] = field(default_factory=dict)
    why: str = ""

    @property
    def exponent(self) -> float:
        """By which power of the size the cost grows in the last step: 0 is O(1), 1 is O(n)."""
        (first, cost), (last, dearest) = sorted(self.points.items())[-2:]
        return math.log(dearest / cost) / math.log(last / first)


def decades(low: int, high: int, most: int) -> list[int]:
    """Powers of ten from one to the other, no further than ``most``, and ``high`` itself if it is none."""
    sizes = [10**power for power in range(7) if low <= 10**power <= high]
    return [size for size in sorted({*sizes, high}) if size <= max(most, low)]


async def timed(app: ASGIApp, scopes: Sequence[Scope]) -> float:
    """Microseconds of processor time for a request."""
    gc.collect()
    gc.disable()
    try:
        began = process_time()
        for scope in scopes:
            await app(scope, receive, send)
        return (process_time() - began) * 1e6 / len(scopes)
    finally:
        gc.enable()


def plain(path: str = "/", cookie: str = "", connection: Connection | None = None, token: bytes | None = None) -> Scope:
    scope = request(path)
    if token is None:
        scope["headers"].pop()
    else:
        scope["headers"][-1] = (b"authorization", b"Negotiate " + b64encode(token))
    if cookie:
        scope["headers"].append((b"cookie", cookie.encode()))
    scope["state"] = {STATE_KEY: connection or Connection(native=True)}
    return scope


async def half_open(size: int, rounds: int) -> float:
    """Both legs of a log-in, among so many others between theirs."""
    last = LATER + b"ClientBlob2"
    acceptor = ScriptedAcceptor(
        {OPENING: b"ServerBlob1", last: (user("alice@EXAMPLE.COM"), None)}, limits=Limits(half_open=size)
    )
    await acceptor.acquire()
    app = NegotiateMiddleware(bare, acceptor=acceptor)
    connections = [Connection(native=True) for _ in range(size)]
    for connection in connections:
        await app(plain(connection=connection, token=OPENING), receive, send)
    found = []
    for _ in range(rounds):
        some = random.choices(connections, k=TIMES)
        legs = [plain(connection=each, token=leg) for each in some for leg in (last, OPENING)]
        found.append(2 * await timed(app, legs))
        acceptor.contexts.clear()
    app._store.clear()
    return median(found)


async def sessions_of(
    sessions: Sessions, total: int, keep: set[int], *, at_once: int = 16, begun: int = 0
) -> list[str]:
    """Begin sessions until there are so many; the cookies of some."""
    kept: list[str] = []
    numbers = iter(range(begun, total))

    async def some() -> None:
        for number in numbers:
            session = sessions.session({"headers": []}, is_tls=False)
            await session.begin(user(f"user{number}@EXAMPLE.COM"))
            if number in keep:
                cookie = session.set_cookie()
                if cookie is None:
                    raise BenchmarkError("a session couldn't be begun")
                kept.append(cookie.partition(b";")[0].decode())

    await asyncio.gather(*(some() for _ in range(at_once)))
    return kept


async def asked(app: ASGIApp, cookies: list[str], rounds: int, pause: float, *, repeat: bool = True) -> float:
    """Requests of sessions at random; the first round, in which nothing is warm, doesn't count."""
    found = []
    for _ in range(rounds + 1):
        some = random.sample(cookies, min(TIMES, len(cookies)))
        found.append(
            await timed(app, [plain(cookie=cookie) for cookie in some * (TIMES // len(some) if repeat else 1)])
        )
        await asyncio.sleep(pause)
    return median(found[1:])


def nobody_logs_in() -> ScriptedAcceptor:
    return ScriptedAcceptor({})


async def cookie_sessions(sizes: Sequence[int], rounds: int) -> tuple[Line, Line]:
    """One user's session that is open here, and anybody's, of so many that were begun."""
    hot = Line("cookie session, the same one again", "state")
    anybody = Line("cookie session, anybody's", "state", why="the last 10,000 are kept open")
    sessions = apps.cookie_sessions()
    app = NegotiateMiddleware(bare, acceptor=nobody_logs_in(), sessions=sessions)
    await app._acceptor.acquire()
    cookies: list[str] = []
    begun = 0
    for size in sizes:
        keep = set(random.sample(range(begun, size), min(size - begun, 20 * TIMES)))
        cookies += await sessions_of(sessions, size, keep, begun=begun)
        begun = size
        cookies = cookies[-20 * TIMES :]
        anybody.points[size] = await asked(app, cookies, rounds, 0)
        hot.points[size] = await asked(app, cookies[-1:], rounds, 0)
    return hot, anybody


async def redis_sessions(sizes: Sequence[int], rounds: int, pause: float = 1.0) -> Line:
    """A session that Redis is asked for, beside so many others; placeholders of a session's size stand for most."""
    from redis.asyncio import Redis

    line = Line("Redis session, asked for", "state")
    redis = Redis.from_url(os.environ["SESSION_REDIS"])
    sessions = apps.redis_sessions()
    app = NegotiateMiddleware(bare, acceptor=nobody_logs_in(), sessions=sessions)
    await app._acceptor.acquire()
    await sessions.start()
    few = 2 * TIMES
    cookies: list[str] = []
    for size in sizes:
        begun = len(cookies)
        cookies += await sessions_of(sessions, min(size, few), set(range(few)), begun=begun)
        if size > few:
            populate: Any = redis.execute_command  # it has no types
            await populate("DEBUG", "POPULATE", str(size - few), f"other{size}", "600")
        line.points[size] = await asked(app, cookies, rounds, pause, repeat=False)
    await sessions.stop()
    await redis.aclose()
    return line


async def groups(sizes: Sequence[int], rounds: int) -> tuple[Line, Line]:
    """A log-in whose ticket has so many groups, and a later request of that user's by a session."""
    logins = Line("log-in that reads its groups", "config", why="each group is read")
    later = Line("request by a session of a user in so many groups", "config")
    for size in sizes:
        data = buffer(size, 0.0)

        class Pac(Groups):
            """PacGroups on a ticket of this size."""

            def __init__(self, data: bytes = data) -> None:
                self._data, self._groups = data, PacGroups(names={f"{DOMAIN}-2001": "HR"})

            async def start(self) -> None:
                await self._groups.start()

            async def stop(self) -> None:
                await self._groups.stop()

            async def of(self, identity: object, result: AcceptResult | None) -> frozenset[str]:
                def sids(domain_sid: str | None = None) -> frozenset[str]:
                    return vouched_groups(ACCOUNT, read_logon_info(self._data), at_home=True, domain_sid=domain_sid)

                ticket = AcceptResult(status=SecStatus.OK, context=None, identity=ALICE, group_sids=sids)
                return await self._groups.of(ALICE, ticket)

        acceptor = ScriptedAcceptor({OPENING: (ALICE, None)}, realms=frozenset({ALICE.realm}))
        await acceptor.acquire()
        app = NegotiateMiddleware(bare, acceptor=acceptor)
        app._groups = Pac()
        found = [await timed(app, [plain(token=OPENING) for _ in range(TIMES)]) for _ in range(rounds)]
        logins.points[size] = median(found)
        sessions = apps.redis_sessions()
        app = NegotiateMiddleware(bare, acceptor=acceptor, sessions=sessions)
        await sessions.start()
        session = sessions.session({"headers": []}, is_tls=False)
        who = user("alice@CORP.EXAMPLE", groups=frozenset(f"{DOMAIN}-{2000 + number}" for number in range(size)))
        await session.begin(who)
        cookie = (session.set_cookie() or b"").partition(b";")[0].decode()
        later.points[size] = await asked(app, [cookie], rounds, 0)
        await sessions.stop()
    return logins, later


async def exempt_paths(sizes: Sequence[int], rounds: int) -> tuple[Line, Line, Line]:
    """An exempt path, one below an exempt segment, and one that isn't exempt (a log-in), among so many patterns."""
    names = ("exempt, exact path", "exempt, whole segment", "not exempt: a log-in, scripted acceptor")
    found = tuple(Line(name, "config") for name in names)
    for size in sizes:
        patterns = [each for number in range(size) for each in (f"/path{number}", f"/folder{number}/*")]
        acceptor = ScriptedAcceptor({OPENING: (user("alice@EXAMPLE.COM"), None)})
        await acceptor.acquire()
        app = NegotiateMiddleware(bare, acceptor=acceptor, exempt=patterns)
        paths = (f"/path{size - 1}", f"/folder{size - 1}/app.css", "/neither/nor")
        for line, path in zip(found, paths, strict=True):
            scopes = [plain(path, token=OPENING) for _ in range(TIMES)]
            line.points[size] = median([await timed(app, scopes) for _ in range(2 * rounds)])
            acceptor.contexts.clear()
    return found  # type: ignore[return-value] # three of them


def accepts(keytab: Path, rcache: Path, host: str | None, tokens: Sequence[str]) -> float:
    """Microseconds of processor time for an accept of ours, or of the C library's, in a process of its own."""
    rcache.mkdir(exist_ok=True)
    decoded = [b64decode(token) for token in tokens]

    async def ours() -> float:
        async with Acceptor(keytab=keytab, rcache=rcache, hostname=host, offload="never") as acceptor:
            began = process_time()
            for token in decoded:
                await acceptor.accept(None, token)
            return process_time() - began

    def library() -> float:
        from gssapi import raw

        held = credential(keytab, rcache)
        began = process_time()
        for token in decoded:
            raw.accept_sec_context(token, held)
        return process_time() - began

    seconds = library() if host == "" else asyncio.run(ours())
    return seconds * 1e6 / len(tokens)


def keytab_keys(world: World, sizes: Sequence[int], rounds: int) -> tuple[Line, Line, Line]:
    """A log-in to the last of so many services in one keytab."""
    names = ("the C library's accept call alone, any host", "an accept, any host", "an accept, hostname= given")
    why = "the library searches the keytab"
    lines = tuple(Line(name, "config", why=why) for name in names)
    for size in sizes:
        services = [f"HTTP/www{number}.test.example" for number in range(size)]
        world.realm.add_service(*(each for each in services if each not in world.services))
        world.services.update(services)
        keytab, host = world.realm.keytab(*services), f"www{size - 1}.test.example"
        ccache = world.realm.kinit("alice")
        world.realm.token(f"HTTP/{host}", ccache)
        tokens = make_tokens(ccache, f"HTTP/{host}@{world.realm.name}", TIMES * rounds)
        for line, name, which in zip(lines, "abc", ("", None, host), strict=True):
            rcache = world.work / f"keys-{size}-{name}"
            parts = [tokens[start : start + TIMES] for start in range(0, len(tokens), TIMES)]
            line.points[size] = median(world.in_process(accepts, keytab, rcache, which, part) for part in parts)
    return lines  # type: ignore[return-value] # three of them


def connections(world: World, stack: ExitStack, sizes: Sequence[int]) -> tuple[Line, Line]:
    """A log-in, and the bare app, on servers with so many connections."""
    lines = (
        Line("bare app, by connections", "state", why="the server's and the kernel's own"),
        Line("log-in, by connections", "state"),
    )
    apps_of = ("bare:bare", "apps:ours")
    for line, app, how in zip(lines, apps_of, ("again", "once"), strict=True):
        recipe = Recipe(uvicorn(app, port := free_port()))
        server = stack.enter_context(world.serve(f"many-{app[:4]}", recipe, port))
        for size in sizes:
            world.forget_replays()
            file = world.lines(world.tokens(25_000))
            run = load(line.name, server, 1, world.cores.load, lines=file, how=how, connections=size)
            line.points[size] = run.cost
    return lines


@contextmanager
def pinned(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(most: int, rounds: int) -> list[Line]:
    """All lines."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found: list[Line] = []
    with ExitStack() as stack:
        world = World(stack)
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--enable-debug-command", "local"]
        stack.enter_context(serving(command, port, world.realm.environ(), world.work / "redis.log", world.cores.load))
        os.environ |= {"SESSION_KEY": secrets.token_urlsafe(32), "SESSION_REDIS": f"redis://127.0.0.1:{port}/0"}

        def say(what: str) -> None:
            print(f"growth: {what}", file=sys.stderr, flush=True)

        with pinned(world.cores.server):
            legs = Line("log-in in two legs, by half-open handshakes", "state")
            for size in decades(10, 100_000, most):
                legs.points[size] = asyncio.run(half_open(size, rounds))
            found.append(legs)
            say("half-open handshakes")
            found += asyncio.run(cookie_sessions(decades(10, 1_000_000, most), rounds))
            say("cookie sessions")
            found.append(asyncio.run(redis_sessions(decades(10, 1_000_000, most), rounds)))
            say("Redis sessions")
            found += asyncio.run(groups(decades(1, 1000, most), rounds))
            found += asyncio.run(exempt_paths(decades(1, 1000, most), rounds))
            say("groups, exempt paths")
        found += keytab_keys(world, decades(1, 100, most), rounds)
        say("keys of a keytab")
        file_limit = hard if hard != resource.RLIM_INFINITY else 1 << 20
        found += connections(world, stack, decades(10, 5000, min(most, file_limit // 2)))
        say("connections")
    return found


def outcome(found: Sequence[Line], workers: Mapping[str, float] | None = None) -> Outcome:
    """The table, two charts, and whether every line that should be is level."""
    sizes = sorted({size for line in found for size in line.points})
    rows = []
    for line in found:
        shape = "level" if line.exponent < LEVEL else f"size^{line.exponent:.2f}"
        costs = [f"{line.points[size]:,.1f}" if size in line.points else "" for size in sizes]
        rows.append([line.name, *costs, shape, line.why])
    parts = [table(["µs of processor time, at size", *(f"{size:,}" for size in sizes), "shape", ""], rows)]
    if workers is not None:
        parts.append(
            f"Workers, 1 and 2: {workers['one']:.1f} and {workers['two']:.1f} µs of processor time for a log-in."
        )
    titles = {
        "state": "Cost of a request by how much there is at once",
        "config": "Cost of a request by groups, exempt paths and keys",
    }
    charts = {
        f"performance-growth-{kind}.svg": line_chart(
            title,
            "µs of processor time",
            [(line.name, sorted(line.points.items())) for line in found if line.chart == kind],
        )
        for kind, title in titles.items()
    }
    uneven = [line.name for line in found if line.exponent >= LEVEL and not line.why]
    aim = Aim(
        "growth: nothing of ours worse than O(1) but what reads its own groups",
        "all level",
        ", ".join(uneven) or "all level",
        not uneven,
    )
    return Outcome("growth", "\n\n".join(parts), charts, [aim])


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--most", type=int, default=MOST, help="of anything (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    arguments = parser.parse_args()
    ready()
    try:
        print(outcome(measure(arguments.most, arguments.rounds)).text)
    except (BenchmarkError, RealmError) as error:
        sys.exit(f"benchmarks.growth: {error}")
    print(machine("uvicorn", "gssapi", "redis"))


if __name__ == "__main__":
    main()
