"""A proxy's certificate that is renewed under a running app: the clients that see it are known from then on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from negotiate_mw import AcceptError, AcceptResult, ChannelBinding, NegotiateMiddleware, Policy, SecStatus, bindings
from negotiate_mw.testing.scripted import ScriptedAcceptor, user
from tests.core.test_bindings import make

from .driving import Client, Site, on_a_loop


class Bound(ScriptedAcceptor):
    """Lets alice in where she is bound to the channel that we are on; ``channel`` is the one that she sees."""

    channel: bytes | None = None

    async def accept(
        self, context: object, token: bytes, *, bindings: bytes | None = None, host: str | None = None
    ) -> AcceptResult:
        if bindings != self.channel:
            raise AcceptError(SecStatus.BAD_BINDINGS, "bad-bindings")
        return await super().accept(context, token, bindings=bindings, host=host)


@pytest.mark.parametrize("binding", [ChannelBinding.when_present, ChannelBinding.required])
@on_a_loop
async def test_a_renewed_certificate_costs_one_refusal(tmp_path: Path, binding: Callable[..., ChannelBinding]) -> None:
    acceptor = Bound({b"Alice": (user("alice@EXAMPLE.COM", channel_bound=True), None)})
    certificate, old = make(tmp_path, "proxy", hashes.SHA256())
    policy = Policy(channel_binding=binding(certfile=str(certificate)))
    alice = Client(NegotiateMiddleware(Site(), acceptor=acceptor, policy=policy))
    acceptor.channel = bindings.of_certificate(old)
    before = await alice.get(b"Alice")

    _, new = make(tmp_path, "proxy", hashes.SHA256())
    acceptor.channel = bindings.of_certificate(new)
    after = [await alice.get(b"Alice") for _ in range(3)]

    assert before.status == 200
    assert [answer.status for answer in after] == [401, 200, 200]
