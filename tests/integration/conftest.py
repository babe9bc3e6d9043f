"""What only the integration tests need; ``kerberos_realm`` comes from the package's own pytest plugin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm

from .samba_ad import SambaAD
from .serving import Server, serve


@pytest.fixture(scope="session")
def samba_ad() -> Iterator[SambaAD]:
    """A running Active Directory domain, one for the whole session."""
    with SambaAD() as ad:
        yield ad


@pytest.fixture(scope="session")
def service_env(kerberos_realm: KerberosRealm) -> dict[str, str]:
    """The environment of a server with the keys of HTTP/localhost, and of host/localhost, which it must not use."""
    keytab = kerberos_realm.keytab("HTTP/localhost", "host/localhost")
    return {**kerberos_realm.environ(), "KRB5_KTNAME": str(keytab)}


@pytest.fixture(scope="session")
def alice(kerberos_realm: KerberosRealm) -> Path:
    """Alice's credential cache."""
    return kerberos_realm.kinit("alice")


@pytest.fixture(scope="session")
def bob(kerberos_realm: KerberosRealm) -> Path:
    """Bob's credential cache."""
    return kerberos_realm.kinit("bob")


@pytest.fixture(scope="session")
def server(service_env: dict[str, str]) -> Iterator[Server]:
    """A stock uvicorn with the app behind the middleware and no option at all."""
    with serve("app", env=service_env) as server:
        yield server
