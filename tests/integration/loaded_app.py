"""Apps whose every step runs in a pool: a small one with a short deadline, and one with room for any crowd."""

from negotiate_mw import Acceptor, Limits, NegotiateMiddleware

from .apps import bare

LIMITS = Limits(threads=2, queue=2, step_seconds=2)

app = NegotiateMiddleware(bare, acceptor=Acceptor(offload="always", limits=LIMITS), exempt=("/public/*",))
roomy = NegotiateMiddleware(bare, acceptor=Acceptor(offload="always", limits=Limits(threads=2, queue=10_000)))
