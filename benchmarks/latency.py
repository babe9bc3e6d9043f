"""How long a log-in takes at half of the peak, how long one holds up the event loop, and what a second worker adds.

    .venv/bin/python -m benchmarks.latency [--rounds N] [--seconds S]

Law: each round measures its own peaks, so that half of it is half of what the machine gives at that moment.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.report import Aim, Figure, Outcome, machine, percentile, quiet_rounds, table
from benchmarks.servers import (
    CONNECTIONS,
    BenchmarkError,
    Cores,
    Recipe,
    Run,
    Server,
    free_port,
    load,
    pin,
    uvicorn,
    web_server,
)
from benchmarks.throughput import SPARE_TOKENS, World, ready
from negotiate_mw import Acceptor
from negotiate_mw.testing import RealmError

ROWS = {"ours": "negotiate-mw, uvicorn with uvloop", "apache": "Apache, mod_auth_gssapi"}
ARRIVALS = {"even": "evenly apart", "random": "at random (Poisson)"}
STALL_TOKENS = 20_000
AIM_SPREAD = 3.0
AIM_STALL = 1000.0  # microseconds
AIM_WORKERS = 1.8


@dataclass(frozen=True, slots=True)
class Found:
    """All rounds."""

    peaks: dict[str, list[Run]] = field(default_factory=lambda: {row: [] for row in (*ROWS, "one", "two")})
    took: dict[tuple[str, str], list[list[float]]] = field(
        default_factory=lambda: {(row, arrivals): [] for row in ROWS for arrivals in ARRIVALS}
    )
    stalls: list[float] = field(default_factory=list)


def stalls(keytab: Path, rcache: Path, tokens: Sequence[str]) -> list[float]:
    """Microseconds that the event loop does nothing else, for each inline accept."""
    decoded = [b64decode(token) for token in tokens]
    took = []

    async def main() -> None:
        async with Acceptor(keytab=keytab, rcache=rcache, offload="never") as acceptor:
            for token in decoded:
                began = perf_counter()
                await acceptor.accept(None, token)  # inline: it gives the loop nothing until it has ended
                took.append((perf_counter() - began) * 1e6)

    gc.collect()
    asyncio.run(main())
    return took


def paced(server: Server, tokens: Path, rate: float, seconds: int, arrivals: str, core: int) -> list[float]:
    """Sorted microseconds of one turn."""
    arguments = [str(server.port), str(tokens), f"{rate:.1f}", str(seconds), arrivals, str(CONNECTIONS)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.paced", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        preexec_fn=partial(pin, core),
    )
    if done.returncode != 0:
        raise BenchmarkError(f"the paced load failed: {done.stderr}")
    found: list[float] = json.loads(done.stdout)
    return found


def measure(rounds: int, seconds: int, stall_tokens: int = STALL_TOKENS) -> Found:
    found = Found()
    with ExitStack() as stack:
        world = World(stack)
        supply = int(world.accept_loop(world.tokens(3000)).rate * SPARE_TOKENS) + 100
        with ExitStack() as servers:
            latencies(world, servers, found, rounds, seconds, supply)
        with ExitStack() as servers:
            workers(world, servers, found, rounds, supply)
        for each in found.peaks.values():
            del each[0]
        rcache = world.work / "stalls" / "rcache"
        rcache.mkdir(parents=True)
        for _ in range(-(-stall_tokens // 10_000)):
            tokens_now = world.tokens(min(10_000, stall_tokens))
            found.stalls.extend(world.in_process(stalls, world.keytab, rcache, tokens_now))
    return found


def latencies(world: World, servers: ExitStack, found: Found, rounds: int, seconds: int, supply: int) -> None:
    """Half of the peak, with no other server alive than the two that are compared: idle ones look up now and then."""
    core, port, at = world.cores.load, free_port(), free_port()
    conf = ("apache2", "apache.conf", world.work / "apache", port, world.realm, world.keytab)
    alive = {
        "apache": servers.enter_context(world.serve("apache", web_server(*conf), port)),
        "ours": servers.enter_context(world.serve("ours", Recipe(uvicorn("apps:ours", at)), at)),
    }
    for turn in range(rounds + 1):
        world.forget_replays()
        for row in ROWS if turn % 2 else reversed(ROWS):
            run = load(ROWS[row], alive[row], 1, core, lines=world.lines(world.tokens(supply)), how="once")
            found.peaks[row].append(run)
            rate = run.rate / 2
            for arrivals in ARRIVALS if turn else ():
                tokens = world.lines(world.tokens(int(rate * seconds) + 1))
                found.took[row, arrivals].append(paced(alive[row], tokens, rate, seconds, arrivals, core))
        said = "" if turn else " (warming up)"
        print(f"latency: round {turn} of {rounds}{said}", file=sys.stderr, flush=True)


def workers(world: World, servers: ExitStack, found: Found, rounds: int, supply: int) -> None:
    """The peaks of one worker and of two."""
    alive = {}
    for row, count in (("one", 0), ("two", 2)):
        recipe = Recipe(uvicorn("apps:ours", port := free_port(), *(["--workers", str(count)] if count else [])))
        cores = (world.cores.server, world.cores.second) if count else (world.cores.server,)
        alive[row] = servers.enter_context(world.serve(row, recipe, port, *cores))
    for turn in range(rounds + 1):
        world.forget_replays()
        tokens = world.lines(world.tokens(3 * supply // 2))
        for row in ("one", "two") if turn % 2 else ("two", "one"):
            how = {"lines": tokens, "how": "once", "connections": 2 * CONNECTIONS}
            found.peaks[row].append(load(f"{row} worker", alive[row], 1, world.cores.load, **how))  # type: ignore[arg-type]
        said = "" if turn else " (warming up)"
        print(f"workers: round {turn} of {rounds}{said}", file=sys.stderr, flush=True)


def outcome(found: Found) -> Outcome:
    """Three tables and what they say of the aims."""
    _, quiet = quiet_rounds(found.peaks, ("ours", "apache", "one"))
    lines, aims = [], []
    for (row, arrivals), turns in found.took.items():
        p50, p99, p999 = (Figure.of([percentile(turn, share) for turn in turns]) for share in (0.5, 0.99, 0.999))
        spread = Figure.of([percentile(turn, 0.99) / percentile(turn, 0.5) for turn in turns])
        rate = median(run.rate for run in found.peaks[row]) / 2
        figures = [f"{rate:,.0f}", f"{p50:,.0f}", f"{p99:,.0f}", f"{p999.median:,.0f}", f"{spread.median:.1f}"]
        lines.append([f"{ROWS[row]}, requests {ARRIVALS[arrivals]}", *figures])
        if row == "ours" and arrivals == "even":
            got = spread.median
            aims.append(
                Aim(
                    "p99 latency at half of the peak, times p50", f"≤ {AIM_SPREAD:.0f}", f"{got:.1f}", got <= AIM_SPREAD
                )
            )
    head = [
        "a log-in at half of the peak",
        "a second",
        "p50 µs (quartiles)",
        "p99 µs (quartiles)",
        "p99.9 µs",
        "p99 / p50",
    ]
    parts = [table(head, lines)]

    half, most, nearly = (percentile(found.stalls, share) for share in (0.5, 0.99, 0.999))
    aims.append(Aim("event loop held up by an accept, p99.9", "≤ 1 ms", f"{nearly / 1000:.2f} ms", nearly <= AIM_STALL))
    figures = [f"{each:,.0f}" for each in (half, most, nearly, max(found.stalls))]
    parts.append(table(["an accept on the event loop", "p50 µs", "p99 µs", "p99.9 µs", "longest µs"],
                       [[f"{len(found.stalls):,} log-ins", *figures]]))  # fmt: skip

    one, two = found.peaks["one"], found.peaks["two"]
    by_rate = Figure.of([b.rate / a.rate for a, b in zip(one, two, strict=True)])
    by_cost = Figure.of([2 * a.cost / b.cost for a, b in zip(one, two, strict=True)])
    rows = [
        [
            f"{name}",
            f"{Figure.of([r.rate for r in runs]):,.0f}",
            f"{median(r.cost for r in runs):.1f}",
            f"{median(r.busy for r in runs):.2f}",
        ]
        for name, runs in (("one worker", one), ("two workers", two))
    ]
    parts.append(table(["workers", "log-ins a second (quartiles)", "CPU µs each", "cores that they got"], rows))
    text = f"Two workers do {by_rate:.2f} times as much as one."
    shared = (cores := Cores.of_this_machine()).second == cores.load
    if shared:
        text += (
            f" On this machine the load shares the second worker's core; by what a log-in costs each core, two do"
            f" {by_cost:.2f} times as much."
        )
    parts.append(text)
    got_workers = by_cost if shared else by_rate
    what = "two workers, times one" + (" (by processor time: two cores alone)" if shared else "")
    aims.append(Aim(what, f"≥ {AIM_WORKERS}", f"{got_workers:.2f}", got_workers.median >= AIM_WORKERS))
    costs = {row: median(run.cost for run in found.peaks[row]) for row in ("one", "two")}
    return Outcome("latency", "\n\n".join([*parts, f"{quiet.said}; all are shown."]), {}, aims, quiet, costs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.latency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="of load, each row and round (default: %(default)s)")
    arguments = parser.parse_args()
    ready()
    try:
        print(outcome(measure(arguments.rounds, arguments.seconds)).text)
    except (BenchmarkError, RealmError) as error:
        sys.exit(f"benchmarks.latency: {error}")
    print(machine("uvicorn", "uvloop", "httptools", "gssapi"))


if __name__ == "__main__":
    main()
