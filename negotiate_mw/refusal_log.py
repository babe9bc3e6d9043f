"""One line for each refusal, with its true cause; repeats are counted, and summed up in one line more.

Law: nothing here runs for a request that passes. Causes are found off the event loop, so many a second and no more,
and a refusal goes out whatever becomes of that. What is remembered of peers is bounded.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from negotiate_mw import telemetry
from negotiate_mw.accept import Accepts
from negotiate_mw.backends import Holdings
from negotiate_mw.causes import Finding
from negotiate_mw.connection import Scope, is_forwarded
from negotiate_mw.diagnosis import Evidence, diagnose
from negotiate_mw.policy import Policy
from negotiate_mw.pool import PoolFull, StepPool
from negotiate_mw.refusal import Refusal
from negotiate_mw.wire import http
from negotiate_mw.wire.errors import HeaderError

WINDOW_SECONDS = 60.0
# of one peer and one reason in a window: a user's reference must find its line, and behind a proxy all are one peer
WHOLE_LINES = 30
# of all peers together in a window, 0.1 KiB each and more with a cause. An IPv6 network, or a forged X-Forwarded-For
# behind a server that believes it, has any number of peers; a refusal beyond it has a reference without a line
MOST_LINES = 3000
MAX_COUNTED = 1000  # peers and reasons that repeats are counted of, about 0.3 KiB each
FINDINGS_PER_SECOND = 20  # about 0.15 ms each, half of it in the thread
_FINDING_SECONDS = 1.0  # then the line goes out without
_SCHEMES = frozenset({b"negotiate", b"ntlm"})


class Tally:
    """Counts repeats: which refusals get a line of their own, and how many there were besides. No clock: it is told.

    Args:
        sum_up: told peer, reason and number of those that got no line, when their window ends.
    """

    def __init__(self, sum_up: Callable[[str, str, int], None]) -> None:
        self._sum_up = sum_up
        self._windows: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()  # oldest first
        self._since, self._lines = 0.0, 0  # of all peers together: lines, written or not

    def __len__(self) -> int:
        return len(self._windows)

    def is_whole(self, peer: str, reason: str, now: float) -> bool:
        """Count one refusal; True if it gets a line of its own."""
        self.expire(now)
        since, count = self._windows.get((peer, reason), (now, 0))
        if not count and len(self._windows) >= MAX_COUNTED:
            self._end(next(iter(self._windows)))
        self._windows[peer, reason] = since, count + 1
        if not self._lines:
            self._since = now
        self._lines += count < WHOLE_LINES
        return count < WHOLE_LINES and self._lines <= MOST_LINES

    def expire(self, now: float) -> float | None:
        """Sum up the windows that have ended; return in how many seconds the next one does, None if there is none."""
        if now - self._since >= WINDOW_SECONDS:
            self._sum_up_all()
        while self._windows:
            key, (since, _) = next(iter(self._windows.items()))
            if now - since < WINDOW_SECONDS:
                return WINDOW_SECONDS - (now - since)
            self._end(key)
        return None

    def close(self) -> None:
        """Sum up all."""
        while self._windows:
            self._end(next(iter(self._windows)))
        self._sum_up_all()

    def _sum_up_all(self) -> None:
        if self._lines > MOST_LINES:
            self._sum_up("all peers", "all", self._lines - MOST_LINES)
        self._lines = 0

    def _end(self, key: tuple[str, str]) -> None:
        _, count = self._windows.pop(key)
        if count > WHOLE_LINES:
            self._sum_up(*key, count - WHOLE_LINES)


class RefusalLog:
    """Where one middleware writes whom it turned away, and why.

    Args:
        acceptor: whose keys and names explain it.
        policy: who may in.
    """

    def __init__(self, acceptor: Accepts, policy: Policy) -> None:
        # optional, so that fakes needn't have it
        self._holdings: Callable[[], Holdings | None] = getattr(acceptor, "holdings", _nothing_known)
        self._token_bytes = acceptor.limits.token_bytes
        self._names_certfile = policy.channel_binding.certfile is not None
        self._tally = Tally(telemetry.refused_more)
        self._pool = StepPool(threads=1, queue=FINDINGS_PER_SECOND, name="negotiate-mw causes")
        self._second, self._found = 0, 0
        self._waking: asyncio.TimerHandle | None = None

    async def write(self, scope: Scope, refusal: Refusal, reason: str, detail: str) -> None:
        """Write the refusal's line; returns once it is written, so that its reference can be looked for."""
        now = time.monotonic()
        if not self._tally.is_whole(telemetry.peer_of(scope), reason, now):
            return self._wake_up(now)
        found = None
        try:
            if telemetry.is_heard(refusal) and self._may_find(now):
                found = await self._find(scope, reason, detail)
        finally:
            telemetry.refused(scope, refusal, reason, detail, found)

    def close(self) -> None:
        """Sum up what is counted, and let the thread end."""
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        self._tally.close()
        self._pool.close()

    def _may_find(self, now: float) -> bool:
        if self._second != int(now):
            self._second, self._found = int(now), 0
        self._found += 1
        return self._found <= FINDINGS_PER_SECOND

    async def _find(self, scope: Scope, reason: str, detail: str) -> Finding | None:
        try:
            return await self._pool.run(
                partial(self._look, scope, reason, detail), seconds=_FINDING_SECONDS, abandoned=_let_go
            )
        except (PoolFull, TimeoutError):
            return None
        except Exception as error:  # noqa: BLE001 - a mistake in an explanation mustn't become the client's 500
            telemetry.unexplained(reason, error)
            return None

    def _look(self, scope: Scope, reason: str, detail: str) -> Finding | None:
        """Ask for the cause, in the thread. The token is read once more, so that no request has to carry it here."""
        headers = scope["headers"]
        try:
            credentials = http.parse(headers, schemes=_SCHEMES, max_bytes=self._token_bytes)
        except HeaderError:
            credentials = None
        return diagnose(
            Evidence(
                reason=reason,
                detail=detail,
                now=datetime.now(UTC),
                token=None if credentials is None else credentials.token,
                host=http.host(headers),
                is_forwarded=is_forwarded(dict(scope["headers"])),
                is_preflight=scope.get("method") == "OPTIONS",
                names_certfile=self._names_certfile,
                holdings=self._holdings(),
            )
        )

    def _wake_up(self, now: float) -> None:
        """Have the repeats summed up when their window ends, though nothing more may come then."""
        if self._waking is None and (seconds := self._tally.expire(now)) is not None:
            self._waking = asyncio.get_running_loop().call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._waking = None
        self._wake_up(time.monotonic())


def _nothing_known() -> None:
    return None


def _let_go() -> None:
    """Nobody waits for this finding any more."""
