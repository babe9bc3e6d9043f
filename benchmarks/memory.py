"""What memory the middleware takes, and that log-ins don't leave any behind.

    .venv/bin/python -m benchmarks.memory [--half-open N] [--scripted N] [--real N]

Law: resident memory as the kernel counts it, each case in a fresh process. What was measured is in the table: log-ins
against the scripted acceptor in process, and real Kerberos log-ins in process, both after a tenth of their number for
caches to fill.
"""

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path

from benchmarks.apps import bare
from benchmarks.in_process import OPENING, receive, request
from benchmarks.report import Aim, Outcome, machine, table
from benchmarks.servers import SPN, BenchmarkError, Recipe, Server, free_port, negotiate, uvicorn
from benchmarks.throughput import World, ready
from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.connection import STATE_KEY, Connection, Message
from negotiate_mw.policy import Limits
from negotiate_mw.testing import RealmError
from negotiate_mw.testing.scripted import ScriptedAcceptor, user
from negotiate_mw.wire import der, spnego

HALF_OPEN, SCRIPTED, REAL = 10_000, 1_000_000, 100_000
CHUNK = 10_000  # tokens at once: they are good for minutes
AIM_DEFAULT, AIM_HALF_OPEN, AIM_GROWTH = 15.0, 25.0, 1.0  # MiB
LOGINS = 200  # before a server's memory is looked at


def mebibytes(process: int | str = "self") -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def opening_with_kerberos_second() -> bytes:
    """A first token that ranks NTLM before Kerberos: the acceptor asks for more, and waits (RFC 4178 4.2.2)."""
    oids = (der.encode(der.OID, der.encode_oid(oid)) for oid in (spnego.NTLM, spnego.KRB5))
    mechanisms = der.encode(0xA0, der.encode(der.SEQUENCE, *oids))
    init = der.encode(0xA0, der.encode(der.SEQUENCE, mechanisms))
    return der.encode(0x60, der.encode(der.OID, der.encode_oid(spnego.SPNEGO)), init)


async def scripted(count: int) -> float:
    """MiB that so many log-ins leave behind."""
    acceptor = ScriptedAcceptor({OPENING: (user("alice@EXAMPLE.COM"), b"ServerBlob1")})
    await acceptor.acquire()
    app = NegotiateMiddleware(bare, acceptor=acceptor)
    statuses: set[int] = set()

    async def send(message: Message) -> None:
        statuses.add(message.get("status", 200))

    async def some(count: int) -> None:
        for number in range(count):
            scope = request("/")
            scope["state"] = {STATE_KEY: Connection(native=True)}
            await app(scope, receive, send)
            if number % 1000 == 0:
                acceptor.contexts.clear()  # what the script keeps, to be looked at by tests

    await some(count // 10)
    return await grown(some(count), statuses)


async def real(count: int, folder: Path) -> float:
    """MiB that so many Kerberos log-ins leave behind, whose tokens come line by line on standard input."""
    statuses: set[int] = set()
    async with Acceptor(keytab=folder / "keytab", rcache=folder / "rcache", offload="never") as acceptor:
        app = NegotiateMiddleware(bare, acceptor=acceptor)

        async def send(message: Message) -> None:
            statuses.add(message.get("status", 200))

        async def some(count: int) -> None:
            for _ in range(count):
                scope = request("/")
                scope["headers"][-1] = (b"authorization", b"Negotiate " + sys.stdin.buffer.readline().strip())
                scope["state"] = {STATE_KEY: Connection(native=True)}
                await app(scope, receive, send)

        await some(count // 10)
        return await grown(some(count), statuses)


async def half_open(count: int, folder: Path) -> float:
    """MiB that so many handshakes take that wait for their next leg."""
    statuses: set[int] = set()
    limits = Limits(half_open=count)
    async with Acceptor(keytab=folder / "keytab", rcache=folder / "rcache", offload="never", limits=limits) as acceptor:
        app = NegotiateMiddleware(bare, acceptor=acceptor)
        connections = [Connection(native=True) for _ in range(count + 10)]
        token = b"Negotiate " + b64encode(opening_with_kerberos_second())

        async def send(message: Message) -> None:
            statuses.add(message.get("status", 401))

        async def some(connections: list[Connection]) -> None:
            for connection in connections:
                scope = request("/")
                scope["headers"][-1] = (b"authorization", token)
                scope["state"] = {STATE_KEY: connection}
                await app(scope, receive, send)

        await some(connections[:10])
        taken = await grown(some(connections[10:]), statuses, expected={401})
        if len(app._store) != count:
            raise BenchmarkError(f"{len(app._store)} handshakes are half-open, not {count}")
        return taken


async def grown(work: object, statuses: set[int], expected: frozenset[int] | set[int] = frozenset({200})) -> float:
    """MiB more after the work than before."""
    gc.collect()
    before = mebibytes()
    await work  # type: ignore[misc]
    gc.collect()
    if statuses != expected:
        raise BenchmarkError(f"the answers were {statuses}")
    return mebibytes() - before


def child(case: str, count: int, folder: Path, stdin: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.memory", "--child", case, str(count), str(folder)]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> float:
    said, _ = process.communicate()
    if process.returncode != 0:
        raise BenchmarkError("a process whose memory was measured failed; see above")
    return float(said)


def of_default(world: World) -> float:
    """MiB of the server with the middleware and all defaults over the bare app's, both after as many log-ins."""
    sizes = []
    for app in ("bare:bare", "apps:ours"):
        port = free_port()
        with world.serve(f"memory-{app[:4]}", Recipe(uvicorn(app, port)), port) as server:
            for token in world.tokens(LOGINS):
                server.get(negotiate(token))
            sizes.append(resident(server))
    return sizes[1] - sizes[0]


def resident(server: Server) -> float:
    return sum(mebibytes(process) for process, _ in server.processes())


def measure(half: int, logins: int, reals: int) -> Outcome:
    with ExitStack() as stack:
        world = World(stack)
        default = of_default(world)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="negotiate-mw-memory-")))
        (folder / "rcache").mkdir()
        world.realm.keytab(SPN, path=folder / "keytab")
        waiting = result(child("half-open", half, folder))
        in_process = child("scripted", logins, folder)
        process = child("real", reals, folder, subprocess.PIPE)
        assert process.stdin is not None
        left = reals + reals // 10
        while left > 0:
            process.stdin.writelines(f"{token}\n" for token in world.tokens(min(CHUNK, left)))
            process.stdin.flush()
            left -= CHUNK
        taken, grown_by = result(process), result(in_process)
    cases = (
        ("the middleware with its defaults, over the bare app, after 200 log-ins", default, AIM_DEFAULT),
        (f"{half:,} half-open handshakes", waiting, AIM_HALF_OPEN),
        (f"growth over {logins:,} log-ins in process, scripted acceptor", grown_by, AIM_GROWTH),
        (f"growth over {reals:,} log-ins in process, real Kerberos tickets", taken, AIM_GROWTH),
    )
    print("memory: done", file=sys.stderr, flush=True)
    rows = [[what, f"{size:.2f}", f"{most:.0f}"] for what, size, most in cases]
    aims = [Aim(f"memory: {what}", f"≤ {most:.0f} MiB", f"{size:.2f} MiB", size <= most) for what, size, most in cases]
    return Outcome("memory", table(["resident memory", "MiB", "at most"], rows), {}, aims)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--half-open", type=int, default=HALF_OPEN, help="(default: %(default)s)")
    parser.add_argument("--scripted", type=int, default=SCRIPTED, help="(default: %(default)s)")
    parser.add_argument("--real", type=int, default=REAL, help="(default: %(default)s)")
    parser.add_argument("--child", nargs=3, metavar=("CASE", "COUNT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        case, count, folder = arguments.child
        asks = {"scripted": lambda: scripted(int(count)), "real": lambda: real(int(count), Path(folder))}
        asks["half-open"] = lambda: half_open(int(count), Path(folder))
        print(asyncio.run(asks[case]()))
        return
    ready()
    try:
        print(measure(arguments.half_open, arguments.scripted, arguments.real).text)
    except (BenchmarkError, RealmError) as error:
        sys.exit(f"benchmarks.memory: {error}")
    print(machine("uvicorn", "gssapi"))


if __name__ == "__main__":
    main()
