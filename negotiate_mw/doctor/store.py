"""Sessions' keys, and the Redis servers that options name: is one there, and does it keep what it is told?"""

import asyncio
from collections.abc import Iterator
from typing import Any

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, told, warning

_NEVER = "noeviction"


def examine(deployed: Deployed) -> Iterator[Line]:
    """Ask each of them."""
    if getattr(deployed.sessions, "_is_generated", False):
        yield ok("sessions are sealed with a key of this process's own, and end when it does")
    elif deployed.sessions is not None:
        yield ok(f"sessions: {deployed.sessions!r}")
    ledger = getattr(deployed.sessions, "_ledger", None)
    for what, store, slug in (
        ("sessions", getattr(ledger, "store", None), "session-store"),
        ("replay cache", getattr(deployed.replay, "_store", None), "replay-store"),
    ):
        if store is not None:
            yield asyncio.run(_ask(what, store, slug))


async def _ask(what: str, store: Any, slug: str) -> Line:
    from negotiate_mw.redis_store import StoreDown

    async def about(client: Any) -> Any:
        await client.ping()
        return await client.info("memory")

    try:
        memory = await store.ask(about)
    except StoreDown as error:
        down = f"Redis for the {what} can't be asked: {error}"
        return told(slug, down) if slug == "replay-store" else warning(slug, said=str(error))
    finally:
        await store.aclose()
    policy, most = str(memory.get("maxmemory_policy", _NEVER)), int(memory.get("maxmemory", 0))
    if most and policy != _NEVER:
        return warning("redis-evicts", policy=policy, what=what)
    return ok(f"Redis for the {what} answers, and forgets nothing before its time ({policy})")
