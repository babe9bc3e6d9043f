"""The pytest plugin: a fixture ``kerberos_realm``, a real KDC for your own tests.

Law: every test run on a machine with this package loads this module, so it imports pytest and nothing else.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from negotiate_mw.testing.realm import KerberosRealm

REQUIRED = "NEGOTIATE_MW_REQUIRE_REALM"
USERS = ("alice", "bob")
SERVICES = ("HTTP/localhost", "host/localhost", "HTTP/www.test.example")


@pytest.fixture(scope="session")
def kerberos_realm() -> "Iterator[KerberosRealm]":
    """A running KerberosRealm TEST.EXAMPLE with users alice and bob and keys for HTTP/localhost, host/localhost and
    HTTP/www.test.example; one for the whole session.

    Where no KDC is installed the tests that ask for it are skipped; with NEGOTIATE_MW_REQUIRE_REALM=1 in the
    environment, as a project's CI should have it, they fail.
    """
    from negotiate_mw.testing.realm import KerberosRealm, RealmUnavailable

    realm = KerberosRealm()
    try:
        realm.__enter__()
    except RealmUnavailable as exc:
        if os.environ.get(REQUIRED) == "1":
            raise
        pytest.skip(str(exc))
    try:
        for user in USERS:
            realm.add_user(user)
        realm.add_service(*SERVICES)
        yield realm
    finally:
        realm.close()
