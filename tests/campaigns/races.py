"""Two things at once on one context, and callers who give up: real contexts, stepped in threads.

Law: of two legs on one context exactly one proceeds, and whoever gives up leaves nothing: no context, no held lock, no
thread beyond the pool's, no file. Two at once in the C library would end the process, which is why this one is a child.
"""

import asyncio
import gc
import os
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

from negotiate_mw import Acceptor, Limits, NegotiateMiddleware, SecStatus
from negotiate_mw.backends import Context
from negotiate_mw.errors import AcceptError
from negotiate_mw.identity import AcceptResult
from negotiate_mw.wire.spnego import KRB5, NTLM
from tests.integration.tokens import NTLM_NEGOTIATE, neg_token_init, neg_token_resp
from tests.shell.driving import Client

from .child import USER, Listener
from .hostile import whoami
from .report import Report
from .tickets import Tickets

THREADS = 4
OPENINGS = (neg_token_init([KRB5]), neg_token_init([NTLM, KRB5], NTLM_NEGOTIATE))


class Racing:
    """An acceptor whose every step runs in a thread, and what became of it."""

    def __init__(self, acceptor: Acceptor, seed: int) -> None:
        self.acceptor = acceptor
        self.dice = random.Random(seed)
        self.tickets = Tickets()
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []

    def fail(self, sentence: str) -> None:
        if len(self.failures) < 5:
            self.failures.append(sentence)

    async def half_open(self) -> Context:
        result = await self.acceptor.accept(None, self.dice.choice(OPENINGS))
        assert isinstance(result.context, Context)
        return result.context

    async def later(self, step: Awaitable[AcceptResult]) -> AcceptResult:
        """The step, after some turns of the loop."""
        for _ in range(self.dice.choice((0, 0, 1, 2, 5))):
            await asyncio.sleep(0)
        return await step

    async def double_step(self) -> bool:
        """Two good legs at once on one context."""
        context = await self.half_open()
        legs = [neg_token_resp(self.tickets.kerberos()) for _ in range(2)]
        steps = [self.later(self.acceptor.accept(context, leg)) for leg in legs]
        ends = await asyncio.gather(*steps, return_exceptions=True)
        went_on = [end for end in ends if isinstance(end, AcceptResult)]
        refused = [end for end in ends if isinstance(end, AcceptError)]
        self.counts["refused as in use"] += sum(end.reason == "context-in-use" for end in refused)
        one = len(went_on) == len(refused) == 1
        one &= all(end.identity is None or end.identity.principal == USER for end in went_on)
        self.acceptor.discard(context)
        if not one or context.handle is not None or context.lock.locked():
            self.fail(f"two legs at once: {ends!r}, {context!r}")
            return False
        return True

    async def step_and_delete(self) -> None:
        """A context that is deleted while its step may run."""
        context = await self.half_open()
        step = asyncio.create_task(self.acceptor.accept(context, neg_token_resp(self.tickets.kerberos())))
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)
        too_late = step.done()
        self.acceptor.discard(context)
        end = (await asyncio.gather(step, return_exceptions=True))[0]
        self.counts["deleted after its step" if too_late else "deleted under its step"] += 1
        if not too_late and not (isinstance(end, AcceptError) and end.status is SecStatus.INVALID_HANDLE):
            self.fail(f"deleted under its step: {end!r}")
        if context.lock.locked() or context.open or context.handle is not None:
            self.fail(f"deleted under its step: {context!r}")

    async def give_up(self, step: Awaitable[object]) -> None:
        task = asyncio.ensure_future(step)
        for _ in range(self.dice.randrange(6)):
            await asyncio.sleep(0)
        if self.dice.random() < 0.3:
            await asyncio.sleep(self.dice.random() / 5000)
        task.cancel()
        try:
            await task
            self.counts["too late to give up"] += 1
        except asyncio.CancelledError:
            self.counts["given up"] += 1

    async def cancelled_step(self) -> None:
        context = await self.half_open()
        await self.give_up(self.acceptor.accept(context, neg_token_resp(self.tickets.kerberos())))
        await self.pool_at_rest()
        self.acceptor.discard(context)  # never begun: nobody else knows of it
        if context.lock.locked() or context.handle is not None or context.open:
            self.fail(f"given up: {context!r}")

    async def cancelled_request(self, app: NegotiateMiddleware) -> None:
        client = Client(app)
        legs = [neg_token_init([KRB5]), neg_token_resp(self.tickets.kerberos())]
        if self.dice.random() < 0.5:
            await client.get(legs.pop(0))
        await self.give_up(client.get(legs[0]))
        client.close()

    async def pool_at_rest(self) -> None:
        while self.acceptor._pool.load:
            await asyncio.sleep(0.0001)
        for _ in range(3):  # what the last step's thread told the loop
            await asyncio.sleep(0)


def _held() -> tuple[int, int]:
    """Contexts and files of this process."""
    gc.collect()
    return sum(type(thing) is Context for thing in gc.get_objects()), len(os.listdir("/proc/self/fd"))


async def _race(count: int, seed: int, rcache: Path) -> Report:
    listener = Listener()
    limits = Limits(threads=THREADS)
    async with Acceptor(rcache=rcache, offload="always", limits=limits) as acceptor:
        racing = Racing(acceptor, seed)
        app = NegotiateMiddleware(whoami, acceptor=acceptor)
        await racing.double_step()
        files = _held()[1]
        held = 0
        for n in range(count):
            held += await racing.double_step()
            if n % 10 == 0:
                await racing.step_and_delete()
                await (racing.cancelled_request(app) if n % 20 else racing.cancelled_step())
        while racing.counts["given up"] < count // 10:
            await racing.cancelled_step()
        await racing.pool_at_rest()
        after, threads = _held(), threading.active_count() - 1
        left = len(app._store)
    failures = racing.failures + listener.mistakes
    failures += [f"{after[0]} contexts and {after[1] - files} files were left"] if after != (0, files) else []
    failures += [f"{threads} threads, {THREADS} are the pool's"] if threads > THREADS else []
    in_use = racing.counts["refused as in use"]
    failures += [f"only {in_use} of {count} were at once"] if in_use < count // 2 else []
    failures += [f"{left} handshakes were left"] if left else []
    counts = racing.counts | {"contexts left": after[0], "files left": after[1] - files, "threads": threads}
    return Report(done=count, held=held, counts=counts, failures=tuple(failures))


def run(count: int, seed: int) -> Report:
    """``count`` double steps, and a tenth as many each of deletions and of callers who give up."""
    with tempfile.TemporaryDirectory() as rcache:
        return asyncio.run(_race(count, seed, Path(rcache)))
