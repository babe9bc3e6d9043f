"""Users, keys, two servers, and every proxy of the table in front of them."""

from collections.abc import Iterator

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server, serve
from tests.servers.clients import NTLM_DOMAIN, NTLM_PASSWORD, User


@pytest.fixture(scope="session")
def service_env(kerberos_realm: KerberosRealm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a server with the keys of HTTP/localhost, and a file of NTLM users."""
    users = tmp_path_factory.mktemp("ntlm") / "users"
    users.touch(0o600)
    users.write_text("".join(f"{NTLM_DOMAIN}:{name}:{NTLM_PASSWORD}\n" for name in ("alice", "bob")))
    keytab = kerberos_realm.keytab("HTTP/localhost")
    return {**kerberos_realm.environ(), "KRB5_KTNAME": str(keytab), "TEST_NTLM_USERS": str(users)}


@pytest.fixture(scope="session")
def alice(kerberos_realm: KerberosRealm) -> User:
    return User(kerberos_realm, kerberos_realm.kinit("alice"), "alice")


@pytest.fixture(scope="session")
def bob(kerberos_realm: KerberosRealm) -> User:
    return User(kerberos_realm, kerberos_realm.kinit("bob"), "bob")


@pytest.fixture(scope="package")
def servers(service_env: dict[str, str]) -> Iterator[tuple[Server, Server]]:
    """Two servers of the same app, as a proxy has behind it."""
    app = "tests.servers.telling:app"
    with serve(app, env=service_env) as one, serve(app, env=service_env) as other:
        yield one, other
