"""Waits for the end of sessions that outlive their request: one look for all of them, every 0.6 s.

Law: a process has one watch for each event loop, however many websockets are open; it looks at what is so and needs no
message, so nothing that gets lost can leave a websocket open.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from time import monotonic
from typing import Any

from negotiate_mw import telemetry
from negotiate_mw.redis_store import StoreDown

# seconds between two looks; with the quarter of a second that an answer may take, an end is known within one second
EVERY = 0.6
# seconds that a session stays unconfirmed before it counts as ended: long enough for a restart or a failover of Redis,
# for the sake of which not every websocket has to be closed
GRACE = 10.0

Entry = Any


class Watch:
    """What waits on one event loop.

    Args:
        look: says which of some entries have ended; raises StoreDown. Whatever else it raises counts as that.
    """

    def __init__(self, look: Callable[[Collection[Entry]], Awaitable[Collection[Entry]]]) -> None:
        self._look = look
        self._waiting: dict[Entry, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._has_failed = False  # and said so

    async def until_ended(self, entry: Entry, seconds: float) -> None:
        """Return once ``entry`` has ended, at the latest after ``seconds``."""
        over = asyncio.Event()
        self._waiting.setdefault(entry, set()).add(over)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="negotiate-mw sessions")
        try:
            await asyncio.wait_for(over.wait(), seconds)
        except TimeoutError:
            return
        finally:
            waiting = self._waiting.get(entry, set())
            waiting.discard(over)
            if not waiting:
                self._waiting.pop(entry, None)

    @property
    def entries(self) -> Collection[Entry]:
        """What is waited for."""
        return self._waiting.keys()

    def tell(self, entry: Entry) -> None:
        """``entry`` has ended, as is known here already."""
        for over in self._waiting.get(entry, ()):
            over.set()

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        confirmed_at = monotonic()
        while self._waiting:
            entries = list(self._waiting)
            try:
                ended: Collection[Entry] = await self._look(entries)
                confirmed_at = monotonic()
            except Exception as error:  # noqa: BLE001 - whoever was revoked mustn't stay because of a mistake here
                if not isinstance(error, StoreDown) and not self._has_failed:
                    self._has_failed = True
                    why = telemetry.plain(repr(error))
                    telemetry.warned(
                        "session-watch", f"whether open websockets' sessions have ended can't be told: {why}"
                    )
                ended = entries if monotonic() - confirmed_at > GRACE else ()
            for entry in ended:
                self.tell(entry)
            await asyncio.sleep(EVERY)
