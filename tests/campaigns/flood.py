"""A flood of half-open handshakes: strangers open what they never finish, while honest clients log in.

Law: the cheapest opening that makes the C library keep a context: a first token whose preferred mechanism is not
ours, so that it asks for two legs more. Each comes over a connection of its own, or over one that was used before.
"""

import asyncio
import gc
import random
import tempfile
from collections import Counter, deque
from pathlib import Path

from negotiate_mw import Acceptor, Limits, NegotiateMiddleware
from negotiate_mw.backends import Context
from negotiate_mw.wire.spnego import KRB5, NEGOEX, NTLM
from tests.integration.tokens import NTLM_NEGOTIATE, neg_token_init, neg_token_resp
from tests.shell.driving import Client

from .child import Listener, resident_mib
from .hostile import whoami
from .report import Report
from .tickets import Tickets

CAP = 10_000
AGE_SECONDS = 6.0
GROWTH_MIB = 48.0
HONEST_RATIO = 0.99
OPENINGS = (neg_token_init([NTLM, KRB5], NTLM_NEGOTIATE), neg_token_init([NEGOEX, KRB5], b"NEGOEXTS" + bytes(88)))
ONE_LEG_EVERY = 100  # opens
TWO_LEGS_EVERY = 300
BETWEEN_LEGS = 1_450  # opens; no multiple of the other: a second leg would make room for a first one
WARM_UP = 1_000  # log-ins


async def _flood(count: int, seed: int, rcache: Path) -> Report:
    dice, tickets, listener = random.Random(seed), Tickets(), Listener()
    counts: Counter[str] = Counter()
    connections: deque[Client] = deque(maxlen=CAP + 2_000)  # those that strangers hold open
    waiting: deque[tuple[int, Client]] = deque()  # honest ones, between their legs
    largest = 0

    def log_in_counted(status: int, body: bytes) -> None:
        counts["honest log-ins"] += 1
        counts["honest log-ins that worked"] += status == 200 and body == b"alice@TEST.EXAMPLE"

    async with Acceptor(rcache=rcache, limits=Limits(half_open=CAP, handshake_seconds=AGE_SECONDS)) as acceptor:
        app = NegotiateMiddleware(whoami, acceptor=acceptor)
        for _ in range(WARM_UP):
            assert (await Client(app).get(tickets.spnego())).status == 200
        before = resident_mib()
        for n in range(count):
            again = bool(connections) and dice.random() < 0.2
            client = dice.choice(connections) if again else Client(app)
            counts["opened"] += (await client.get(dice.choice(OPENINGS))).token is not None
            if not again and dice.random() < 0.1:
                client.close()
            elif not again:
                connections.append(client)
            if n % ONE_LEG_EVERY == 0:
                honest = await Client(app).get(tickets.spnego())
                log_in_counted(honest.status, honest.body)
            if n % TWO_LEGS_EVERY == 0:
                honest_client = Client(app)
                await honest_client.get(neg_token_init([KRB5]))
                waiting.append((n + BETWEEN_LEGS, honest_client))
            while waiting and waiting[0][0] <= n:
                honest = await waiting.popleft()[1].get(neg_token_resp(tickets.kerberos()))
                log_in_counted(honest.status, honest.body)
            largest = max(largest, len(app._store))
            if n % 20 == 0:
                await asyncio.sleep(0)
        growth = resident_mib() - before
        counts["left at the end"] = len(app._store)
        await asyncio.sleep(AGE_SECONDS + 1)
        left = len(app._store)
        gc.collect()
        contexts = sum(type(thing) is Context for thing in gc.get_objects())

    ratio = counts["honest log-ins that worked"] / counts["honest log-ins"]
    failures = listener.mistakes
    failures += [f"{largest} handshakes at once, {CAP} are allowed"] if largest > CAP else []
    failures += [f"the process grew by {growth:.1f} MiB"] if growth > GROWTH_MIB else []
    failures += [f"{ratio:.1%} of the honest log-ins worked"] if ratio < HONEST_RATIO else []
    failures += [f"{left} handshakes and {contexts} contexts were left 1 s after their age"] if left or contexts else []
    failures += [f"only {counts['opened']} were opened"] if counts["opened"] < count else []
    return Report(
        done=counts["honest log-ins"],
        held=counts["honest log-ins that worked"],
        counts={**counts, "most at once": largest, "growth MiB": round(growth, 1), "left": left, "contexts": contexts},
        failures=tuple(failures),
    )


def run(count: int, seed: int) -> Report:
    """``count`` openings."""
    with tempfile.TemporaryDirectory() as rcache:
        return asyncio.run(_flood(count, seed, Path(rcache)))
