"""Forks after an acceptor was acquired and has pool threads: ``python -m … TOKEN…`` offers each token to each child.

Prints a line for each outcome, a principal or a refusal's reason.
"""

import asyncio
import os
import sys
from base64 import b64decode

from negotiate_mw import AcceptError, Acceptor

CHILDREN = 4


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # whole, though others write too


async def offer(acceptor: Acceptor, tokens: list[bytes]) -> None:
    await acceptor.acquire()
    for token in tokens:
        try:
            result = await acceptor.accept(None, token)
        except AcceptError as error:
            say(error.reason)
        else:
            assert result.identity is not None
            say(result.identity.principal)


def main() -> int:
    first, *others = map(b64decode, sys.argv[1:])
    acceptor = Acceptor(offload="always")
    asyncio.run(offer(acceptor, [first]))
    children = []
    for _ in range(CHILDREN):
        child = os.fork()
        if not child:
            asyncio.run(offer(acceptor, others))
            os._exit(0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(main())
