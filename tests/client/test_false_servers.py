"""The client against servers that are not what they seem, and connections that end at the wrong time."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import spnego

from negotiate_mw.client import ChannelError, MutualAuthenticationError, NegotiateAuth
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5, response
from negotiate_mw.wire.spnego import NTLM as NTLM_OID
from tests.parity.clients import BOB, PASSWORD

from .driving import KINDS, ask, ask_many, context
from .scripted import Heard, reply, scripted

pytestmark = pytest.mark.parametrize("kind", KINDS)
NTLM: dict[str, Any] = {"mechanisms": ("ntlm",), "username": BOB, "password": PASSWORD, "mutual": "optional"}
ASK = "WWW-Authenticate: Negotiate"
SECRET = "what a false server would have us believe"


@pytest.fixture(autouse=True)
def as_alice(kerberos_realm: KerberosRealm, alice: Path) -> Iterator[None]:
    with kerberos_realm.apply(alice):
        yield


def asking(then: Callable[[Heard], bytes]) -> Callable[[Heard], bytes]:
    return lambda heard: reply(401, ASK) if heard.token is None else then(heard)


def with_token(token: bytes, status: int = 200) -> bytes:
    return reply(status, f"{ASK} {b64encode(token).decode()}", body=SECRET)


FALSE = {
    "no token": reply(200, body=SECRET),
    "no base64": reply(200, f"{ASK} ???", body=SECRET),
    "junk": with_token(b"junk"),
    "two": reply(200, f"{ASK} YQ==", f"{ASK} Yg==", body=SECRET),
    "accepted, it says": with_token(response(state=0, mechanism=KRB5)),
    "accepted, with junk": with_token(response(state=0, mechanism=KRB5, token=b"junk")),
    "another mechanism": with_token(response(state=0, mechanism=NTLM_OID, token=b"junk")),
    "rejected, with 200": with_token(response(state=2)),
    "an error page": reply(500, body=SECRET),
    "a redirect": reply(302, "Location: /elsewhere"),
}


@pytest.mark.parametrize("preemptive", [False, True])
@pytest.mark.parametrize("said", FALSE.values(), ids=FALSE.keys())
def test_a_server_that_does_not_prove_itself_gives_no_answer(kind: str, said: bytes, preemptive: bool) -> None:
    with scripted(asking(lambda heard: said)) as server, pytest.raises(MutualAuthenticationError) as caught:
        ask(kind, NegotiateAuth(preemptive=preemptive), server.url)

    assert SECRET not in repr(caught.value)
    assert len(server.tokens) == 1


def test_the_proof_of_another_log_in_is_none(kind: str, kerberos_realm: KerberosRealm) -> None:
    import gssapi

    keytab = kerberos_realm.keytab("HTTP/localhost")
    proofs: list[bytes] = []

    def answer_of_the_first(heard: Heard) -> bytes:
        accepting = gssapi.Credentials(usage="accept", store={"keytab": str(keytab)})
        accepted = gssapi.raw.accept_sec_context(heard.token or b"", acceptor_creds=accepting)
        proofs.append(accepted.token or b"")
        return with_token(proofs[0])

    with scripted(asking(answer_of_the_first)) as server:
        assert ask(kind, NegotiateAuth(), server.url).status_code == 200
        with pytest.raises(MutualAuthenticationError):
            ask(kind, NegotiateAuth(), server.url)


def test_a_server_that_asks_for_ever_gets_one_token(kind: str) -> None:
    with scripted(lambda heard: reply(401, ASK)) as server:
        answer = ask(kind, NegotiateAuth(), server.url)

    assert answer.status_code == 401
    assert len(server.tokens) == 1


def test_redirects_in_a_ring_end(kind: str) -> None:
    def say(heard: Heard) -> bytes:
        return reply(401, ASK) if heard.token is None else reply(302, "Location: /again")

    with scripted(say) as server, pytest.raises(httpx.TooManyRedirects):
        ask(kind, NegotiateAuth(mutual="optional"), server.url, follow_redirects=True)

    tokens = [one.token for one in server.tokens]
    assert len(tokens) == len(set(tokens)) <= 20


def test_a_redirect_to_another_port_gets_no_token(kind: str) -> None:
    with scripted(lambda heard: reply(401, ASK)) as other:
        with scripted(lambda heard: reply(302, f"Location: {other.url}")) as server:
            answer = ask(kind, NegotiateAuth(), server.url, follow_redirects=True)

    assert answer.status_code == 401
    assert (len(other.heard), other.tokens) == (1, [])


def test_a_redirect_away_from_tls_gets_no_token_even_where_the_host_may_have_one(
    kind: str, certificates: tuple[Path, Path]
) -> None:
    with scripted(lambda heard: reply(401, ASK)) as other:
        with scripted(lambda heard: reply(302, f"Location: {other.url}"), certificates[0]) as server:
            answer = ask(
                kind,
                NegotiateAuth(hosts=["localhost"]),
                server.url,
                follow_redirects=True,
                verify=context(certificates[0]),
            )

    assert answer.status_code == 401
    assert (len(other.heard), other.tokens) == (1, [])


@pytest.mark.parametrize("preemptive", [False, True])
def test_a_host_that_may_have_no_token_gets_none(kind: str, preemptive: bool) -> None:
    auth = NegotiateAuth(hosts=["www.test.example", "*.localhost"], preemptive=preemptive)

    with scripted(lambda heard: reply(401, ASK)) as server:
        answer = ask(kind, auth, server.url)

    assert answer.status_code == 401
    assert (len(server.heard), server.tokens) == (1, [])


def test_a_proxy_gets_no_token_for_asking(kind: str) -> None:
    asks = reply(407, "Proxy-Authenticate: Negotiate", ASK)

    with scripted(lambda heard: asks) as proxy:
        answer = ask(kind, NegotiateAuth(), "http://www.test.example/", proxy=proxy.url)

    assert answer.status_code == 407
    assert (len(proxy.heard), proxy.tokens) == (1, [])
    assert "proxy-authorization" not in proxy.heard[0].head.lower()


# --- connections


class Challenging:
    """NTLM's challenges by pyspnego's acceptor."""

    def __init__(self, tmp_path: Path, *headers: str) -> None:
        self._headers = headers

    def __call__(self, heard: Heard) -> bytes:
        if heard.token is None:
            return reply(401, ASK)
        if heard.token[8] == 3:
            return reply(200)
        acceptor = spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
        token = b64encode(acceptor.step(heard.token) or b"").decode()
        return reply(401, f"{ASK} {token}", *self._headers)


@pytest.fixture
def ntlm_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users").write_text(f"CORP:bob:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "users"))


@pytest.mark.usefixtures("ntlm_users")
def test_a_second_leg_goes_over_no_new_connection(kind: str, tmp_path: Path) -> None:
    with scripted(Challenging(tmp_path, "Connection: close")) as server:
        with pytest.raises(ChannelError, match="the connection had ended"):
            ask(kind, NegotiateAuth(**NTLM), server.url, pinned=True)

    assert {one.token[8] for one in server.tokens if one.token} == {1}


@pytest.mark.usefixtures("ntlm_users")
def test_the_second_leg_follows_the_first_on_its_connection_under_load(kind: str, tmp_path: Path) -> None:
    with scripted(Challenging(tmp_path)) as server:
        answers = ask_many(kind, NegotiateAuth(**NTLM), [server.url] * 60, at_a_time=6, pinned=True)

    assert {answer.status_code for answer in answers} == {200}
    by_connection: dict[int, list[int]] = {}
    for one in server.heard:
        by_connection.setdefault(one.connection, []).append(one.token[8] if one.token else 0)
    assert all(legs == [0, 1, 3] * (len(legs) // 3) for legs in by_connection.values())
    assert len(by_connection) <= 6


def test_a_bound_token_goes_over_no_new_connection(kind: str, certificates: tuple[Path, Path]) -> None:
    auth = NegotiateAuth(channel_binding="required")

    with scripted(lambda heard: reply(401, ASK, "Connection: close"), certificates[0]) as server:
        with pytest.raises(ChannelError, match="the connection had ended"):
            ask(kind, auth, server.url, pinned=True, verify=context(certificates[0]))

    assert server.tokens == []


@pytest.mark.parametrize("pinned", [False, True])
def test_the_caller_s_own_trace_is_kept(kind: str, pinned: bool, certificates: tuple[Path, Path]) -> None:
    events: list[str] = []

    def trace(event: str, info: Any) -> None:
        events.append(event)

    async def async_trace(event: str, info: Any) -> None:
        events.append(event)

    with scripted(lambda heard: reply(401, ASK), certificates[0]) as server:
        ask(
            kind,
            NegotiateAuth(),
            server.url,
            pinned=pinned,
            verify=context(certificates[0]),
            extensions={"trace": trace if kind == "sync" else async_trace},
        )

    assert events.count("http11.send_request_headers.started") == 2
    assert events.count("connection.connect_tcp.started") == 1


def test_a_token_leaves_the_request_when_it_is_sent(kind: str) -> None:
    with scripted(lambda heard: reply(401, ASK)) as server:
        answer = ask(kind, NegotiateAuth(), server.url)

    assert len(server.tokens) == 1
    assert "authorization" not in answer.request.headers


def test_a_kdc_that_says_nothing_does_not_hold_up_the_loop(
    kind: str, kerberos_realm: KerberosRealm, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "sync":
        return
    from negotiate_mw.client.kerberos import KerberosInitiator

    real = KerberosInitiator.step

    def slow(self: KerberosInitiator, token: bytes | None) -> Any:
        time.sleep(0.5)
        return real(self, token)

    async def run(url: str) -> int:
        async with httpx.AsyncClient(auth=NegotiateAuth(), trust_env=False) as client:
            asking = asyncio.create_task(client.get(url))
            turns = 0
            while not asking.done():
                await asyncio.sleep(0.01)
                turns += 1
            return turns

    monkeypatch.setattr(KerberosInitiator, "step", slow)
    with scripted(lambda heard: reply(401, ASK)) as server:
        turns = asyncio.run(run(server.url))

    assert turns > 10
