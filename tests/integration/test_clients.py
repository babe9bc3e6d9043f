"""Clients that people really use: each logs alice in and verifies that the server is who it says it is."""

import re
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import gssapi
import httpx
import pytest
import requests
import requests_gssapi  # type: ignore[import-untyped]
import requests_kerberos  # type: ignore[import-untyped]
import spnego

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import KRB5, MS_KRB5, NTLM, Continuation, read

from .serving import Answer, Server, get
from .tokens import neg_token_init

HTTP = "HTTP/localhost"
BAD_INTEGRITY = 2529638943  # KRB5KRB_AP_ERR_BAD_INTEGRITY, as com_err counts it: the table of krb5, and 31


def assert_alice(answer: Answer) -> None:
    assert answer.status == 200
    assert answer.json["principal"] == "alice@TEST.EXAMPLE"
    assert answer.json["mechanism"] == "kerberos"


def test_curl_logs_in_and_the_first_request_is_enough(
    server: Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    done = subprocess.run(
        ["curl", "-sS", "-i", "--negotiate", "-u", ":", server.url],
        env=kerberos_realm.environ(alice),
        capture_output=True,
        text=True,
        check=True,
    )

    assert re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.M) == ["200"]
    assert '"principal":"alice@TEST.EXAMPLE"' in done.stdout
    (final,) = re.findall(r"^www-authenticate: Negotiate (\S+)\r?$", done.stdout, re.M)
    answer = read(b64decode(final))
    assert isinstance(answer, Continuation)
    assert (answer.state, answer.mechanism) == (0, KRB5)


def test_curl_without_a_ticket_stays_out(server: Server, kerberos_realm: KerberosRealm) -> None:
    done = subprocess.run(
        ["curl", "-sS", "-i", "--negotiate", "-u", ":", server.url],
        env=kerberos_realm.environ(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.M) == ["401"]


@pytest.mark.parametrize("wrapping", ["spnego", "kerberos"])
def test_the_c_library_verifies_the_final_token(
    server: Server, kerberos_realm: KerberosRealm, alice: Path, wrapping: str
) -> None:
    client = kerberos_realm.initiator(HTTP, alice, wrapping=wrapping)  # type: ignore[arg-type]

    answer = get(server, token=client.step())

    assert_alice(answer)
    assert not client.complete
    client.step(answer.token)
    assert client.complete
    assert answer.token[:1] == (b"\xa1" if wrapping == "spnego" else b"\x60")


def test_a_forged_final_token_would_be_noticed(server: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    client = kerberos_realm.initiator(HTTP, alice, wrapping="kerberos")
    answer = get(server, token=client.step())
    forged = bytearray(answer.token)
    forged[-1] ^= 1

    # by number: the library words it by what it last said to anybody
    with pytest.raises(gssapi.exceptions.GSSError) as caught:
        client.step(bytes(forged)) and client.complete

    assert caught.value.min_code == BAD_INTEGRITY


@pytest.mark.parametrize("opportunistic", [False, True])
def test_requests_gssapi_with_mutual_authentication_required(
    server: Server, kerberos_realm: KerberosRealm, alice: Path, opportunistic: bool
) -> None:
    auth = requests_gssapi.HTTPSPNEGOAuth(
        mutual_authentication=requests_gssapi.REQUIRED, opportunistic_auth=opportunistic
    )

    with kerberos_realm.apply(alice), requests.Session() as session:
        response = session.get(server.url, auth=auth)

    assert response.status_code == 200
    assert response.json()["principal"] == "alice@TEST.EXAMPLE"
    assert len(response.history) == (0 if opportunistic else 1)


def test_requests_kerberos_with_mutual_authentication_required(
    server: Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    auth = requests_kerberos.HTTPKerberosAuth(mutual_authentication=requests_kerberos.REQUIRED)

    with kerberos_realm.apply(alice), requests.Session() as session:
        response = session.get(server.url, auth=auth)

    assert response.status_code == 200
    assert response.json()["principal"] == "alice@TEST.EXAMPLE"
    sent = b64decode(str(response.request.headers["Authorization"]).partition(" ")[2])
    assert der.encode(der.OID, der.encode_oid(KRB5)) in sent[:20], "raw Kerberos was the point"
    assert auth.auth_done


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("kerberos", spnego.NegotiateOptions.none),
        ("negotiate", spnego.NegotiateOptions.none),
        ("negotiate", spnego.NegotiateOptions.use_negotiate),
    ],
    ids=["kerberos", "negotiate", "negotiate-in-python"],
)
def test_pyspnego_over_httpx_completes_on_the_final_token(
    server: Server,
    kerberos_realm: KerberosRealm,
    alice: Path,
    protocol: str,
    options: spnego.NegotiateOptions,
) -> None:
    with kerberos_realm.apply(alice), httpx.Client() as http:
        client = spnego.client(hostname="localhost", service="HTTP", protocol=protocol, options=options)
        token = client.step()
        assert token is not None
        response = http.get(server.url, headers={"Authorization": f"Negotiate {b64encode(token).decode()}"})
        assert not client.complete
        client.step(b64decode(response.headers["www-authenticate"].partition(" ")[2]))

    assert response.status_code == 200
    assert response.json()["principal"] == "alice@TEST.EXAMPLE"
    assert client.complete


@pytest.mark.parametrize(
    ("mechanisms", "chosen"),
    [([KRB5], KRB5), ([MS_KRB5, KRB5, NTLM], MS_KRB5), ([MS_KRB5], MS_KRB5), ([KRB5, MS_KRB5, NTLM], KRB5)],
    ids=["standard", "windows", "microsoft-alone", "standard-first"],
)
def test_either_oid_of_kerberos_is_answered_in_its_own_name(
    server: Server, kerberos_realm: KerberosRealm, alice: Path, mechanisms: list[str], chosen: str
) -> None:
    client = kerberos_realm.initiator(HTTP, alice, wrapping="kerberos")

    answer = get(server, token=neg_token_init(mechanisms, client.step()))

    assert_alice(answer)
    final = read(answer.token)
    assert isinstance(final, Continuation)
    assert (final.state, final.mechanism) == (0, chosen)
    client.step(final.mech_token)
    assert client.complete


def test_a_client_that_wants_no_proof_gets_in_as_well(
    server: Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    client = kerberos_realm.initiator(HTTP, alice, wrapping="kerberos", mutual=False)

    answer = get(server, token=client.step())

    assert_alice(answer)
    assert client.complete
