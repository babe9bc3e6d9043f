"""Groups out of a directory in FreeIPA's shape: OpenLDAP with its memberof overlay, and tickets without groups."""

import asyncio
from collections.abc import Callable

import pytest

from negotiate_mw import AcceptError, Acceptor, Identity, LdapDirectory, LdapGroups, NegotiateMiddleware
from negotiate_mw.status import SecStatus
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.testing.scripted import user as identity_of
from tests.shell.driving import Client, Site

from .conftest import MIT
from .slapd import GROUPS, SUFFIX, USERS, Slapd, dn, group, user
from .test_active_directory import groups_of

HTTP = "HTTP/localhost"
MANY = 250  # more than a page or a query holds, or slapd would answer at once
Directory = Callable[..., LdapDirectory]


def mit_user(name: str) -> Identity:
    quoted = name.replace("\\", "\\\\").replace("@", "\\@").replace("/", "\\/")
    return identity_of(f"{quoted}@{MIT}", realm=MIT)


def test_a_log_in_gets_qualified_names_of_its_groups_and_of_those_that_these_are_in(
    mit: KerberosRealm, mit_directory: Directory
) -> None:
    site = Site()
    groups = LdapGroups(mit_directory())
    app = NegotiateMiddleware(site, acceptor=Acceptor(keytab=str(mit.keytab(HTTP)), rcache="none"), groups=groups)

    async def log_in() -> int:
        await groups.start()
        try:
            return (await Client(app).get(mit.token(HTTP, mit.kinit("alice")))).status
        finally:
            await groups.stop()

    assert asyncio.run(log_in()) == 200
    assert site.scopes[0]["user"].groups == {r"MIT\staff", r"MIT\everybody-here"}
    assert r"group:MIT\staff" in site.scopes[0]["auth"].scopes


def test_member_of_counts_where_the_members_may_not_be_read(slapd: Slapd, mit_directory: Directory) -> None:
    slapd.add(user("frank") + group("unseen", dn("frank")) + group("around-unseen", dn("unseen", GROUPS)))

    found = groups_of(LdapGroups(mit_directory()), mit_user("frank"))

    assert found == {r"MIT\unseen", r"MIT\around-unseen"}


def test_groups_that_list_names_count_too(slapd: Slapd, mit_directory: Directory) -> None:
    posix = ("objectClass: posixGroup", "cn: unix", "gidNumber: 5000", "memberUid: grace", "memberUid: GRACE2")
    slapd.add(user("grace") + f"dn: cn=unix,{GROUPS}\n" + "\n".join(posix) + "\n")

    assert groups_of(LdapGroups(mit_directory()), mit_user("grace")) == {r"MIT\unix"}


def test_groups_in_each_other_are_found_once(slapd: Slapd, mit_directory: Directory) -> None:
    slapd.add(user("henry") + group("ring-1", dn("henry"), dn("ring-3", GROUPS)))
    slapd.add(group("ring-2", dn("ring-1", GROUPS)) + group("ring-3", dn("ring-2", GROUPS), dn("ring-3", GROUPS)))

    found = groups_of(LdapGroups(mit_directory()), mit_user("henry"))

    assert found == {rf"MIT\ring-{number}" for number in (1, 2, 3)}


def test_more_groups_than_a_page_holds_are_all_found(slapd: Slapd, mit_directory: Directory) -> None:
    slapd.add(user("many") + "".join(group(f"many-{number}", dn("many")) for number in range(MANY)))

    found = groups_of(LdapGroups(mit_directory(), timeout=30), mit_user("many"))

    assert found == {rf"MIT\many-{number}" for number in range(MANY)}


ODD = ["*", "a*", "(", "a)(b", "\\", "a\\2a", "j\0k", "Zoë", "名前", "a,b=c", "a/b", "a@b", '"', "#x", "a+b;c<d>"]


def test_each_odd_name_means_its_owner_alone(slapd: Slapd, mit_directory: Directory) -> None:
    for number, name in enumerate(ODD):
        slapd.add(user(name, rdn=f"odd-{number}") + group(f"of-odd-{number}", dn(f"odd-{number}")))
    groups = LdapGroups(mit_directory())

    async def ask() -> list[frozenset[str] | str]:
        found: list[frozenset[str] | str] = []
        for name in ODD:
            try:
                found.append(await groups.of(mit_user(name), None))
            except AcceptError as error:
                found.append(error.reason)
        await groups.stop()
        return found

    expected = [frozenset({rf"MIT\of-odd-{number}"}) for number in range(len(ODD))]
    found = asyncio.run(ask())
    assert [given for name, given in zip(ODD, found, strict=True) if name.isprintable()] == [
        given for name, given in zip(ODD, expected, strict=True) if name.isprintable()
    ]
    assert found[ODD.index("j\0k")] == "name-unusable"  # and never j


@pytest.mark.parametrize(
    "name",
    [
        *("ALICE", "Alice", " alice", "alice ", "\uff41lice", "ali\u00adce", "al*", "alice)(uid=*", "alice\\00"),
        *("uid=alice", dn("alice"), "nobody"),
    ],
)  # fmt: skip
def test_a_directory_that_finds_more_names_equal_than_kerberos_does_is_not_believed(
    mit_directory: Directory, name: str
) -> None:
    with pytest.raises(AcceptError) as refused:
        groups_of(LdapGroups(mit_directory()), mit_user(name))

    assert refused.value.status is SecStatus.LOGON_DENIED


def test_a_name_that_two_have_is_nobodys(slapd: Slapd, mit_directory: Directory) -> None:
    slapd.add(user("twin") + f"dn: ou=guests,{USERS}\nobjectClass: organizationalUnit\nou: guests\n")
    slapd.add(user("twin", f"ou=guests,{USERS}"))

    with pytest.raises(AcceptError, match=r"2 entries are 'twin'"):
        groups_of(LdapGroups(mit_directory()), mit_user("twin"))


def test_a_service_is_nobodys_user(mit_directory: Directory) -> None:
    with pytest.raises(AcceptError, match="is a service"):
        groups_of(LdapGroups(mit_directory()), identity_of(f"alice/admin@{MIT}"))


def test_a_group_that_is_not_called_by_its_cn_alone_may_bear_anothers_name_and_counts_for_nothing(
    slapd: Slapd, mit_directory: Directory
) -> None:
    slapd.add(user("owner") + user("intruder") + group("payroll", dn("owner")))
    member = f"objectClass: groupOfNames\ncn: payroll\nmember: {dn('intruder')}\n"
    slapd.add(f"dn: ou=mine,{GROUPS}\n{member}ou: mine\n")
    slapd.add(f"dn: cn=payroll+description=2,{GROUPS}\n{member}description: 2\n")
    slapd.add(f"dn: ou=below,{GROUPS}\nobjectClass: organizationalUnit\nou: below\n")
    slapd.add(group("payroll", dn("intruder"), base=f"ou=below,{GROUPS}"))

    found = [groups_of(LdapGroups(mit_directory()), mit_user(name)) for name in ("owner", "intruder")]

    assert found == [{r"MIT\payroll"}, set()]


def test_only_plain_names_in_the_one_container_count(
    slapd: Slapd, mit_directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    slapd.add(user("ivan") + group("staff", dn("ivan"), base=f"ou=elsewhere,{SUFFIX}"))
    slapd.add(f"dn: ou=inner,{GROUPS}\nobjectClass: organizationalUnit\nou: inner\n")
    slapd.add(group("admins", dn("ivan"), base=f"ou=inner,{GROUPS}"))
    slapd.add(group("S-1-5-32-544", dn("ivan")) + group("Domain Admins", dn("ivan")) + group("real", dn("ivan")))
    slapd.add(f"dn: cn=two,{GROUPS}\nobjectClass: groupOfNames\ncn: two\ncn: boss\nmember: {dn('ivan')}\n")

    found = groups_of(LdapGroups(mit_directory()), mit_user("ivan"))

    assert found == {r"MIT\real"}
    for dropped in ("S-1-5-32-544", "Domain Admins"):
        assert f"a group of MIT is called '{dropped}', and so counts for nothing" in caplog.text
