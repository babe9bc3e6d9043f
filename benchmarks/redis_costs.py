"""What Redis costs, in microseconds of processor time: a node's for each kind of request, and the server's own.

    .venv/bin/python -m benchmarks.redis_costs

Law: processor time and no clock, so that what else the machine does counts little; a real redis-server on loopback.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from benchmarks.redis_memory import somebody
from negotiate_mw import NegotiateMiddleware, RedisReplayCache, RedisSessions
from negotiate_mw.connection import Message
from negotiate_mw.testing import ScriptedAcceptor
from tests.store.server import RedisServer

TIMES = 5_000
LOOKS = 20
WEBSOCKETS = 10_000
AT_ONCE = 8  # as a server does; one after the other, half of the time would go into waking up


async def measured(what: str, redis: Redis, call: Callable[[int], Awaitable[object]], times: int = TIMES) -> float:
    """Print and return what one call costs this process."""
    await call(0)
    numbers = iter(range(1, times + 1))

    async def some() -> None:
        for number in numbers:
            await call(number)

    server = (await redis.info("cpu"))["used_cpu_user"] + (await redis.info("cpu"))["used_cpu_sys"]
    begun = time.process_time()
    await asyncio.gather(*(some() for _ in range(min(AT_ONCE, times))))
    taken = (time.process_time() - begun) / times
    after = (await redis.info("cpu"))["used_cpu_user"] + (await redis.info("cpu"))["used_cpu_sys"]
    print(f"{what:52} {taken * 1e6:9.1f} µs, Redis {(after - server) / times * 1e6:6.1f} µs")
    return taken


async def costs(url: str) -> None:
    """One row after the other."""
    redis = Redis.from_url(url)
    sessions = RedisSessions(url, keys=["0123456789abcdefghijklmnopqrstuvwxyzABCDEF"])
    replay = RedisReplayCache(url, when_down="refuse")

    async def page(scope: object, receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    app = NegotiateMiddleware(
        page, acceptor=ScriptedAcceptor({}, realms=frozenset({"CORP.EXAMPLE"})), sessions=sessions
    )
    session = sessions.session({"headers": []}, is_tls=False)
    await session.begin(somebody(1, 20))
    cookie = (session.set_cookie() or b"").partition(b";")[0]
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": "/", "root_path": "", "scheme": "http",
        "client": ("192.0.2.7", 50000), "headers": [(b"host", b"www.corp.example"), (b"cookie", cookie)],
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 200))

    async def cached(number: int) -> None:
        await app(scope, receive, send)

    async def read(number: int) -> None:
        sessions._cache.clear()
        await app(scope, receive, send)

    async def begin(number: int) -> None:
        await sessions.session({"headers": []}, is_tls=False).begin(somebody(number, 20))

    async def spend(number: int) -> None:
        await replay.spend(number.to_bytes(8, "big"))

    await measured("request, session cached (whole middleware)", redis, cached)
    await measured("request, session read from Redis", redis, read)
    await measured("log-in: beginning a session", redis, begin)
    await measured("log-in: asking whether it is a replay", redis, spend)
    assert set(statuses) == {200}
    entries = []
    for number in range(WEBSOCKETS):
        opened = sessions.session({"headers": []}, is_tls=False)
        await opened.begin(somebody(number, 20))
        assert opened._live is not None
        entries.append((opened._live.place, opened._live.marks))
    look = await measured(f"one look after {WEBSOCKETS:,} websockets", redis, lambda _: sessions._gone(entries), LOOKS)
    print(f"{'':52} {look / 0.6:9.1%} of a core, as it is done every 0.6 s")
    await sessions.stop()
    await replay.aclose()
    await redis.aclose()


if __name__ == "__main__":
    with RedisServer() as server:
        asyncio.run(costs(server.url))
