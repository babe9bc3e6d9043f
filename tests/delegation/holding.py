"""Accepts every log-in that comes in, a line each, and holds all of their credential caches until it is killed."""

import asyncio
import sys
from base64 import b64decode
from contextlib import AsyncExitStack

from negotiate_mw import Acceptor


async def hold(keytab: str) -> None:
    async with Acceptor(keytab=keytab, delegation=True) as acceptor, AsyncExitStack() as caches:
        for line in sys.stdin.buffer:
            identity = (await acceptor.accept(None, b64decode(line))).identity
            assert identity is not None
            await caches.enter_async_context(identity.need_delegated().ccache())
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1]))
