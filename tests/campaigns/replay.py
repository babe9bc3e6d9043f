"""Each token many times at once, by threads and by processes: exactly one of them is let in.

Law: all meet at a barrier before each token, so that they really come at the same time.
"""

import asyncio
import multiprocessing
import tempfile
from base64 import b64decode, b64encode
from collections import Counter
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from negotiate_mw import Acceptor, Limits
from negotiate_mw.errors import AcceptError

from .child import USER
from .report import Report
from .tickets import Tickets

THREADS = 16
PROCESSES = 8
BARRIER_SECONDS = 120


async def _accept_all(tokens: list[bytes], rcache: Path, barrier: Barrier, threads: int) -> list[Counter[str]]:
    """What came of each token: in ``threads`` threads at once, or where they are 0 on the loop."""

    async def accept(token: bytes) -> str:
        try:
            result = await acceptor.accept(None, token)
        except AcceptError as error:
            return error.reason
        return result.identity.principal if result.identity else "half-open"

    outcomes = []
    limits = Limits(threads=threads or 1)
    async with Acceptor(rcache=rcache, offload="always" if threads else "never", limits=limits) as acceptor:
        for token in tokens:
            barrier.wait(BARRIER_SECONDS)
            outcomes.append(Counter(await asyncio.gather(*(accept(token) for _ in range(threads or 1)))))
    return outcomes


def _process(
    tokens: list[str], rcache: Path, barrier: Barrier, threads: int, results: "Queue[list[Counter[str]]]"
) -> None:
    results.put(asyncio.run(_accept_all([b64decode(token) for token in tokens], rcache, barrier, threads)))


def run(count: int, seed: int) -> Report:
    """``count`` tokens, each offered by 16 threads of one process and by 8 processes."""
    tickets = Tickets()
    processes = multiprocessing.get_context("spawn")
    barrier, results = processes.Barrier(PROCESSES + 1), processes.Queue()
    with tempfile.TemporaryDirectory() as rcache:
        tokens = [b64encode((tickets.spnego, tickets.kerberos)[(n + seed) % 2]()).decode() for n in range(count)]
        threads = [THREADS, *[0] * PROCESSES]
        at_once = [
            processes.Process(target=_process, args=(tokens, Path(rcache), barrier, number, results), daemon=True)
            for number in threads
        ]
        for process in at_once:
            process.start()
        outcomes = [results.get(timeout=BARRIER_SECONDS + count) for _ in at_once]
        for process in at_once:
            process.join()
    nothing: Counter[str] = Counter()
    of_each = [sum(token, nothing) for token in zip(*outcomes, strict=True)]
    total = sum(of_each, nothing)
    by_processes = sum((outcome[USER] for one in outcomes if one[0].total() == 1 for outcome in one), 0)
    held = sum(token == {USER: 1, "replay": THREADS + PROCESSES - 1} for token in of_each)
    failures = [f"token {n}: {dict(token)}" for n, token in enumerate(of_each) if token[USER] != 1]
    failures += [f"unexpected: {dict(total)}"] if set(total) - {USER, "replay"} else []
    return Report(
        done=count,
        held=held,
        counts={
            "accepted": total[USER],
            "refused as a replay": total["replay"],
            "by a process of its own": by_processes,
        },
        failures=tuple(failures[:5]),
    )
