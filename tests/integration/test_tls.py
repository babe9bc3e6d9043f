"""``require_tls``: what counts as TLS is the socket, whatever the headers say."""

import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gssapi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5

from .serving import Server, Wire, get, serve
from .tokens import neg_token_init, neg_token_resp

FORGED = [
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Scheme", "https"),
    ("X-Forwarded-Ssl", "on"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;proto=https"),
]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost; its key lies beside it."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return path


@pytest.fixture(scope="module", params=["h11", "httptools"])
def tls_server(
    request: pytest.FixtureRequest, service_env: dict[str, str], certificate: Path
) -> Iterator[tuple[Server, ssl.SSLContext]]:
    files = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(certificate.with_suffix(".key")))
    with serve("needs_tls", *files, "--http", request.param, env=service_env) as server:
        yield server, ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(scope="module", params=["h11", "httptools"])
def plain_server(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    with serve("needs_tls", "--http", request.param, env=service_env) as server:
        yield server


@pytest.fixture
def client(kerberos_realm: KerberosRealm, alice: Path) -> gssapi.SecurityContext:
    return kerberos_realm.initiator("HTTP/localhost", alice)


@pytest.mark.parametrize("host", ["localhost", "www.corp.example"])
def test_over_tls_alice_gets_in(
    tls_server: tuple[Server, ssl.SSLContext], client: gssapi.SecurityContext, host: str
) -> None:
    server, tls = tls_server
    with Wire(server.port, tls=tls) as wire:
        answer = wire.get(token=client.step(), host=host)

    assert answer.status == 200
    assert answer.json["principal"] == "alice@TEST.EXAMPLE"
    client.step(answer.token)
    assert client.complete


def test_curl_gets_in_over_tls(
    tls_server: tuple[Server, ssl.SSLContext], kerberos_realm: KerberosRealm, alice: Path, certificate: Path
) -> None:
    server, _ = tls_server
    done = subprocess.run(
        ["curl", "-sS", "--negotiate", "-u", ":", "--cacert", str(certificate), server.url],
        env=kerberos_realm.environ(alice),
        capture_output=True,
        text=True,
    )

    assert '"alice@TEST.EXAMPLE"' in done.stdout, done.stderr


def test_two_legs_go_over_one_tls_connection(
    tls_server: tuple[Server, ssl.SSLContext], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    server, tls = tls_server
    krb5 = kerberos_realm.initiator("HTTP/localhost", alice, wrapping="kerberos").step()
    with Wire(server.port, tls=tls) as wire:
        first = wire.get(token=neg_token_init([KRB5]))
        second = wire.get(token=neg_token_resp(krb5))

    assert (first.status, second.status) == (401, 200)


@pytest.mark.parametrize("header", [None, *FORGED], ids=lambda header: header and header[0])
def test_over_plain_http_a_forged_header_is_no_tls(
    plain_server: Server, client: gssapi.SecurityContext, header: tuple[str, str] | None
) -> None:
    token = client.step()
    mark = plain_server.mark()

    answer = get(plain_server, token=token, host="www.corp.example", headers=[header] if header else [])
    without_token = get(plain_server, host="www.corp.example", headers=[header] if header else [])
    unread = get(plain_server, token=token)

    assert (answer.status, without_token.status) == (403, 403)
    assert answer.challenges == []
    plain_server.until_logged("refused with 403: tls-required: ", mark=mark)
    assert unread.status == 200, "the token wasn't read, so it isn't used up"


@pytest.mark.parametrize("header", FORGED, ids=lambda header: header[0])
def test_a_forwarded_request_is_not_from_this_machine(
    plain_server: Server, client: gssapi.SecurityContext, header: tuple[str, str]
) -> None:
    answer = get(plain_server, token=client.step(), headers=[header])

    assert answer.status == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:80", "[::1]:80"])
def test_this_machine_itself_needs_no_tls(plain_server: Server, client: gssapi.SecurityContext, host: str) -> None:
    answer = get(plain_server, token=client.step(), host=host)

    assert answer.status == 200


@pytest.mark.parametrize(
    "host", ["localhost.corp.example", "127.0.0.1.corp.example", "localhost@corp.example", "127.corp", ""]
)
def test_a_name_that_only_looks_like_this_machine_needs_tls(
    plain_server: Server, client: gssapi.SecurityContext, host: str
) -> None:
    answer = get(plain_server, token=client.step(), host=host)

    assert answer.status == 403


def test_where_a_proxy_ends_tls_plain_http_is_let_in(
    service_env: dict[str, str], client: gssapi.SecurityContext
) -> None:
    with serve("behind_proxy", env=service_env) as server:
        answer = get(server, token=client.step(), host="www.corp.example", headers=FORGED)

    assert answer.status == 200
    assert answer.json["principal"] == "alice@TEST.EXAMPLE"
