"""An app whose acceptor is acquired, and whose pool has threads, once it is imported: before a preloading server forks.

Law: nothing here is good style; it is the worst that may happen.
"""

import asyncio

from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.wire.spnego import KRB5
from tests.integration.apps import bare
from tests.integration.tokens import neg_token_init

from .telling import telling, with_ntlm

acceptor = Acceptor(offload="always")


async def _begin_a_handshake() -> None:
    await acceptor.acquire()
    result = await acceptor.accept(None, neg_token_init([KRB5]))
    await acceptor.delete(result.context)


asyncio.run(_begin_a_handshake())
app = telling(with_ntlm(NegotiateMiddleware(bare, acceptor=acceptor)))
