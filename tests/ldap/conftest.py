"""Two directories of two realms, both with an alice: a real Samba domain controller, and OpenLDAP beside an MIT KDC."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from negotiate_mw import LdapDirectory
from negotiate_mw.testing import KerberosRealm
from tests.integration.samba_ad import SambaAD

from .samba_fill import fill
from .slapd import GROUPS, USERS, Slapd, dn, group, user

AD_BASE = "dc=ad,dc=test,dc=example"
MIT = "MIT.EXAMPLE"


@pytest.fixture(scope="session")
def ad() -> Iterator[SambaAD]:
    """A domain whose directory answers."""
    with SambaAD(ldap=True) as ad:
        fill(ad)
        yield ad


@pytest.fixture(scope="session")
def mit() -> Iterator[KerberosRealm]:
    """The realm MIT.EXAMPLE, with alice, bob and a web service."""
    with KerberosRealm(MIT) as realm:
        realm.add_user("alice")
        realm.add_user("bob")
        realm.add_service("HTTP/localhost", "ldap/localhost")
        yield realm


@pytest.fixture(scope="session")
def both_realms(ad: SambaAD, mit: KerberosRealm) -> Iterator[None]:
    """This process and its children find both KDCs; the environment as it was at the end."""
    one, other = ((realm.directory / "krb5.conf").read_text() for realm in (ad, mit))
    kdc = other[other.index("[realms]\n") + len("[realms]\n") : other.index("[domain_realm]")]
    conf = mit.directory / "both.conf"
    conf.write_text(
        one.replace("[realms]\n", f"[realms]\n{kdc}").replace(f"localhost = {ad.name}", f"localhost = {MIT}")
    )
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("KRB5")]:
        del os.environ[name]
    os.environ |= {"KRB5_CONFIG": str(conf), "KRB5RCACHEDIR": str(mit.directory / "rcache")}
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def slapd(mit: KerberosRealm, both_realms: None) -> Iterator[Slapd]:
    """FreeIPA's shape: users with ``memberOf``, and groups in one container."""
    with Slapd(mit.environ(), mit.keytab("ldap/localhost")) as slapd:
        slapd.add("".join(map(user, ("alice", "bob", "carol"))))
        slapd.add(group("staff", dn("alice"), dn("bob")))
        slapd.add(group("everybody-here", dn("staff", GROUPS)))
        yield slapd


@pytest.fixture(scope="session")
def ad_directory(ad: SambaAD, both_realms: None) -> Callable[..., LdapDirectory]:
    """The Samba domain's directory, as an operator writes it."""
    keytab = ad.keytab("svc-http")

    def directory(**options: Any) -> LdapDirectory:
        given: dict[str, Any] = {
            "realm": ad.name,
            "domain": "ADTEST",
            "servers": [f"ldap://{ad.address}"],
            "base": AD_BASE,
        }
        return LdapDirectory(**given | {"principal": f"svc-http@{ad.name}", "keytab": keytab} | options)

    return directory


@pytest.fixture(scope="session")
def mit_directory(slapd: Slapd, mit: KerberosRealm) -> Callable[..., LdapDirectory]:
    """OpenLDAP's, as an operator writes it."""
    keytab = mit.keytab("HTTP/localhost")

    def directory(**options: Any) -> LdapDirectory:
        given: dict[str, Any] = {
            "realm": MIT,
            "domain": "MIT",
            "servers": [slapd.url],
            "users": USERS,
            "groups": GROUPS,
        }
        given |= {"principal": f"HTTP/localhost@{MIT}", "keytab": keytab}
        return LdapDirectory(**given | options)

    return directory
