"""Users, keys and a certificate for the servers."""

import subprocess
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm

from .clients import NTLM_DOMAIN, NTLM_PASSWORD, User


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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost; its key is beside it."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", path.with_suffix(".key"), "-out", path),
        ],
        check=True,
        capture_output=True,
    )
    return path
