"""What the middleware itself costs, in process: no server, no socket, no Kerberos.

    .venv/bin/python -m benchmarks.in_process [--rounds N]

Law: the two sides of every difference take turns, each figure is a median of rounds, and the garbage collector rests
while the clock runs.
"""

import argparse
import gc
import random
import secrets
import ssl
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import negotiate_mw  # and what is in it by name: instructions.py runs this with older packages as well
from benchmarks.apps import bare
from benchmarks.report import Aim, Figure, Outcome, machine, table
from benchmarks.servers import certificate
from negotiate_mw import NegotiateMiddleware
from negotiate_mw.connection import STATE_KEY, Connection, Message, Receive, Scope
from negotiate_mw.contexts import ContextStore
from negotiate_mw.handshake import Handshake, State
from negotiate_mw.respond import ASGIApp
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

REQUESTS = 20_000  # in one round, of each side
SIZES = (10, 100, 1_000, 10_000, 100_000)
OPERATIONS = 10_000  # in one round, at each size, of those that leave the store as it was
MAX_AGE = 30.0
OPENING = b"ClientBlob1"


def finish(coroutine: Coroutine[None, None, object]) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("it waits for something")


@contextmanager
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def request(path: str) -> Scope:
    """A request as uvicorn would give it, with a token for the scripted acceptor."""
    headers = [
        (b"host", b"www.test.example"),
        (b"user-agent", b"benchmark"),
        (b"accept", b"*/*"),
        (b"authorization", b"Negotiate " + b64encode(OPENING)),
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "state": {STATE_KEY: Connection(native=True)},
    }


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    pass


def each(app: ASGIApp, scope: Scope, receive: Receive = receive) -> float:
    """Microseconds of one request."""
    with no_collections():
        began = perf_counter()
        for _ in range(REQUESTS):
            finish(app(scope, receive, send))  # type: ignore[arg-type] # apps here are coroutine functions
        return (perf_counter() - began) * 1e6 / REQUESTS


def over_bare(app: ASGIApp, scope: Scope, rounds: int, receive: Receive = receive) -> Figure:
    """Microseconds that ``app`` takes more than the bare app, for the same request."""
    each(app, scope, receive)
    return Figure.of([each(app, scope, receive) - each(bare, scope, receive) for _ in range(rounds)])


class Cycle:
    """Stands in for uvicorn's object behind a request's ``receive``, on a TLS connection."""

    __module__ = "uvicorn.protocols.http.stand_in"  # by which uvicorn is known

    def __init__(self, context: ssl.SSLContext) -> None:
        self.flow, self.transport = object(), self
        self._extra = {"sslcontext": context, "peername": ("192.0.2.7", 50000)}

    def get_extra_info(self, name: str) -> object:
        return self._extra.get(name)

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}


def bound() -> tuple[NegotiateMiddleware, Scope, Receive]:
    """The middleware, and a request on a connection that proved its TLS channel when somebody logged in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        key, cert = certificate(Path(folder))
        context.load_cert_chain(cert, key)
    acceptor = ScriptedAcceptor({OPENING: (user("alice@EXAMPLE.COM", channel_bound=True), b"ServerBlob1")})
    finish(acceptor.acquire())
    app = NegotiateMiddleware(bare, acceptor=acceptor, connection_bound=True)
    scope, receive = {**request("/"), "scheme": "https"}, Cycle(context).receive
    finish(app(scope, receive, send))
    scope["headers"] = scope["headers"][:-1]
    check(app, scope, receive)
    return app, scope, receive


def remembered() -> tuple[NegotiateMiddleware, Scope, Receive]:
    """The middleware, and a request with the cookie of a session that is open here."""
    acceptor = ScriptedAcceptor({OPENING: (user("alice@EXAMPLE.COM"), b"ServerBlob1")})
    finish(acceptor.acquire())
    sessions = negotiate_mw.CookieSessions(keys=[secrets.token_urlsafe(32)])
    view = sessions.session({"headers": []}, is_tls=False)
    finish(view.begin(user("alice@EXAMPLE.COM")))
    app, scope = NegotiateMiddleware(bare, acceptor=acceptor, sessions=sessions), request("/")
    scope["headers"] = [*scope["headers"][:-1], (b"cookie", (view.set_cookie() or b"").partition(b";")[0])]
    check(app, scope, receive)
    return app, scope, receive


def check(app: NegotiateMiddleware, scope: Scope, receive: Receive) -> None:
    """Somebody is let in."""
    statuses = []

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 200))

    finish(app(scope, receive, send))
    if set(statuses) != {200}:
        raise RuntimeError(f"the answer is {statuses}")


def requests(rounds: int) -> str:
    """The table of requests."""
    return bars_in_process(rounds).text


def bars_in_process(rounds: int) -> Outcome:
    """The table of requests, and what it says of the aims."""
    acceptor = ScriptedAcceptor({OPENING: (user("alice@EXAMPLE.COM"), b"ServerBlob1")})
    finish(acceptor.acquire())
    exempt = NegotiateMiddleware(bare, acceptor=acceptor, exempt=("/healthz", "/static/*"))
    log_in = NegotiateMiddleware(bare, acceptor=acceptor)
    cases = (
        ("exempt, exact path", exempt, request("/healthz"), receive, 0.6),
        ("exempt, whole segment", exempt, request("/static/app.css"), receive, None),
        ("bound to its connection", *bound(), 2.0),
        ("cookie session in the cache", *remembered(), None),
        ("log-in in one leg, scripted acceptor", log_in, request("/"), receive, None),
    )
    rows, aims = [], []
    for text, app, scope, receiving, most in cases:
        cost = over_bare(app, scope, rounds, receiving)
        rows.append([text, f"{cost:.2f}", f"{most or ''}"])
        if most is not None:
            aims.append(
                Aim(f"in process, {text}: over the bare app", f"≤ {most} µs", f"{cost:.2f}", cost.median <= most)
            )
        acceptor.contexts.clear()
    return Outcome("inprocess", table(["request", "µs over the bare app (quartiles)", "at most"], rows), {}, aims)


def batch(size: int) -> int:
    return min(size, max(100, size // 10))


class Half:
    """A store with so many half-open handshakes, and connections to know them by."""

    def __init__(self, size: int) -> None:
        self.connections = [Connection(native=True) for _ in range(size)]
        self.handshake = Handshake(state=State.HALF_OPEN, context=object(), legs=1, begun=0.0)
        self.store = ContextStore(size, MAX_AGE, lambda _: None)
        self.put_back(self.connections)

    def put_back(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            self.store.put(connection, self.handshake, 0.0)

    def some(self) -> list[Connection]:
        """A tenth of them, or all of a few, in no order."""
        return random.sample(self.connections, batch(len(self.connections)))


def put(half: Half) -> float:
    some = half.some()
    for connection in some:
        half.store.take(connection, 0.0)
    began = perf_counter()
    for connection in some:
        half.store.put(connection, half.handshake, 0.0)
    return since(began, len(some))


def take(half: Half) -> float:
    some = half.some()
    began = perf_counter()
    for connection in some:
        half.store.take(connection, 0.0)
    spent = since(began, len(some))
    half.put_back(some)
    return spent


def close(half: Half) -> float:
    some = half.some()
    began = perf_counter()
    for connection in some:
        half.store.close(connection)
    spent = since(began, len(some))
    half.put_back(some)
    return spent


def evict(half: Half) -> float:
    """``put`` into a full store: the oldest makes room."""
    fresh = [Connection(native=True) for _ in half.some()]
    began = perf_counter()
    for connection in fresh:
        half.store.put(connection, half.handshake, 0.0)
    spent = since(began, len(fresh))
    half.store.clear()
    half.put_back(half.connections)
    return spent


def look(half: Half) -> float:
    """``expire`` where nothing is too old yet."""
    began = perf_counter()
    for _ in range(1000):
        half.store.expire(MAX_AGE)
    return since(began, 1000)


def expire(half: Half) -> float:
    """``expire`` where everything is too old, for each entry."""
    began = perf_counter()
    half.store.expire(MAX_AGE + 1)
    spent = since(began, len(half.connections))
    half.put_back(half.connections)
    return spent


def since(began: float, count: int) -> float:
    """Nanoseconds for each of ``count``."""
    return (perf_counter() - began) * 1e9 / count


def at_size(operation: Callable[[Half], float], size: int, rounds: int) -> Figure:
    half = Half(size)
    repeats = max(1, OPERATIONS // batch(size))
    with no_collections():
        return Figure.of([sum(operation(half) for _ in range(repeats)) / repeats for _ in range(rounds)])


def store(rounds: int) -> str:
    """The table of the context store."""
    operations = (
        ("put", put),
        ("put, full: evicts the oldest", evict),
        ("take", take),
        ("close", close),
        ("expire, nothing is too old", look),
        ("expire, each entry dropped", expire),
    )
    rows = []
    for text, operation in operations:
        few = rounds if operation not in (evict, expire) else max(3, rounds // 3)
        rows.append([text, *(f"{at_size(operation, size, few).median:,.0f}" for size in SIZES)])
    return table(["ns, with so many entries", *(f"{size:,}" for size in SIZES)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.in_process", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    arguments = parser.parse_args()
    print(requests(arguments.rounds), end="\n\n")
    sys.stdout.flush()
    print(store(arguments.rounds), end="\n\n")
    print(machine())


if __name__ == "__main__":
    main()
