"""The client against other people's acceptors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.client import MutualAuthenticationError, NegotiateAuth
from negotiate_mw.testing import KerberosRealm

from .driving import KINDS, ask, ask_many
from .web_servers import PAGE, apache, lighttpd

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def apache_url(kerberos_realm: KerberosRealm) -> Iterator[str]:
    with apache(kerberos_realm.keytab("HTTP/localhost"), kerberos_realm.environ()) as url:
        yield url


@pytest.fixture(scope="module")
def lighttpd_url(kerberos_realm: KerberosRealm) -> Iterator[str]:
    with lighttpd(kerberos_realm.keytab("HTTP/localhost"), kerberos_realm.environ()) as url:
        yield url


@pytest.mark.parametrize("preemptive", [False, True])
def test_apache_lets_it_in_and_proves_itself(
    kind: str, apache_url: str, kerberos_realm: KerberosRealm, alice: Path, preemptive: bool
) -> None:
    with kerberos_realm.apply(alice):
        answer = ask(kind, NegotiateAuth(preemptive=preemptive), apache_url)

    assert (answer.status_code, answer.text) == (200, PAGE)
    assert len(answer.history) == (0 if preemptive else 1)


@pytest.mark.parametrize("preemptive", [False, True])
def test_lighttpd_lets_it_in(
    kind: str, lighttpd_url: str, kerberos_realm: KerberosRealm, alice: Path, preemptive: bool
) -> None:
    with kerberos_realm.apply(alice):
        answer = ask(kind, NegotiateAuth(preemptive=preemptive, mutual="optional"), lighttpd_url)

    assert (answer.status_code, answer.text) == (200, PAGE)
    assert len(answer.history) == (0 if preemptive else 1)


def test_lighttpd_proves_nothing(kind: str, lighttpd_url: str, kerberos_realm: KerberosRealm, alice: Path) -> None:
    with kerberos_realm.apply(alice), pytest.raises(MutualAuthenticationError, match="optional"):
        ask(kind, NegotiateAuth(), lighttpd_url)


def test_many_at_a_time(
    kind: str, apache_url: str, lighttpd_url: str, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    with kerberos_realm.apply(alice):
        answers = ask_many(kind, NegotiateAuth(mutual="optional"), [apache_url, lighttpd_url] * 20, at_a_time=8)

    assert [answer.text for answer in answers] == [PAGE] * 40


@pytest.mark.parametrize("pinned", [False, True])
def test_a_ticket_for_another_service_is_refused_once(
    kind: str, apache_url: str, lighttpd_url: str, kerberos_realm: KerberosRealm, alice: Path, pinned: bool
) -> None:
    auth = NegotiateAuth(hostname="www.test.example")

    with kerberos_realm.apply(alice):
        answers = ask_many(kind, auth, [apache_url, lighttpd_url], pinned=pinned)

    assert [(answer.status_code, len(answer.history)) for answer in answers] == [(401, 1)] * 2
