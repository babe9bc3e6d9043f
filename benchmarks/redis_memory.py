"""How many bytes of Redis one session takes, and one authenticator: a real redis-server, as the package writes them.

Law: the server's own count (``used_memory``, keys, values and tables together), before and after; what is printed for a
million is that number, measured with ``--sessions 1000000``, or multiplied, and then it says so.
"""

import argparse
import asyncio
import socket
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from negotiate_mw import RedisReplayCache, RedisSessions, redis_store
from negotiate_mw.identity import Identity

MILLION = 1_000_000
AT_ONCE = 16
DOMAIN = "S-1-5-21-1004336348-1177238915-682003330"


def somebody(number: int, groups: int) -> Identity:
    """A user of an Active Directory, in this many groups."""
    ends = datetime.now(UTC) + timedelta(hours=10)
    return Identity(
        principal=f"user{number:07}@CORP.EXAMPLE",
        account_id=f"{DOMAIN}-{number + 1000}",
        username=f"user{number:07}",
        realm="CORP.EXAMPLE",
        mechanism="kerberos",
        groups=frozenset(f"{DOMAIN}-{(number + place * 7919) % 90_000 + 1000}" for place in range(groups)),
        sid=f"{DOMAIN}-{number + 1000}",
        upn=f"user{number:07}@corp.example",
        expires_at=ends,
    )


async def fill(url: str, sessions: int, groups: int) -> tuple[int, float]:
    """Bytes that the server has more, and the seconds that it took."""
    redis_store.SECONDS = 60.0  # here nobody waits for an answer
    redis = Redis.from_url(url)
    store = RedisSessions(url, keys=["0123456789abcdefghijklmnopqrstuvwxyzABCDEF"])
    await store.start()
    before = (await redis.info("memory"))["used_memory"]
    begun = time.monotonic()
    numbers = iter(range(sessions))

    async def log_in() -> None:
        for number in numbers:
            session = store.session({"headers": []}, is_tls=True)
            await session.begin(somebody(number, groups))
            assert session.set_cookie() is not None

    await asyncio.gather(*(log_in() for _ in range(AT_ONCE)))
    taken = time.monotonic() - begun
    after = (await redis.info("memory"))["used_memory"]
    assert await redis.dbsize() == sessions + 1  # and the mark of all
    await store.stop()
    await redis.aclose()
    return after - before, taken


async def spend(url: str, authenticators: int) -> int:
    """Bytes that the server has more."""
    redis = Redis.from_url(url)
    before = (await redis.info("memory"))["used_memory"]
    replay = RedisReplayCache(url, when_down="refuse")
    numbers = iter(range(authenticators))

    async def log_in() -> None:
        for number in numbers:
            await replay.spend(number.to_bytes(200))

    await asyncio.gather(*(log_in() for _ in range(AT_ONCE)))
    after = (await redis.info("memory"))["used_memory"]
    await replay.aclose()
    await redis.aclose()
    return after - before


def main() -> None:
    """Fill a server of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--groups", type=int, default=20)
    parser.add_argument("--authenticators", type=int, default=20_000)
    options = parser.parse_args()
    with socket.socket() as probe, tempfile.TemporaryDirectory() as directory:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            url = f"redis://127.0.0.1:{port}"
            size, taken = asyncio.run(fill(url, options.sessions, options.groups))
            spent = asyncio.run(spend(url, options.authenticators))
        finally:
            server.terminate()
            server.wait()
    each = size / options.sessions
    print(f"{options.sessions} sessions with {options.groups} groups: {each:.0f} bytes each in Redis")
    print(f"{options.sessions / taken:.0f} log-ins/s of one process (session alone)")
    how = "measured" if options.sessions == MILLION else "extrapolated"
    print(f"a million: {each * MILLION / 2**30:.2f} GiB ({how})")
    each = spent / options.authenticators
    print(f"{options.authenticators} authenticators, for the time that they are remembered: {each:.0f} bytes each")


if __name__ == "__main__":
    main()
