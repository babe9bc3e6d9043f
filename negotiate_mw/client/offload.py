"""Blocking work beside an event loop, asyncio's or trio's."""

from collections.abc import Callable
from typing import TypeVar

from anyio import to_thread

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """What ``work`` returns or raises. When the caller is cancelled, it runs to its end and nobody hears of it."""
    return await to_thread.run_sync(work, abandon_on_cancel=True)
