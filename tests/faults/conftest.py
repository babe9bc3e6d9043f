"""Users, and a site that may be broken."""

from collections.abc import Iterator

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.servers.clients import User

from .site import Site, new_site


@pytest.fixture(scope="session")
def alice(kerberos_realm: KerberosRealm) -> User:
    return User(kerberos_realm, kerberos_realm.kinit("alice"), "alice")


@pytest.fixture
def site(kerberos_realm: KerberosRealm) -> Iterator[Site]:
    with new_site(kerberos_realm) as site:
        yield site
