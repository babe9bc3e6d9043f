"""Several names and several realms: which of our names a ticket may be for, and whose users may come."""

import ast
import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from negotiate_mw import AcceptError, Acceptor, NegotiateMiddleware, Policy
from negotiate_mw.testing import KerberosRealm, tickets
from tests.shell.driving import Answer, Client, Site

HTTP = "HTTP/localhost"
HOSTS = [f"web{number}.test.example" for number in range(30)]


@pytest.fixture(scope="module")
def ours(kerberos_realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """The realm of the service, which has many names."""
    with KerberosRealm() as realm:
        realm.add_user("alice")
        realm.add_service(HTTP, *(f"HTTP/{host}" for host in HOSTS))
        yield realm


@pytest.fixture(scope="module")
def partner(ours: KerberosRealm) -> Iterator[KerberosRealm]:
    """A realm that ours trusts, whose KDC says how its users logged in."""
    with KerberosRealm("PARTNER.EXAMPLE") as realm:
        realm.add_service(HTTP)
        for user in ("alice", "bob"):
            realm.add_user(user)
        tickets.run(realm.environ(), "kadmin.local", "-r", realm.name, "modprinc", "+requires_preauth", "bob")
        ours.trust(realm)
        realm.stop_kdc()
        krb5, kdc = realm.directory / "krb5.conf", realm.directory / "kdc.conf"
        groups = "[libdefaults]\n  spake_preauth_groups = edwards25519"
        krb5.write_text(krb5.read_text().replace("[libdefaults]", groups, 1))
        indicator = "    max_life = 10h\n    spake_preauth_indicator = spake"
        kdc.write_text(kdc.read_text().replace("    max_life = 10h", indicator, 1))
        realm.start_kdc()
        yield realm


@pytest.fixture(scope="module")
def keytab(ours: KerberosRealm) -> Path:
    return ours.keytab(HTTP, *(f"HTTP/{host}" for host in HOSTS))


def answered(ours: KerberosRealm, keytab: Path, token: bytes, **options: Any) -> tuple[Answer, Site]:
    site = Site()
    acceptor = Acceptor(keytab=keytab, rcache=ours.directory / "rcache")

    async def ask() -> Answer:
        return await Client(NegotiateMiddleware(site, acceptor=acceptor, **options)).get(token)

    return asyncio.run(ask()), site


def foreign(partner: KerberosRealm, user: str = "alice") -> bytes:
    return partner.token(f"{HTTP}@TEST.EXAMPLE", partner.kinit(user))


# Our names


@pytest.mark.parametrize(
    ("hostname", "taken", "refused"),
    [
        (None, [HOSTS[0], HOSTS[29], "localhost"], []),
        (HOSTS[3], [HOSTS[3]], [HOSTS[4], "localhost"]),
        ([HOSTS[3], "localhost"], [HOSTS[3], "localhost"], [HOSTS[4]]),
    ],
)
def test_of_a_keytab_with_many_names_those_are_ours_that_the_acceptor_is_told(
    ours: KerberosRealm, keytab: Path, hostname: str | list[str] | None, taken: Sequence[str], refused: Sequence[str]
) -> None:
    alice = ours.kinit("alice")

    async def run() -> list[str]:
        reasons = []
        async with Acceptor(keytab=keytab, rcache=ours.directory / "rcache", hostname=hostname) as acceptor:
            for host in (*taken, *refused):
                try:
                    await acceptor.accept(None, ours.token(f"HTTP/{host}", alice))
                    reasons.append("taken")
                except AcceptError as error:
                    reasons.append(error.reason)
        return reasons

    assert asyncio.run(run()) == ["taken"] * len(taken) + ["wrong-principal"] * len(refused)


# Others' users


def test_what_the_refusal_prints_lets_the_realm_in_when_it_is_pasted(
    ours: KerberosRealm, keytab: Path, partner: KerberosRealm, caplog: pytest.LogCaptureFixture
) -> None:
    refused, _ = answered(ours, keytab, foreign(partner))
    pasted = re.search(r"to let it, Policy\(realms=(\[[^]]*\])\)", caplog.text)
    assert pasted

    let_in, site = answered(ours, keytab, foreign(partner), policy=Policy(realms=ast.literal_eval(pasted[1])))

    assert (refused.status, let_in.status) == (403, 200)
    assert site.scopes[0]["user"].principal == "alice@PARTNER.EXAMPLE"


@pytest.mark.parametrize(
    ("realms", "username"),
    [
        (["TEST.EXAMPLE", "PARTNER.EXAMPLE"], "alice@PARTNER.EXAMPLE"),
        ("*", "alice@PARTNER.EXAMPLE"),
        (["PARTNER.EXAMPLE"], "alice"),
    ],
)
def test_a_name_is_short_only_where_one_realm_may_log_in(
    ours: KerberosRealm, keytab: Path, partner: KerberosRealm, realms: Any, username: str
) -> None:
    _, site = answered(ours, keytab, foreign(partner), policy=Policy(realms=realms))

    assert site.scopes[0]["user"].username == username
    assert site.scopes[0]["user"].account_id == "alice@PARTNER.EXAMPLE"


def test_another_realms_kdc_cannot_say_how_its_users_logged_in(
    ours: KerberosRealm, keytab: Path, partner: KerberosRealm
) -> None:
    bob = partner.kinit("bob")

    _, at_home = answered(partner, partner.keytab(HTTP), partner.token(HTTP, bob))
    answer, site = answered(ours, keytab, partner.token(f"{HTTP}@TEST.EXAMPLE", bob), policy=Policy(realms="*"))

    assert at_home.scopes[0]["user"].attributes_of("auth-indicators") == ("spake",)
    assert answer.status == 200
    assert site.scopes[0]["user"].attributes_of("auth-indicators") == ()


def test_another_realms_user_without_groups_is_refused_where_groups_are_wanted(
    ours: KerberosRealm, keytab: Path, partner: KerberosRealm, caplog: pytest.LogCaptureFixture
) -> None:
    refused, _ = answered(ours, keytab, foreign(partner), groups="pac", policy=Policy(realms="*"))

    assert refused.status == 403
    assert "groups-missing: the ticket of 'alice@PARTNER.EXAMPLE'" in caplog.text
