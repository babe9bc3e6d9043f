"""The client against our own acceptor: both mechanisms, both kinds of client, over http and TLS."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gssapi
import httpx
import pytest

from negotiate_mw.client import (
    BodySentError,
    ChannelError,
    CredentialError,
    NegotiateAuth,
)
from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server
from tests.parity.clients import BOB, PASSWORD

from .driving import KINDS, ask, ask_many, context

pytestmark = pytest.mark.parametrize("kind", KINDS)
ALICE = "alice@TEST.EXAMPLE"
NTLM: dict[str, Any] = {"mechanisms": ("ntlm",), "username": BOB, "password": PASSWORD, "mutual": "optional"}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def as_alice(kerberos_realm: KerberosRealm, alice: Path) -> Iterator[None]:
    with kerberos_realm.apply(alice):
        yield


@pytest.fixture
def as_nobody(kerberos_realm: KerberosRealm) -> Iterator[None]:
    with kerberos_realm.apply():
        yield


@pytest.mark.parametrize("preemptive", [False, True])
@pytest.mark.parametrize("mutual", ["required", "optional", "off"])
@pytest.mark.usefixtures("as_alice")
def test_kerberos(kind: str, ours: Server, mutual: Any, preemptive: bool) -> None:
    answer = ask(kind, NegotiateAuth(mutual=mutual, preemptive=preemptive), ours.url)

    assert answer.status_code == 200
    assert (answer.json()["principal"], answer.json()["mechanism"]) == (ALICE, "kerberos")
    assert len(answer.history) == (0 if preemptive else 1)


@pytest.mark.parametrize("preemptive", [False, True])
@pytest.mark.usefixtures("as_nobody")
def test_ntlm_in_two_legs(kind: str, ours: Server, preemptive: bool) -> None:
    answer = ask(kind, NegotiateAuth(**NTLM, preemptive=preemptive), ours.url, pinned=True)

    assert answer.status_code == 200
    assert (answer.json()["principal"], answer.json()["mechanism"]) == (BOB, "ntlm")
    assert [earlier.status_code for earlier in answer.history] == [401] * (1 if preemptive else 2)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("preemptive", [False, True])
@pytest.mark.parametrize("mechanism", ["kerberos", "ntlm"])
@pytest.mark.parametrize("binding", ["when_possible", "required"])
@pytest.mark.usefixtures("as_alice")
def test_over_tls_it_is_bound_to_its_channel(
    kind: str,
    ours_over_tls: Server,
    certificates: tuple[Path, Path],
    version: ssl.TLSVersion,
    mechanism: str,
    preemptive: bool,
    binding: Any,
) -> None:
    auth = NegotiateAuth(**NTLM if mechanism == "ntlm" else {}, preemptive=preemptive, channel_binding=binding)

    answer = ask(
        kind,
        auth,
        ours_over_tls.url,
        verify=context(certificates[0], version),
        pinned=binding == "required" or mechanism == "ntlm",
    )

    assert answer.status_code == 200
    assert (answer.json()["mechanism"], answer.json()["channel_bound"]) == (mechanism, True)


@pytest.mark.usefixtures("as_alice")
def test_without_binding_it_stays_out_where_that_is_required(
    kind: str, ours_over_tls: Server, certificates: tuple[Path, Path]
) -> None:
    answer = ask(kind, NegotiateAuth(channel_binding="off"), ours_over_tls.url, verify=context(certificates[0]))

    assert answer.status_code == 401
    assert len(answer.history) == 1


@pytest.mark.usefixtures("as_alice")
def test_required_binding_without_tls_or_without_a_pinned_transport_sends_no_token(
    kind: str, ours: Server, ours_over_tls: Server, certificates: tuple[Path, Path]
) -> None:
    auth = NegotiateAuth(channel_binding="required")

    with pytest.raises(ChannelError, match="without TLS"):
        ask(kind, auth, ours.url, pinned=True)
    with pytest.raises(ChannelError, match="PinnedTransport"):
        ask(kind, auth, ours_over_tls.url, verify=context(certificates[0]))


def test_a_keytab(kind: str, ours: Server, kerberos_realm: KerberosRealm, tmp_path: Path) -> None:
    keytab = kerberos_realm.keytab("HTTP/www.test.example", path=tmp_path / "keytab")

    with kerberos_realm.apply():
        answers = ask_many(kind, NegotiateAuth(keytab=keytab), [ours.url] * 3)

    assert [answer.json()["principal"] for answer in answers] == ["HTTP/www.test.example@TEST.EXAMPLE"] * 3


def test_a_password(kind: str, ours: Server, kerberos_realm: KerberosRealm) -> None:
    password = kerberos_realm.add_user(f"carol-{kind}")

    with kerberos_realm.apply():
        answers = ask_many(kind, NegotiateAuth(username=f"carol-{kind}", password=password), [ours.url] * 3)

    assert [answer.json()["principal"] for answer in answers] == [f"carol-{kind}@TEST.EXAMPLE"] * 3


def test_a_named_cache(kind: str, ours: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    with kerberos_realm.apply():
        answer = ask(kind, NegotiateAuth(ccache=f"FILE:{alice}"), ours.url)

    assert answer.json()["principal"] == ALICE


def test_a_user_s_forwarded_ticket(kind: str, ours: Server, kerberos_realm: KerberosRealm) -> None:
    forwardable = kerberos_realm.kinit("alice", options=["-f"])
    keytab = kerberos_realm.keytab("HTTP/localhost")

    with kerberos_realm.apply(forwardable):
        initiator = kerberos_realm.initiator("HTTP/localhost", forwardable, wrapping="kerberos", delegate=True)
        accepting = gssapi.Credentials(usage="accept", store={"keytab": str(keytab)})
        accepted = gssapi.raw.accept_sec_context(initiator.step(), acceptor_creds=accepting)
    delegated = SimpleNamespace(credentials=accepted.delegated_creds)
    with kerberos_realm.apply():
        answer = ask(kind, NegotiateAuth(delegated=delegated), ours.url)

    assert answer.json()["principal"] == ALICE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "get a ticket with kinit"),
        ({"username": "alice", "password": "wrong"}, "name and password right"),
        ({"username": "nobody", "password": "wrong"}, "name and password right"),
        ({"keytab": "/nonexistent"}, "can this process read it"),
        ({"ccache": "FILE:/nonexistent"}, "can this process read it"),
    ],
)
@pytest.mark.usefixtures("as_nobody")
def test_credentials_that_are_none(kind: str, ours: Server, options: dict[str, Any], said: str) -> None:
    with pytest.raises(CredentialError, match=said):
        ask(kind, NegotiateAuth(**options), ours.url)


@pytest.mark.usefixtures("as_alice")
def test_a_service_that_the_kdc_does_not_know(kind: str, ours: Server) -> None:
    with pytest.raises(CredentialError, match="hostname="):
        ask(kind, NegotiateAuth(hostname="unknown.test.example"), ours.url)


@pytest.mark.usefixtures("as_alice")
def test_another_name_of_the_service(kind: str, ours: Server) -> None:
    answer = ask(kind, NegotiateAuth(hostname="www.test.example"), f"http://127.0.0.1:{ours.port}/")

    assert answer.json()["principal"] == ALICE


@pytest.mark.usefixtures("as_nobody")
def test_ntlm_where_kerberos_has_no_ticket(kind: str, ours: Server) -> None:
    auth = NegotiateAuth(mechanisms=("kerberos", "ntlm"), username=BOB, password=PASSWORD, mutual="optional")

    answer = ask(kind, auth, ours.url, pinned=True)

    assert answer.json()["mechanism"] == "ntlm"


@pytest.mark.usefixtures("as_nobody")
def test_a_wrong_ntlm_password_is_tried_once(kind: str, ours: Server) -> None:
    answer = ask(kind, NegotiateAuth(**{**NTLM, "password": "wrong"}), ours.url, pinned=True)

    assert answer.status_code == 401
    assert len(answer.history) == 2


# --- bodies


@pytest.mark.parametrize("mechanism", ["kerberos", "ntlm"])
@pytest.mark.usefixtures("as_alice")
def test_a_body_of_bytes_is_sent_with_each_leg(kind: str, ours: Server, mechanism: str) -> None:
    auth = NegotiateAuth(**NTLM if mechanism == "ntlm" else {})

    answer = ask(kind, auth, ours.url, "POST", content=b"x" * 200_000, pinned=mechanism == "ntlm")

    assert (answer.json()["read"], answer.json()["method"]) == (200_000, "POST")


@pytest.mark.parametrize("preemptive", [False, True])
@pytest.mark.parametrize("mechanism", ["kerberos", "ntlm"])
@pytest.mark.usefixtures("as_alice")
def test_a_body_that_can_be_read_once_goes_with_the_last_leg_only(
    kind: str, ours: Server, mechanism: str, preemptive: bool
) -> None:
    auth = NegotiateAuth(**NTLM if mechanism == "ntlm" else {}, preemptive=preemptive)

    answer = ask(kind, auth, ours.url, "POST", content=parts(kind), pinned=mechanism == "ntlm")

    assert (answer.status_code, answer.json()["read"], answer.json()["method"]) == (200, 3000, "POST")
    assert [earlier.request.method for earlier in answer.history] == ["HEAD"] * len(answer.history)


@pytest.mark.usefixtures("as_alice")
def test_a_body_that_is_gone_is_an_error(kind: str, ours_over_tls: Server, certificates: tuple[Path, Path]) -> None:
    auth = NegotiateAuth(preemptive=True)  # unbound, so this server refuses the first token

    with pytest.raises(BodySentError, match="as bytes"):
        ask(kind, auth, ours_over_tls.url, "POST", content=parts(kind), verify=context(certificates[0]))


def parts(kind: str) -> Any:
    async def several() -> Any:
        for _ in range(3):
            yield b"x" * 1000

    return several() if kind == "async" else (b"x" * 1000 for _ in range(3))


# --- redirects


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("mechanism", ["kerberos", "ntlm"])
@pytest.mark.usefixtures("as_alice")
def test_a_redirect_takes_a_new_log_in_and_never_the_old_token(
    kind: str, ours: Server, mechanism: str, status: int
) -> None:
    auth = NegotiateAuth(**NTLM if mechanism == "ntlm" else {})
    before = httpx.get(f"{ours.url}replayed").json()

    answer = ask(
        kind, auth, f"{ours.url}redirect?to=/there&status={status}", follow_redirects=True, pinned=mechanism == "ntlm"
    )

    assert answer.status_code == 200
    assert answer.url.path == "/there"
    assert answer.json()["mechanism"] == mechanism
    assert httpx.get(f"{ours.url}replayed").json() == before


@pytest.mark.parametrize(("hosts", "status"), [(None, 401), (["localhost"], 401), (["localhost", "127.0.0.1"], 200)])
@pytest.mark.usefixtures("as_alice")
def test_a_redirect_to_another_host_gets_no_token_unless_allowed(
    kind: str, ours: Server, ours_over_tls: Server, hosts: list[str] | None, status: int
) -> None:
    there = f"http://127.0.0.1:{ours.port}/there"

    answer = ask(
        kind, NegotiateAuth(hosts=hosts, hostname="localhost"), f"{ours.url}redirect?to={there}", follow_redirects=True
    )

    assert (answer.status_code, answer.url.host) == (status, "127.0.0.1")


# --- many at a time


@pytest.mark.usefixtures("as_alice")
def test_many_at_a_time_with_one_auth_object(kind: str, ours: Server) -> None:
    answers = ask_many(kind, NegotiateAuth(), [ours.url] * 100, at_a_time=20)

    assert {answer.json()["principal"] for answer in answers} == {ALICE}


@pytest.mark.usefixtures("as_nobody")
def test_the_legs_of_ntlm_stay_together_on_a_pinned_transport(kind: str, ours: Server) -> None:
    answers = ask_many(kind, NegotiateAuth(**NTLM), [ours.url] * 200, at_a_time=20, pinned=True)

    assert {answer.json()["principal"] for answer in answers} == {BOB}
    assert {len(answer.history) for answer in answers} == {2}
    channels = [[one.extensions["network_stream"] for one in (*answer.history, answer)] for answer in answers]
    assert all(legs[1] is legs[2] for legs in channels)


@pytest.mark.usefixtures("as_nobody")
def test_ntlm_without_a_pinned_transport_is_an_error_and_no_password_is_tried(kind: str, ours: Server) -> None:
    with pytest.raises(ChannelError, match="PinnedTransport"):
        ask(kind, NegotiateAuth(**NTLM), ours.url)
