"""NTLM bound to its TLS channel, by clients that say which channel they are on, and by others."""

import ssl
from pathlib import Path

import pytest
import requests
from requests_ntlm import HttpNtlmAuth

from negotiate_mw.bindings import of_file
from tests.integration.serving import Answer, Server, ServerEnded, Wire, serve

from .clients import BOB, PASSWORD, curl, log_in, ntlm

Certificates = tuple[Path, Path]


def with_requests(server: Server, certificates: Certificates, target: str = "", *, bound: bool = True) -> object:
    """requests_ntlm, which takes the certificate from the connection and binds itself to it."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(certificates[0])
        return session.get(f"{server.url}{target}", auth=HttpNtlmAuth(BOB, PASSWORD, send_cbt=bound))


def with_pyspnego(server: Server, certificates: Certificates, target: str, bindings: bytes | None) -> Answer:
    tls = ssl.create_default_context(cafile=str(certificates[0]))
    with Wire(server.port, tls=tls) as wire:
        return log_in(wire, ntlm(bindings=bindings), target)


@pytest.mark.parametrize("target", ["", "present", "same"])
def test_who_is_bound_to_our_channel_logs_in_and_the_app_knows(
    tls_server: Server, certificates: Certificates, target: str
) -> None:
    answer = with_requests(tls_server, certificates, target)

    assert isinstance(answer, requests.Response)
    assert answer.status_code == 200
    assert (answer.json()["principal"], answer.json()["channel_bound"]) == (BOB, True)


@pytest.mark.parametrize("target", ["", "present"])
def test_a_client_that_computes_the_binding_itself_logs_in(
    tls_server: Server, certificates: Certificates, target: str
) -> None:
    answer = with_pyspnego(tls_server, certificates, f"/{target}", of_file(certificates[0]))

    assert (answer.status, answer.json["channel_bound"]) == (200, True)


def test_who_is_bound_to_nothing_stays_out_where_it_is_required(
    tls_server: Server, certificates: Certificates, service_env: dict[str, str]
) -> None:
    mark = tls_server.mark()

    said = curl(tls_server.url, "--ntlm", "-u", f"{BOB}:{PASSWORD}", "--cacert", str(certificates[0]), env=service_env)
    answer = with_requests(tls_server, certificates, bound=False)

    assert isinstance(answer, requests.Response)
    assert said.count("HTTP/1.1 401") == 2
    assert answer.status_code == 401
    assert "www-authenticate" not in answer.headers, "or a browser asks for the password for ever"
    tls_server.until_logged(r"refused with 401: not-bound: 'CORP\\\\bob' didn't prove the TLS channel", mark=mark)


@pytest.mark.parametrize("target", ["present", "off"])
def test_who_is_bound_to_nothing_gets_in_elsewhere(
    tls_server: Server, certificates: Certificates, service_env: dict[str, str], target: str
) -> None:
    said = curl(
        f"{tls_server.url}{target}", "--ntlm", "-u", f"{BOB}:{PASSWORD}", "--cacert", str(certificates[0]),
        env=service_env,
    )  # fmt: skip

    assert "HTTP/1.1 200" in said
    assert '"channel_bound":false' in said


def test_where_bindings_are_off_they_prove_nothing(tls_server: Server, certificates: Certificates) -> None:
    answer = with_requests(tls_server, certificates, "off")

    assert isinstance(answer, requests.Response)
    assert (answer.status_code, answer.json()["channel_bound"]) == (200, False)


def test_who_is_bound_to_another_channel_than_the_proxys_stays_out(
    tls_server: Server, certificates: Certificates
) -> None:
    mark = tls_server.mark()

    answer = with_requests(tls_server, certificates, "other")

    assert isinstance(answer, requests.Response)
    assert answer.status_code == 401
    assert "www-authenticate" not in answer.headers
    tls_server.until_logged("refused with 401: bad-bindings: the client is bound to another TLS channel", mark=mark)


@pytest.mark.parametrize("target", ["/", "/present"])
@pytest.mark.parametrize("relayed", [b"tls-server-end-point:" + bytes(32), b"tls-server-end-point:", b"something"])
def test_a_log_in_relayed_from_another_channel_is_refused(
    tls_server: Server, certificates: Certificates, target: str, relayed: bytes
) -> None:
    answer = with_pyspnego(tls_server, certificates, target, relayed)

    assert (answer.status, answer.challenges) == (401, [])


def test_required_binding_is_nothing_to_be_warned_of(tls_server: Server) -> None:
    assert "relayed" not in tls_server.log


def test_required_binding_without_tls_stops_the_start_with_one_sentence(service_env: dict[str, str]) -> None:
    with pytest.raises(ServerEnded) as ended, serve("tests.parity.apps:required", env=service_env):
        pass

    assert ended.value.code != 0
    (line,) = [line for line in ended.value.log.splitlines() if line.startswith("ERROR:    negotiate-mw: ")]
    assert "ChannelBinding.required() can't be honoured" in line
    assert "--ssl-certfile" in line
    assert 'ChannelBinding.required(certfile="proxy.pem")' in line
    assert "Traceback" not in ended.value.log
