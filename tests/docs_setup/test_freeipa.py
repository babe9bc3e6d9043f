"""docs/freeipa.md: its Python does what it says, with a KDC of MIT's and an OpenLDAP server of FreeIPA's shape."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import get, serve
from tests.ldap.slapd import GROUPS, USERS, Slapd, dn, group, user

from .page import Page

SPN = "HTTP/localhost"


@pytest.fixture
def realm(kerberos_realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """A realm with alice and bob; skipped where the plugin's is."""
    with KerberosRealm("IPA.EXAMPLE") as realm:
        realm.add_user("alice")
        realm.add_user("bob")
        realm.add_service(SPN, "ldap/localhost")
        yield realm


@pytest.fixture
def slapd(realm: KerberosRealm) -> Iterator[Slapd]:
    """Its directory: alice is in hr by way of another group, bob isn't."""
    with Slapd(realm.environ(), realm.keytab("ldap/localhost")) as slapd:
        slapd.add("".join(map(user, ("alice", "bob"))))
        slapd.add(group("payroll", dn("alice")) + group("hr", dn("payroll", GROUPS)))
        yield slapd


def test_the_pages_groups_are_those_of_the_directory_nested_ones_and_all(
    realm: KerberosRealm, slapd: Slapd, folder: Path
) -> None:
    page = Page("freeipa.md", {})
    keytab = realm.keytab(SPN, path=folder / "http.keytab")
    instead = {
        '"ldap://ipa1.ipa.example", "ldap://ipa2.ipa.example"': f'"{slapd.url}"',
        "cn=users,cn=accounts,dc=ipa,dc=example": USERS,
        "cn=groups,cn=accounts,dc=ipa,dc=example": GROUPS,
        "HTTP/www.ipa.example@": f"{SPN}@",
        '"http.keytab"': f'"{keytab}"',
    }
    page.write(folder, "hr.py", instead=instead)

    with serve("hr:app", "--app-dir", str(folder), env=realm.environ()) as server:
        answers = [get(server, "/salaries", token=realm.token(SPN, realm.kinit(who))) for who in ("alice", "bob")]

    assert page.blocks == {"app.py", "hr.py"}
    assert [answer.status for answer in answers] == [200, 403]
    assert answers[0].json == "Hello alice"
