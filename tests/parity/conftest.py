"""Users of both kinds, certificates, and the servers that most of these tests share."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.testing.tickets import RealmError
from tests.integration.serving import Server, serve

from .chromium import chromium
from .clients import USERS

CONNECTIONS = ["h11", "httptools"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two self-signed certificates for localhost; the key of each is beside it."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "localhost.pem", folder / "other.pem"
    for path in paths:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
                *("-keyout", path.with_suffix(".key"), "-out", path),
            ],
            check=True,
            capture_output=True,
        )
    return paths


@pytest.fixture(scope="session")
def service_env(
    kerberos_realm: KerberosRealm, certificates: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of a server: keys of three names, a user file, and which certificates there are."""
    users = tmp_path_factory.mktemp("ntlm") / "users"
    users.touch(0o600)
    users.write_text(USERS)
    with suppress(RealmError):  # tests of another package, which have these fixtures too, have added it
        kerberos_realm.add_service("HTTP/parity.test.example")
    keytab = kerberos_realm.keytab("HTTP/localhost", "HTTP/www.test.example", "HTTP/parity.test.example")
    return {
        **kerberos_realm.environ(),
        "KRB5_KTNAME": str(keytab),
        "PARITY_USERS": str(users),
        "PARITY_CERTIFICATE": str(certificates[0]),
        "PARITY_OTHER_CERTIFICATE": str(certificates[1]),
    }


@pytest.fixture(scope="session")
def alice(kerberos_realm: KerberosRealm) -> Path:
    """The credential cache of alice, who has no password here."""
    return kerberos_realm.kinit("alice")


@pytest.fixture(scope="session")
def ticketless_chromium(kerberos_realm: KerberosRealm) -> Iterator[str]:
    """Where to reach the browser of somebody who has no ticket."""
    with chromium(kerberos_realm.environ()) as url:
        yield url


@pytest.fixture(scope="session", params=CONNECTIONS)
def server(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    """A uvicorn without any option but which of its two HTTP parsers, so that both are tested."""
    with serve("tests.parity.apps:app", "--http", request.param, env=service_env) as server:
        yield server


@pytest.fixture(scope="session", params=CONNECTIONS)
def tls_server(
    request: pytest.FixtureRequest, service_env: dict[str, str], certificates: tuple[Path, Path]
) -> Iterator[Server]:
    """The same over TLS, with the first certificate; who isn't bound to it stays out."""
    files = ("--ssl-certfile", str(certificates[0]), "--ssl-keyfile", str(certificates[0].with_suffix(".key")))
    with serve("tests.parity.apps:over_tls", *files, "--http", request.param, env=service_env) as server:
        yield server
