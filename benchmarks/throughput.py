"""Log-ins per second on one core, a fresh ticket for each request: the middleware beside other acceptors.

    .venv/bin/python -m benchmarks.throughput [--rounds N] [--seconds S]

Law: server and load have a core each; the rows take turns, round after round, so that what else the machine does
hits all of them; each answer has to be 200 and name the right user. Whatever it starts it ends, and its files are
temporary.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from types import FrameType
from typing import TypeVar

from benchmarks import servers
from benchmarks.apps import BODY
from benchmarks.chart import bars
from benchmarks.kerberos import accept_all, make_tokens
from benchmarks.report import Aim, Figure, Outcome, machine, quiet_rounds, table
from benchmarks.servers import (
    SPN,
    BenchmarkError,
    Cores,
    Recipe,
    Run,
    Server,
    free_port,
    gunicorn,
    load,
    negotiate,
    serving,
    uvicorn,
    web_server,
    work_quietly,
)
from negotiate_mw.testing import KerberosRealm, RealmError

T = TypeVar("T")

CALIBRATION_TOKENS = 3000
SPARE_TOKENS = 1.15  # a server on one core can't log in faster than the bare accept call; times this, none runs dry

ROWS = {
    "bare": "bare app, no authentication",
    "ours": "negotiate-mw, uvicorn with uvloop",
    "ours_asyncio": "negotiate-mw, uvicorn with asyncio",
    "apache": "Apache, mod_auth_gssapi",
    "lighttpd": "lighttpd, mod_authn_gssapi",
    "asgi_gssapi": "asgi-gssapi, uvicorn with uvloop",
    "fastapi_spnego": "fastapi-spnego, uvicorn with uvloop",
    "flask_gssapi": "flask-gssapi, gunicorn with threads",
    "raw": "the accept call alone, in a loop",
    "raw_kept": "… with the last context kept, as ours does",
}
OURS = ("ours", "ours_asyncio")
# what decides whether a round was quiet: these keep their core busy on their own, whatever they are
STEADY = ("ours", "apache", "asgi_gssapi", "raw")
AIMS = {"apache": 1.4, "asgi_gssapi": 1.7, "fastapi_spnego": 2.7}
AIM_OF_LIMIT = 0.6


class World:
    """A realm with alice, bob and our service, who makes tokens by the thousand, and where files go."""

    def __init__(self, stack: ExitStack) -> None:
        self.cores = Cores.of_this_machine()
        self.realm = stack.enter_context(KerberosRealm())
        for user in ("alice", "bob"):
            self.realm.add_user(user)
        self.realm.add_service(SPN)
        self.services = {SPN}
        self.keytab = self.realm.keytab(SPN)
        self._ccache, self._bobs = self.realm.kinit("alice"), self.realm.kinit("bob")
        for ccache in (self._ccache, self._bobs):
            self.realm.token(SPN, ccache)  # puts the service's ticket into the cache
        self.work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="negotiate-mw-bench-")))
        self.work.chmod(0o711)  # other servers' users have to get through
        both = sorted({self.cores.server, self.cores.load})
        self._shares = len(both)
        self._makers = stack.enter_context(
            ProcessPoolExecutor(self._shares, initializer=work_quietly, initargs=tuple(both))
        )
        self._looper = stack.enter_context(
            ProcessPoolExecutor(1, initializer=work_quietly, initargs=(self.cores.server,))
        )

    def tokens(self, count: int, *, bindings: bytes | None = None) -> list[str]:
        """Alice's first tokens, each good once."""
        service, share = f"{SPN}@{self.realm.name}", -(-count // self._shares)
        parts = [self._makers.submit(make_tokens, self._ccache, service, share, bindings) for _ in range(self._shares)]
        return [token for part in parts for token in part.result()]

    def bobs(self, count: int) -> list[str]:
        return make_tokens(self._bobs, f"{SPN}@{self.realm.name}", count)

    def accept_loop(self, tokens: list[str], row: str = "raw") -> Run:
        """The C library's call, in a process of its own on the server's core."""
        rcache = self.work / row / "rcache"
        rcache.mkdir(parents=True, exist_ok=True)
        wall, cpu = self.in_process(accept_all, self.keytab, rcache, tokens, row == "raw_kept")
        return Run(rate=len(tokens) / wall, cost=cpu * 1e6 / len(tokens), busy=cpu / wall)

    def in_process(self, call: Callable[..., T], *arguments: object) -> T:
        """What ``call`` returns, in a process of its own on the server's core."""
        return self._looper.submit(call, *arguments).result()

    def lines(self, tokens: Sequence[str], name: str = "tokens") -> Path:
        """A file for wrk."""
        file = self.work / name
        file.write_text("".join(f"Negotiate {token}\n" for token in tokens))
        return file

    def forget_replays(self) -> None:
        for replays in self.work.glob("*/rcache/*"):
            replays.unlink()  # they grow, and an accept takes longer by up to a fifth: let all rounds be alike

    @contextmanager
    def serve(self, row: str, recipe: Recipe, port: int, *cores: int) -> Iterator[Server]:
        rcache = self.work / row / "rcache"
        rcache.mkdir(parents=True, exist_ok=True)
        ours = {"KRB5_KTNAME": str(self.keytab), "KRB5RCACHEDIR": str(rcache)}
        env = {**self.realm.environ(), **ours, **recipe.env}
        log = self.work / f"{row}.log"
        with serving(recipe.command, port, env, log, *(cores or (self.cores.server,)), tls=recipe.tls) as server:
            yield server


def recipes(world: World, peers: Path | None) -> Iterator[tuple[str, Recipe, int]]:
    """How each row's server is started, where its part is installed."""
    python = None if peers is None else str(peers / "bin" / "python")
    for row in ROWS:
        port = free_port()
        match row:
            case "bare":
                yield row, Recipe(uvicorn("bare:named", port)), port
            case "ours":
                yield row, Recipe(uvicorn("apps:ours", port)), port
            case "ours_asyncio":
                yield row, Recipe(uvicorn("apps:ours", port, loop="asyncio")), port
            case "apache":
                yield row, web_server("apache2", "apache.conf", world.work / row, port, world.realm, world.keytab), port
            case "lighttpd" if shutil.which("lighttpd"):
                conf = ("lighttpd", "lighttpd.conf")
                yield row, web_server(*conf, world.work / row, port, world.realm, world.keytab), port
            case "asgi_gssapi" | "fastapi_spnego" if python:
                yield row, Recipe(uvicorn(f"peer_apps:{row}()", port, python=python)), port
            case "flask_gssapi" if python:
                yield row, Recipe(gunicorn(f"peer_apps:{row}()", port, python)), port


def check(row: str, server: Server, tokens: Iterator[str], bob: str) -> None:
    """The row is what it says: it wants a ticket, tells users apart, and takes no ticket twice."""
    token = next(tokens)
    status, headers, body = server.get(negotiate(token))
    if status != 200 or body != BODY:
        raise BenchmarkError(f"{ROWS[row]} answers {status} to a ticket: {body!r}")
    if row == "bare":
        return
    proof = headers["WWW-Authenticate"] or ""
    if row != "lighttpd" and (not proof.startswith("Negotiate ") or not b64decode(proof.partition(" ")[2])):
        raise BenchmarkError(f"{ROWS[row]} sends no last token")  # lighttpd never does
    for case, sent in (
        ("no ticket", {}),
        ("a ticket for the second time", negotiate(token)),
        ("bob's", negotiate(bob)),
    ):
        status, _, body = server.get(sent)
        if status == 200 and body == BODY:
            raise BenchmarkError(f"{ROWS[row]} lets alice in by {case}")


def measure(
    rounds: int, seconds: int, peers: Path | None, *, lives: int = 1, warm_up: bool = True
) -> dict[str, list[Run]]:
    """All rows in so many rounds, in each of so many lives of the servers, after one that doesn't count.

    Where a process comes to lie in memory makes it faster or slower for as long as it lives, by up to a tenth.
    """
    with ExitStack() as stack:
        world = World(stack)
        made = list(recipes(world, peers))
        supply = int(world.accept_loop(world.tokens(CALIBRATION_TOKENS)).rate * seconds * SPARE_TOKENS) + 100
        runs: dict[str, list[Run]] = {row: [] for row in ROWS}
        for life in range(lives):
            with ExitStack() as servers:
                alive = {row: servers.enter_context(world.serve(row, recipe, port)) for row, recipe, port in made}
                for row, server in alive.items():
                    check(row, server, iter(world.tokens(2)), world.bobs(1)[0])
                turns = turns_of(world, alive, seconds, supply)
                for turn in range(0 if warm_up else 1, rounds + 1):
                    one_round(world, turns, turn, supply, runs)
                    said = "" if turn else " (warming up)"
                    print(f"log-ins: round {turn} of {rounds}, life {life + 1} of {lives}{said}", file=sys.stderr)
                    sys.stderr.flush()
    return {row: found for row, found in runs.items() if found}


def turns_of(
    world: World, alive: Mapping[str, Server], seconds: int, supply: int
) -> dict[str, Callable[[list[str], Path], Run]]:
    """What to call for one turn of each row."""
    turns: dict[str, Callable[[list[str], Path], Run]] = {
        row: lambda _, file, row=row, server=server: load(  # type: ignore[misc]
            ROWS[row], server, seconds, world.cores.load, lines=file, how="again" if row == "bare" else "once"
        )
        for row, server in alive.items()
    }
    for row in ("raw", "raw_kept"):
        turns[row] = lambda tokens, _, row=row: world.accept_loop(tokens[: max(3000, supply // 3)], row)  # type: ignore[misc]
    return {row: turns[row] for row in ROWS if row in turns}


def one_round(
    world: World,
    turns: Mapping[str, Callable[[list[str], Path], Run]],
    turn: int,
    supply: int,
    runs: dict[str, list[Run]],
) -> None:
    """A turn of each row, in another order each time; the first round doesn't count."""
    fresh = world.tokens(supply)  # the same to every row, each of which has a replay cache of its own
    file = world.lines(fresh)
    world.forget_replays()
    order = list(turns)
    start = turn % len(order)
    for row in order[start:] + order[:start]:
        run = turns[row](fresh, file)
        if turn:
            runs[row].append(run)


def outcome(runs: Mapping[str, Sequence[Run]]) -> Outcome:
    """The table, its chart, and what they say of the aims."""
    chosen, quiet = quiet_rounds(runs, [row for row in STEADY if row in runs])

    def ratio(row: str, to: str) -> Figure:
        return Figure.of([a.rate / b.rate for a, b in zip(chosen[row], chosen[to], strict=True)])

    lines = []
    for row in chosen:
        rate = Figure.of([run.rate for run in chosen[row]])
        cost = Figure.of([run.cost for run in chosen[row]])
        than = "" if row in ("bare", "raw", "raw_kept", "ours") else f"{ratio('ours', row):.2f}"
        busy = median(run.busy for run in chosen[row])
        lines.append([ROWS[row], f"{rate:,.0f}", f"{cost.median:.1f}", f"{busy:.0%}", than])
    head = [
        "one core",
        "log-ins a second (quartiles)",
        "CPU µs each",
        "of the core",
        "ours is so many times as fast (quartiles)",
    ]
    limit = Figure.of(
        [
            (bare.cost + raw.cost) / ours.cost  # not by rates: the load can be too slow for the bare app
            for ours, bare, raw in zip(chosen["ours"], chosen["bare"], chosen["raw"], strict=True)
        ]
    )
    costs = {row: median(run.cost for run in chosen[row]) for row in ("bare", "raw", "raw_kept", "ours")}
    text = (
        f"The limit is one bare request and one accept call: {costs['bare']:.1f} + {costs['raw']:.1f} µs of processor "
        f"time. Ours reaches {limit:.0%} of it. With the last context kept, the call takes {costs['raw_kept']:.1f} µs, "
        f"and ours reaches {(costs['bare'] + costs['raw_kept']) / costs['ours']:.0%} of that limit."
    )
    aims = [
        Aim(f"log-ins, times {_of(row)}", f"≥ {least}", f"{(got := ratio('ours', row)):.2f}", got.median >= least)
        for row, least in AIMS.items()
        if row in chosen
    ]
    aims.append(Aim("log-ins, of the limit", f"≥ {AIM_OF_LIMIT:.0%}", f"{limit:.0%}", limit.median >= AIM_OF_LIMIT))
    apart = [row for row in chosen if row not in ("bare", "raw", "raw_kept")]
    apart.sort(key=lambda row: -Figure.of([run.rate for run in chosen[row]]).median)
    chart = bars(
        "Kerberos log-ins a second, one core, a fresh ticket for each request",
        [(ROWS[row], Figure.of([run.rate for run in chosen[row]]), row in OURS) for row in apart],
    )
    return Outcome(
        "logins",
        f"{table(head, lines)}\n\n{text}\n\n{quiet.sentence}",
        {"performance-logins.svg": chart},
        aims,
        quiet,
        {"peak": Figure.of([run.rate for run in chosen["ours"]]).median},
    )


def _of(row: str) -> str:
    return ROWS[row].partition(",")[0]


def versions(peers: Path | None) -> str:
    """Of everything in the table."""
    said = [machine("uvicorn", "uvloop", "httptools", "gssapi")]
    for command, pattern in (("apache2 -v", r"Apache/\S+"), ("lighttpd -v", r"lighttpd/\S+")):
        if shutil.which(command.split()[0]):
            done = subprocess.run(command.split(), capture_output=True, text=True)
            said += re.findall(pattern, done.stdout)[:1]
    for package in ("libapache2-mod-auth-gssapi", "libgssapi-krb5-2"):
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Package} ${Version}", package], capture_output=True, text=True
        )
        said += [done.stdout] if done.returncode == 0 else []
    if peers is not None:
        pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (servers.HERE / "peers.txt").read_text(), re.MULTILINE))
        said += [f"{name} {pins[name]}" for name in ("ASGI-GSSAPI", "fastapi-spnego", "Flask-GSSAPI", "gunicorn")]
    return ", ".join(said)


def ready() -> None:
    """Say what is missing before anything begins."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [name for name in ("wrk", "apache2") if not shutil.which(name)]
    if missing or not (servers.MODULES / "modules/mod_auth_gssapi.so").exists():
        sys.exit("bench: wrk, Apache or its mod_auth_gssapi is missing; scripts/bench installs them")
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)


def end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.throughput", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="that count, of each life (default: %(default)s)")
    parser.add_argument("--lives", type=int, default=3, help="of the servers (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=1, help="of load, each row and round (default: %(default)s)")
    parser.add_argument("--peers", type=Path, help="the virtual environment of peers.txt; without it, without them")
    arguments = parser.parse_args()
    ready()
    try:
        found = outcome(measure(arguments.rounds, arguments.seconds, arguments.peers, lives=arguments.lives))
    except (BenchmarkError, RealmError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(found.text)
    print(versions(arguments.peers))


if __name__ == "__main__":
    main()
