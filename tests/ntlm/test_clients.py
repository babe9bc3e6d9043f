"""The built-in NTLM acceptor against other people's clients."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import httpx
import pytest
import requests
import spnego
from httpx_ntlm import HttpNtlmAuth as HttpxNtlmAuth
from requests_ntlm import HttpNtlmAuth as RequestsNtlmAuth
from spnego.channel_bindings import GssChannelBindings

from negotiate_mw.accept import AcceptError, ContextFlag, SecStatus
from negotiate_mw.backends import Context
from negotiate_mw.backends.pyspnego import PyspnegoBackend
from negotiate_mw.identity import Identity

APPLICATION_DATA = b"tls-server-end-point:" + bytes(range(32))
OTHER_DATA = b"tls-server-end-point:" + bytes(32)
INTEGRITY = ContextFlag.INTEGRITY | ContextFlag.REPLAY_DETECT | ContextFlag.SEQUENCE_DETECT


@pytest.fixture(autouse=True)
def no_kerberos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that could look for a KDC would wait for it."""
    (tmp_path / "krb5.conf").write_text("[libdefaults]\ndns_lookup_kdc = false\ndns_lookup_realm = false\n")
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    monkeypatch.setenv("KRB5CCNAME", "MEMORY:none")


# --- pyspnego


def drive(backend: PyspnegoBackend, client: spnego.ContextProxy, bindings: bytes | None = None) -> Identity:
    context, token = Context(backend), client.step()
    while True:
        assert token is not None
        result = backend.step(context, token, bindings)
        if result.identity is not None:
            if result.token is not None:
                assert client.step(result.token) is None
            assert client.complete
            return result.identity
        token = client.step(result.token)


def pyspnego_client(user: str, password: str, protocol: str, bindings: bytes | None = None) -> spnego.ContextProxy:
    return spnego.client(
        user, password, hostname="www.corp.example", service="HTTP", protocol=protocol,
        channel_bindings=None if bindings is None else GssChannelBindings(application_data=bindings),
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
@pytest.mark.parametrize(
    ("user", "password", "principal"), [("CORP\\alice", "secret", "CORP\\alice"), ("corp\\BOB", "hunter2", "CORP\\Bob")]
)
def test_pyspnego_with_the_right_password(
    backend: PyspnegoBackend, protocol: str, user: str, password: str, principal: str
) -> None:
    identity = drive(backend, pyspnego_client(user, password, protocol))

    assert identity.principal == principal
    assert identity.attributes == INTEGRITY | ContextFlag.CONFIDENTIALITY


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
@pytest.mark.parametrize(("user", "password"), [("CORP\\alice", "wrong"), ("CORP\\mallory", "secret")])
def test_pyspnego_with_the_wrong_password_or_user(
    backend: PyspnegoBackend, protocol: str, user: str, password: str
) -> None:
    with pytest.raises(AcceptError) as caught:
        drive(backend, pyspnego_client(user, password, protocol))

    assert (caught.value.status, caught.value.reason) == (SecStatus.LOGON_DENIED, "logon-failed")


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
@pytest.mark.parametrize("level", ["0", "1", "2"])
def test_pyspnego_with_ntlm_v1(
    backend: PyspnegoBackend, monkeypatch: pytest.MonkeyPatch, protocol: str, level: str
) -> None:
    monkeypatch.setenv("LM_COMPAT_LEVEL", level)

    with pytest.raises(AcceptError) as caught:
        drive(backend, pyspnego_client("CORP\\alice", "secret", protocol))

    assert (caught.value.status, caught.value.reason) == (SecStatus.LOGON_DENIED, "ntlm-v1")


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
def test_pyspnego_with_channel_bindings(backend: PyspnegoBackend, protocol: str) -> None:
    def bound_to(bindings: bytes | None) -> Identity:
        return drive(backend, pyspnego_client("CORP\\alice", "secret", protocol, bindings), APPLICATION_DATA)

    assert bound_to(APPLICATION_DATA).channel_bound
    assert not bound_to(None).channel_bound
    with pytest.raises(AcceptError) as caught:
        bound_to(OTHER_DATA)
    assert caught.value.status is SecStatus.BAD_BINDINGS


# --- gss-ntlmssp


needs_gss_ntlmssp = pytest.mark.skipif(
    not list(Path("/etc/gss/mech.d").glob("*ntlmssp*")), reason="gss-ntlmssp isn't installed"
)


@pytest.fixture
def client_users(tmp_path: Path) -> Path:
    path = tmp_path / "client"
    path.write_text("CORP:alice:secret\nCORP:mallory:secret\n")
    return path


def drive_gss_ntlmssp(
    backend: PyspnegoBackend,
    users: Path,
    wrapping: str,
    *,
    user: str = "CORP\\alice",
    flags: int = 2,
    bindings: bytes = b"",
    given: bytes | None = None,
) -> Identity:
    arguments = [str(Path(__file__).with_name("gss_client.py")), wrapping, user, str(flags), bindings.hex()]
    with subprocess.Popen(
        [sys.executable, *arguments], env={**os.environ, "NTLM_USER_FILE": str(users)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        context = Context(backend)
        try:
            while True:
                result = backend.step(context, base64.b64decode(process.stdout.readline()), given)
                if result.token is not None:
                    print(base64.b64encode(result.token).decode(), file=process.stdin, flush=True)
                if result.identity is not None:
                    assert "complete" in process.stdout.read()
                    return result.identity
        finally:
            process.kill()


@needs_gss_ntlmssp
@pytest.mark.parametrize("flags", [2, 2 | 32, 2 | 16 | 32])
@pytest.mark.parametrize("wrapping", ["ntlm", "spnego"])
def test_gss_ntlmssp_with_the_right_password(
    backend: PyspnegoBackend, client_users: Path, wrapping: str, flags: int
) -> None:
    identity = drive_gss_ntlmssp(backend, client_users, wrapping, flags=flags)

    assert identity.principal == "CORP\\alice"
    # SPNEGO asks for integrity by itself, to sign its list
    assert bool(identity.attributes & ContextFlag.INTEGRITY) is (wrapping == "spnego" or bool(flags & 32))
    assert bool(identity.attributes & ContextFlag.CONFIDENTIALITY) is bool(flags & 16)


@needs_gss_ntlmssp
@pytest.mark.parametrize("wrapping", ["ntlm", "spnego"])
def test_gss_ntlmssp_with_the_wrong_password_or_user(
    backend: PyspnegoBackend, client_users: Path, wrapping: str
) -> None:
    with pytest.raises(AcceptError, match="logon-failed"):
        drive_gss_ntlmssp(backend, client_users, wrapping, user="CORP\\mallory")
    client_users.write_text("CORP:alice:wrong\n")
    with pytest.raises(AcceptError, match="logon-failed"):
        drive_gss_ntlmssp(backend, client_users, wrapping)


@needs_gss_ntlmssp
@pytest.mark.parametrize("wrapping", ["ntlm", "spnego"])
def test_gss_ntlmssp_with_channel_bindings(backend: PyspnegoBackend, client_users: Path, wrapping: str) -> None:
    def bound_to(bindings: bytes) -> Identity:
        return drive_gss_ntlmssp(backend, client_users, wrapping, bindings=bindings, given=APPLICATION_DATA)

    assert bound_to(APPLICATION_DATA).channel_bound
    assert not bound_to(b"").channel_bound
    with pytest.raises(AcceptError, match="bad-bindings"):
        bound_to(OTHER_DATA)


# --- over HTTP, where a client does the whole handshake by itself


class Handler(BaseHTTPRequestHandler):
    """A connection of the least server that does connection-oriented authentication."""

    protocol_version = "HTTP/1.1"
    backend: ClassVar[PyspnegoBackend]
    context: Context | None = None

    def do_GET(self) -> None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not token:
            return self.answer(401, ["NTLM", "Negotiate"], "")
        if self.context is None:
            self.context = Context(self.backend)
        try:
            result = self.backend.step(self.context, base64.b64decode(token), None)
        except AcceptError as error:
            return self.answer(403, [], error.reason)
        challenge = scheme + " " + base64.b64encode(result.token or b"").decode()
        if result.identity is None:
            return self.answer(401, [challenge], "")
        return self.answer(200, [challenge] if result.token else [], result.identity.principal)

    def answer(self, status: int, challenges: list[str], body: str) -> None:
        self.send_response(status)
        for challenge in challenges:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url(backend: PyspnegoBackend) -> Iterator[str]:
    handler = type("Handler", (Handler,), {"backend": backend})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def curl(*arguments: str, **environment: str) -> str:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl isn't installed")
    done = subprocess.run(
        [program, "--silent", "--show-error", "--noproxy", "*", *arguments],
        capture_output=True, text=True, check=True, timeout=20, env={**os.environ, **environment},
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(
    ("credentials", "body"),
    [
        ("CORP\\alice:secret", "CORP\\alice"),
        ("alice:secret", "CORP\\alice"),
        ("CORP\\alice:wrong", "logon-failed"),
        ("CORP\\mallory:secret", "logon-failed"),
    ],
)
def test_curl_with_its_own_ntlm(url: str, credentials: str, body: str) -> None:
    """Which speaks a code page, makes no MIC and signs nothing."""
    assert curl("--ntlm", "--user", credentials, url) == body


@needs_gss_ntlmssp
def test_curl_with_gss_ntlmssp(url: str, client_users: Path) -> None:
    """curl sends no token to an address, so the server gets a name."""
    named = url.replace("127.0.0.1", "www.corp.example")
    port = url.rstrip("/").rpartition(":")[2]

    body = curl(
        "--negotiate", "--user", ":", "--resolve", f"www.corp.example:{port}:127.0.0.1", named,
        NTLM_USER_FILE=str(client_users),
    )  # fmt: skip

    assert body == "CORP\\alice"


@pytest.mark.parametrize(("password", "body"), [("secret", "CORP\\alice"), ("wrong", "logon-failed")])
def test_requests_ntlm(url: str, password: str, body: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.auth = RequestsNtlmAuth("CORP\\alice", password)

        assert session.get(url, timeout=20).text == body


@pytest.mark.parametrize(("password", "body"), [("secret", "CORP\\alice"), ("wrong", "logon-failed")])
def test_httpx_ntlm(url: str, password: str, body: str) -> None:
    with httpx.Client(auth=HttpxNtlmAuth("CORP\\alice", password), trust_env=False) as client:
        assert client.get(url).text == body
