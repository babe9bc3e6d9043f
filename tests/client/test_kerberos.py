"""The Kerberos initiator against python-gssapi's acceptor, where SPNEGO takes an unusual turn; and its lanes."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gssapi
import httpx
import pytest

from negotiate_mw.client import AsyncPinnedTransport, NegotiateAuth
from negotiate_mw.client.errors import CredentialError
from negotiate_mw.client.flow import StepFailed
from negotiate_mw.client.kerberos import KerberosInitiator
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire import spnego

from .scripted import reply, scripted

ACCEPTED, REQUEST_MIC = 0, 3


@pytest.fixture(autouse=True)
def as_alice(kerberos_realm: KerberosRealm, alice: Path) -> Iterator[None]:
    with kerberos_realm.apply(alice):
        yield


def opened(realm: KerberosRealm) -> tuple[Any, Any, spnego.FirstToken]:
    """An initiator, what the acceptor made of its token, and that token."""
    leg, initiator = NegotiateAuth()._begin("localhost", None)
    first = spnego.read(leg.token or b"")
    assert isinstance(first, spnego.FirstToken)
    accepting = gssapi.Credentials(usage="accept", store={"keytab": str(realm.keytab("HTTP/localhost"))})
    return initiator, gssapi.raw.accept_sec_context(first.mech_token or b"", acceptor_creds=accepting), first


def test_a_user_who_forwarded_nothing_is_not_taken_for_ourselves() -> None:
    auth = NegotiateAuth(delegated=SimpleNamespace(credentials=None))

    with pytest.raises(CredentialError, match="nothing was forwarded"):
        auth._begin("localhost", None)


def test_it_offers_kerberos_alone(kerberos_realm: KerberosRealm) -> None:
    _, _, first = opened(kerberos_realm)

    assert first.mechanisms == (spnego.KRB5,)


def test_a_server_that_wants_the_list_signed_gets_it_signed(kerberos_realm: KerberosRealm) -> None:
    initiator, accepted, first = opened(kerberos_realm)

    leg = initiator.step(spnego.response(state=REQUEST_MIC, mechanism=spnego.KRB5, token=accepted.token))

    said = spnego.read(leg.token)
    assert isinstance(said, spnego.Continuation)
    assert (leg.complete, leg.mutual) == (True, True)
    gssapi.raw.verify_mic(accepted.context, first.mech_list, said.mic or b"")


def test_a_list_signed_by_the_server_is_checked(kerberos_realm: KerberosRealm) -> None:
    initiator, accepted, first = opened(kerberos_realm)
    mic = gssapi.raw.get_mic(accepted.context, first.mech_list)
    other, accepted_other, _ = opened(kerberos_realm)

    assert initiator.step(spnego.response(state=ACCEPTED, token=accepted.token, mic=mic)).mutual
    with pytest.raises(StepFailed):
        other.step(spnego.response(state=ACCEPTED, token=accepted_other.token, mic=mic))


@pytest.mark.parametrize("delegate", [False, True])
def test_it_forwards_the_user_s_ticket_only_if_told_to(kerberos_realm: KerberosRealm, delegate: bool) -> None:
    forwardable = kerberos_realm.kinit("alice", options=["-f"])
    auth = NegotiateAuth(ccache=f"FILE:{forwardable}", delegate=delegate)

    leg, _ = auth._begin("localhost", None)

    first = spnego.read(leg.token or b"")
    assert isinstance(first, spnego.FirstToken)
    accepting = gssapi.Credentials(usage="accept", store={"keytab": str(kerberos_realm.keytab("HTTP/localhost"))})
    accepted = gssapi.raw.accept_sec_context(first.mech_token or b"", acceptor_creds=accepting)
    assert (accepted.delegated_creds is not None) is delegate


def test_a_cancelled_request_leaves_its_lane_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    real = KerberosInitiator.step
    made: list[httpx.AsyncBaseTransport] = []

    def slow(self: KerberosInitiator, token: bytes | None) -> Any:
        time.sleep(0.3)
        return real(self, token)

    def make() -> httpx.AsyncBaseTransport:
        made.append(httpx.AsyncHTTPTransport())
        return made[-1]

    async def run(url: str) -> int:
        async with httpx.AsyncClient(auth=NegotiateAuth(), transport=AsyncPinnedTransport(make)) as client:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.get(url), 0.1)
            return (await client.get(url)).status_code

    monkeypatch.setattr(KerberosInitiator, "step", slow)
    with scripted(lambda heard: reply(401, "WWW-Authenticate: Negotiate")) as server:
        status = asyncio.run(run(server.url))

    assert status == 401
    assert len(made) == 2  # one for requests without a log-in, one lane
