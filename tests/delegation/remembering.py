"""Accepts every log-in that comes in, a line each, and says how much memory a second round takes and a third one whose
identities are kept, in KiB."""

import asyncio
import ctypes
import gc
import os
import sys
from base64 import b64decode
from pathlib import Path

from negotiate_mw import Acceptor


def resident() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or what was freed before would count as taken, and be taken uncounted
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def main(keytab: str) -> None:
    tokens = [b64decode(line) for line in sys.stdin.buffer]
    async with Acceptor(keytab=keytab, rcache="none", delegation=True) as acceptor:

        async def accept(token: bytes) -> object:
            identity = (await acceptor.accept(None, token)).identity
            assert identity is not None
            return identity.need_delegated()

        for token in tokens:
            await accept(token)
        before = resident()
        for token in tokens:
            await accept(token)
        after = resident()
        kept = [await accept(token) for token in tokens]
        print(after - before, resident() - after, len(kept))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
