"""Other people's clients that take the binding from their own TLS connection, and connections bound by it."""

import json
import ssl
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import gssapi
import pycurl  # type: ignore[import-untyped]
import pytest
import requests
from requests_gssapi import HTTPSPNEGOAuth  # type: ignore[import-untyped]
from requests_kerberos import OPTIONAL, HTTPKerberosAuth  # type: ignore[import-untyped]

from negotiate_mw.bindings import of_file
from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server, Wire, serve

Certificates = tuple[Path, Path]


def test_pycurl_is_bound(
    tls_server: Server, kerberos_realm: KerberosRealm, alice: Path, certificates: Certificates
) -> None:
    body, curl = BytesIO(), pycurl.Curl()
    curl.setopt(pycurl.URL, tls_server.url)
    curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_NEGOTIATE)
    curl.setopt(pycurl.USERPWD, ":")
    curl.setopt(pycurl.NOPROXY, "localhost")
    curl.setopt(pycurl.CAINFO, str(certificates[0]))
    curl.setopt(pycurl.WRITEDATA, body)

    with kerberos_realm.apply(alice):
        curl.perform()

    assert curl.getinfo(pycurl.RESPONSE_CODE) == 200
    said = json.loads(body.getvalue())
    assert (said["principal"], said["channel_bound"]) == ("alice@TEST.EXAMPLE", True)
    curl.close()


@pytest.mark.parametrize("auth", ["requests-gssapi", "requests-kerberos"])
def test_clients_of_requests_are_bound(
    tls_server: Server, kerberos_realm: KerberosRealm, alice: Path, certificates: Certificates, auth: str
) -> None:
    with kerberos_realm.apply(alice), requests.Session() as session:
        session.trust_env = False
        session.verify = str(certificates[0])
        session.auth = (
            HTTPSPNEGOAuth(channel_bindings="tls-server-end-point")
            if auth == "requests-gssapi"
            else HTTPKerberosAuth(mutual_authentication=OPTIONAL)
        )

        answer = session.get(tls_server.url)

    assert answer.status_code == 200, answer.text
    assert (answer.json()["principal"], answer.json()["channel_bound"]) == ("alice@TEST.EXAMPLE", True)


def test_a_client_of_requests_that_is_bound_to_nothing_stays_out(
    tls_server: Server, kerberos_realm: KerberosRealm, alice: Path, certificates: Certificates
) -> None:
    with kerberos_realm.apply(alice), requests.Session() as session:
        session.trust_env = False
        session.verify = str(certificates[0])
        session.auth = HTTPSPNEGOAuth()

        answer = session.get(tls_server.url)

    assert answer.status_code == 401


def over_tls(certificates: Certificates) -> tuple[str, ...]:
    """uvicorn's options."""
    return "--ssl-certfile", str(certificates[0]), "--ssl-keyfile", str(certificates[0].with_suffix(".key"))


ADAPTERS = ["Auto", "H11", "HttpTools"]


@pytest.fixture(scope="module", params=ADAPTERS)
def binding_server(
    request: pytest.FixtureRequest, service_env: dict[str, str], certificates: Certificates
) -> Iterator[Server]:
    adapter = ("--http", f"negotiate_mw.servers.uvicorn:{request.param}")
    with serve("tests.parity.apps:connection_bound", *over_tls(certificates), *adapter, env=service_env) as server:
        yield server


def bound_token(realm: KerberosRealm, ccache: Path, certificate: Path, service: str = "HTTP/localhost") -> bytes:
    client: gssapi.SecurityContext = realm.initiator(service, ccache, bindings=of_file(certificate))
    token: bytes = client.step()
    return token


def test_a_bound_connection_is_its_users_until_the_next_token_or_its_end(
    binding_server: Server, kerberos_realm: KerberosRealm, alice: Path, certificates: Certificates
) -> None:
    bob = kerberos_realm.kinit("bob")
    tls = ssl.create_default_context(cafile=str(certificates[0]))
    with Wire(binding_server.port, tls=tls) as wire, Wire(binding_server.port, tls=tls) as other:
        first = wire.get(token=bound_token(kerberos_realm, alice, certificates[0]))
        again = [wire.get() for _ in range(3)]
        elsewhere = other.get()
        second = wire.get(token=bound_token(kerberos_realm, bob, certificates[0]))
        after = wire.get()
        refused = wire.get(headers=[("Authorization", "Negotiate YWJj")])
        forgotten = wire.get()

    assert (first.json["principal"], first.headers["persistent-auth"]) == ("alice@TEST.EXAMPLE", "true")
    assert [answer.json["principal"] for answer in again] == ["alice@TEST.EXAMPLE"] * 3
    assert elsewhere.status == 401
    assert (second.json["principal"], after.json["principal"]) == ("bob@TEST.EXAMPLE", "bob@TEST.EXAMPLE")
    assert (refused.status, forgotten.status) == (401, 401)


def test_a_connection_whose_user_is_bound_to_nothing_is_nobodys(
    binding_server: Server, kerberos_realm: KerberosRealm, alice: Path, certificates: Certificates
) -> None:
    tls = ssl.create_default_context(cafile=str(certificates[0]))
    with Wire(binding_server.port, tls=tls) as wire:
        first = wire.get(token=kerberos_realm.token("HTTP/localhost", alice))
        second = wire.get()

    assert (first.status, first.headers["persistent-auth"]) == (200, "false")
    assert second.status == 401


def test_without_the_adapter_a_connection_is_nobodys(
    service_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, certificates: Certificates
) -> None:
    tls = ssl.create_default_context(cafile=str(certificates[0]))
    with serve("tests.parity.apps:connection_bound", *over_tls(certificates), env=service_env) as server:
        with Wire(server.port, tls=tls) as wire:
            first = wire.get(token=bound_token(kerberos_realm, alice, certificates[0]))
            second = wire.get()

    assert (first.json["channel_bound"], first.headers["persistent-auth"]) == (True, "false")
    assert second.status == 401


@pytest.mark.parametrize("headers", [[], [("X-Forwarded-Proto", "http")]], ids=["https", "said to be plain"])
def test_a_relayed_log_in_is_refused_where_the_socket_is_not_to_be_seen_whatever_a_header_says_of_it(
    service_env: dict[str, str],
    kerberos_realm: KerberosRealm,
    alice: Path,
    certificates: Certificates,
    headers: list[tuple[str, str]],
) -> None:
    """uvicorn takes a client's word for the scheme, where it comes from 127.0.0.1."""
    tls = ssl.create_default_context(cafile=str(certificates[0]))
    with serve("tests.parity.apps:veiled", *over_tls(certificates), env=service_env) as server:
        with Wire(server.port, tls=tls) as wire:
            ours = wire.get(token=bound_token(kerberos_realm, alice, certificates[0]), headers=headers)
        with Wire(server.port, tls=tls) as wire:
            relayed = wire.get(token=bound_token(kerberos_realm, alice, certificates[1]), headers=headers)

    assert (ours.status, relayed.status) == (200, 401)
