"""What the middleware itself costs, in process: no server, no socket, no Kerberos.

    .venv/bin/python -m benchmarks.in_process [--rounds N]

Law: the two sides of every difference take turns, each figure is a median of rounds, and the garbage collector rests
while the clock runs.
"""

import argparse
import gc
import random
import sys
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from benchmarks.apps import bare
from benchmarks.report import Figure, machine, table
from negotiate_mw import NegotiateMiddleware
from negotiate_mw.connection import STATE_KEY, Connection, Message, Scope
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


def each(app: ASGIApp, scope: Scope) -> float:
    """Microseconds of one request."""
    with no_collections():
        began = perf_counter()
        for _ in range(REQUESTS):
            finish(app(scope, receive, send))  # type: ignore[arg-type] # apps here are coroutine functions
        return (perf_counter() - began) * 1e6 / REQUESTS


def over_bare(app: ASGIApp, path: str, rounds: int) -> Figure:
    """Microseconds that ``app`` takes more than the bare app, for the same request."""
    scope = request(path)
    each(app, scope)
    return Figure.of([each(app, scope) - each(bare, scope) for _ in range(rounds)])


def requests(rounds: int) -> str:
    """The table of requests."""
    acceptor = ScriptedAcceptor({OPENING: (user("alice@EXAMPLE.COM"), b"ServerBlob1")})
    finish(acceptor.acquire())
    exempt = NegotiateMiddleware(bare, acceptor=acceptor, exempt=("/healthz", "/static/*"))
    cases = (
        ("exempt, exact path", exempt, "/healthz", "0.6"),
        ("exempt, whole segment", exempt, "/static/app.css", ""),
        ("log-in in one leg, scripted acceptor", NegotiateMiddleware(bare, acceptor=acceptor), "/", ""),
    )
    rows = []
    for text, app, path, most in cases:
        rows.append([text, f"{over_bare(app, path, rounds):.2f}", most])
        acceptor.contexts.clear()
    return table(["request", "µs over the bare app (quartiles)", "at most"], rows)


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
