"""Each cell of the channel-binding table, over real TLS 1.2 and 1.3."""

import re
import ssl
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from negotiate_mw.bindings import of_file
from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import ROOT, Server, Wire
from tests.ntlm import answering

from .binding_matrix import BOUND, CELLS, IN, MODES, PAGE, SAYS, page
from .clients import Client, log_in, ntlm

Certificates = tuple[Path, Path]

TARGETS = {"off": "/off", "when_present": "/present", "required": "/"}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class _One:
    """A client of one leg."""

    def __init__(self, token: bytes) -> None:
        self._token = token

    def step(self, token: bytes | None = None) -> bytes:
        return self._token


class _Ntlm:
    """NTLMv2 by the tests' own client, which says of its channel what it is told."""

    def __init__(self, bindings: bytes | None) -> None:
        self._client = answering.Client(user="bob", bindings=bindings)

    def step(self, token: bytes | None = None) -> bytes:
        return self._client.negotiate() if token is None else self._client.authenticate(token)


def application_data(says: str, certificates: Certificates) -> bytes | None:
    return {"match": of_file(certificates[0]), "mismatch": of_file(certificates[1])}.get(says)


def client_of(kind: str, says: str, realm: KerberosRealm, alice: Path, certificates: Certificates) -> Client:
    data = application_data(says, certificates)
    if kind == "Kerberos without checksum":
        command = [sys.executable, "-m", "tests.parity.no_checksum", "HTTP", "localhost"]
        done = subprocess.run(command, env=realm.environ(alice), cwd=ROOT, capture_output=True, text=True, check=True)
        return _One(b64decode(done.stdout))
    if kind.startswith("Kerberos"):
        # GSS-API knows no other "none" than sixteen zeros (RFC 4121 4.1.1)
        wrapping = "kerberos" if kind.endswith("raw") else "spnego"
        return realm.initiator("HTTP/localhost", alice, wrapping=wrapping, bindings=data)  # type: ignore[arg-type]
    if kind == "NTLMv1":
        return ntlm(bindings=data)
    return _Ntlm(bytes(16) if says == "zero" else None if data is None else answering.bindings_hash(data))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("kind", CELLS)
def test_each_cell(
    tls_server: Server,
    kerberos_realm: KerberosRealm,
    alice: Path,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    says: str,
    mode: str,
    version: str,
) -> None:
    expected = CELLS[kind][says][MODES.index(mode)]
    if kind == "NTLMv1":
        monkeypatch.setenv("LM_COMPAT_LEVEL", "1")
    client = client_of(kind, says, kerberos_realm, alice, certificates)
    tls = ssl.create_default_context(cafile=str(certificates[0]))
    tls.minimum_version = tls.maximum_version = VERSIONS[version]
    mark = tls_server.mark()

    # a peer of its own, since a peer's repeats are summed up in the log
    source = f"127.8.{MODES.index(mode)}{list(VERSIONS).index(version)}.{list(CELLS).index(kind)}{SAYS.index(says)}"
    with Wire(tls_server.port, tls=tls, source=source) as wire:
        answer = log_in(wire, client, TARGETS[mode])

    if expected in (IN, BOUND):
        assert answer.status == 200, tls_server.since(mark)
        assert answer.json["channel_bound"] is (expected == BOUND)
    else:
        status, _, reason = expected.partition(" ")
        assert answer.status == int(status)
        tls_server.until_logged(f"refused with {status}: {re.escape(reason)}: ", mark=mark)


def test_the_page_shows_these_cells() -> None:
    assert PAGE.read_text() == page()
