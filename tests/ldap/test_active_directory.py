"""Groups out of a real Active Directory, by LDAP."""

import asyncio
from collections.abc import Callable

import pytest

from negotiate_mw import AcceptError, Acceptor, AcceptResult, Identity, LdapDirectory, LdapGroups, NegotiateMiddleware
from negotiate_mw.status import SecStatus
from negotiate_mw.testing.scripted import user
from tests.integration.samba_ad import SambaAD
from tests.shell.driving import Client, Site

from .samba_fill import MANY

HTTP = "HTTP/localhost"
Directory = Callable[..., LdapDirectory]


def ntlm_user(name: str, domain: str = "ADTEST") -> Identity:
    """Somebody whose name is all that is known."""
    return user(f"{domain}\\{name}", realm=domain, mechanism="ntlm")


def groups_of(groups: LdapGroups, identity: Identity, result: AcceptResult | None = None) -> frozenset[str]:
    async def ask() -> frozenset[str]:
        try:
            return await groups.of(identity, result)
        finally:
            await groups.stop()

    return asyncio.run(ask())


async def accepted(ad: SambaAD, name: str) -> AcceptResult:
    """The result of a real handshake."""
    async with Acceptor(keytab=str(ad.keytab(HTTP)), rcache="none") as acceptor:
        return await acceptor.accept(None, ad.token(HTTP, ad.kinit(name)))


def test_a_log_in_gets_qualified_names_of_the_groups_in_its_ticket(ad: SambaAD, ad_directory: Directory) -> None:
    site = Site()
    groups = LdapGroups(ad_directory())
    app = NegotiateMiddleware(site, acceptor=Acceptor(keytab=str(ad.keytab(HTTP)), rcache="none"), groups=groups)

    async def log_in() -> int:
        await groups.start()
        try:
            return (await Client(app).get(ad.token(HTTP, ad.kinit("alice")))).status
        finally:
            await groups.stop()

    assert asyncio.run(log_in()) == 200
    assert site.scopes[0]["user"].groups == {
        r"ADTEST\Domain Users",
        r"ADTEST\web-admins",
        r"ADTEST\web-users",
        r"ADTEST\nested",
    }
    assert r"group:ADTEST\nested" in site.scopes[0]["auth"].scopes


def test_without_groups_in_the_ticket_the_directory_says_the_same(ad: SambaAD, ad_directory: Directory) -> None:
    result = asyncio.run(accepted(ad, "alice"))
    assert result.identity is not None

    by_ticket = groups_of(LdapGroups(ad_directory()), result.identity, result)
    by_sid = groups_of(LdapGroups(ad_directory()), result.identity)
    by_name = groups_of(LdapGroups(ad_directory()), ntlm_user("Alice"))

    assert by_ticket == by_sid == by_name


def test_each_group_counts_under_its_own_name_only(
    ad: SambaAD, ad_directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    result = asyncio.run(accepted(ad, "dora"))
    assert result.identity is not None

    found = groups_of(LdapGroups(ad_directory()), result.identity, result)

    assert found == {
        r"ADTEST\Domain Users",
        r"ADTEST\hr-admins",  # one of two whose CN is "admins"
        r"ADTEST\harmless",  # whose CN is "Domain Admins"
        *(rf"ADTEST\circle-{number}" for number in (1, 2, 3)),  # which are in each other
        r"ADTEST\Büro München",
    }
    for taken in ("Enterprise Admins", "S-1-5-21-1-2-3-512"):
        assert f"a group of ADTEST is called '{taken}' (S-1-5-21-" in caplog.text


def test_a_well_known_group_may_be_called_otherwise_here(ad_directory: Directory) -> None:
    found = groups_of(LdapGroups(ad_directory()), ntlm_user("eve"))

    denied = r"ADTEST\Denied RODC Password Replication Group"  # which the genuine Enterprise Admins are in
    assert found == {r"ADTEST\Domain Users", r"ADTEST\Organisations-Admins", denied}


def test_more_groups_than_a_page_a_query_or_an_answer_holds_are_all_found(ad_directory: Directory) -> None:
    found = groups_of(LdapGroups(ad_directory()), ntlm_user("many"))

    assert found == {r"ADTEST\Domain Users", *(rf"ADTEST\many-{number:04}" for number in range(MANY))}


@pytest.mark.parametrize("name", ["al(ice)", "AL(ICE)", "Zoë"])
def test_an_odd_name_is_looked_up_as_it_is(ad_directory: Directory, name: str) -> None:
    found = groups_of(LdapGroups(ad_directory()), ntlm_user(name))

    assert found == {r"ADTEST\Domain Users", r"ADTEST\odd-names"}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "*",
            "al*",
            "alic?",
            "alice)(objectClass=*",
            "*)(|(cn=*",
            "alice\\",
            "alice\0",
            "alice\0x",
            " alice",
            "alice ",
        ),
        *("Zoe", "\uff41lice", "ali\u200bce", "\ud800", "al(ice", "al\\28ice\\29"),
        "CN=alice,CN=Users,DC=ad,DC=test,DC=example",
    ],
)
def test_a_name_means_nobody_but_its_owner(ad_directory: Directory, name: str) -> None:
    with pytest.raises(AcceptError, match="0 entries are") as refused:
        groups_of(LdapGroups(ad_directory()), ntlm_user(name))

    assert (refused.value.status, refused.value.reason) == (SecStatus.LOGON_DENIED, "groups-missing")


def test_a_ticket_that_says_no_account_has_no_groups(ad: SambaAD, ad_directory: Directory) -> None:
    with pytest.raises(AcceptError, match="has no PAC") as refused:
        groups_of(LdapGroups(ad_directory()), user(f"alice@{ad.name}"))

    assert refused.value.status is SecStatus.LOGON_DENIED


def test_a_ticket_of_two_accounts_has_no_groups_either(ad: SambaAD, ad_directory: Directory) -> None:
    result = asyncio.run(accepted(ad, "alice"))
    assert result.identity is not None

    def mismatch(domain_sid: str | None = None) -> frozenset[str]:
        raise AcceptError(SecStatus.LOGON_DENIED, "name-mismatch")

    broken = AcceptResult(status=SecStatus.OK, context=None, identity=result.identity, group_sids=mismatch)

    with pytest.raises(AcceptError, match="name-mismatch"):
        groups_of(LdapGroups(ad_directory()), result.identity, broken)


@pytest.mark.parametrize("sid", ["S-1-5-32-544", "S-1-5-21-1-2-3-1106", "S-1-5-21-1)(objectClass=*", "", "alice"])
def test_a_sid_of_nobody_has_no_groups(ad: SambaAD, ad_directory: Directory, sid: str) -> None:
    with pytest.raises(AcceptError) as refused:
        groups_of(LdapGroups(ad_directory()), user(f"alice@{ad.name}", sid=sid))

    assert refused.value.status is SecStatus.LOGON_DENIED


def test_what_another_domains_controller_claims_is_not_named(ad: SambaAD, ad_directory: Directory) -> None:
    result = asyncio.run(accepted(ad, "alice"))
    assert result.identity is not None

    def claims(domain_sid: str | None = None) -> frozenset[str]:
        raise AcceptError(SecStatus.LOGON_DENIED, "groups-missing")

    claimed = AcceptResult(status=SecStatus.OK, context=None, identity=result.identity, group_sids=claims)
    found = groups_of(LdapGroups(ad_directory()), result.identity, claimed)

    assert r"ADTEST\web-admins" in found  # the domain's own directory was asked instead


def test_a_certificate_for_another_name_is_not_believed(ad: SambaAD, ad_directory: Directory) -> None:
    tls = ad.directory / "private" / "tls"
    directory = ad_directory(servers=[f"ldaps://{ad.address}"], ca_file=tls / "ca.pem")  # it is for the name

    with pytest.raises(AcceptError, match="directory-down"):
        groups_of(LdapGroups(directory), ntlm_user("alice"))
