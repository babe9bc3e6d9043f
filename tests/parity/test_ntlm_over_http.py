"""NTLM over real sockets, on a uvicorn that has nothing but the app and the middleware."""

import random
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import requests
from httpx_ntlm import HttpNtlmAuth as HttpxNtlmAuth  # type: ignore[import-untyped]
from requests_ntlm import HttpNtlmAuth as RequestsNtlmAuth

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import SPNEGO
from tests.integration.gss_client import Initiators
from tests.integration.serving import Answer, Server, Wire, get, serve
from tests.ntlm.answering import Client as HandMade
from tests.servers.clients import User

from .clients import BOB, OFFERS, PASSWORD, USERS, ask, curl, log_in, ntlm, third_message, token_of

ACCEPT_COMPLETED = bytes.fromhex("a1073005a0030a0100")  # RFC 4178 4.2.2: a NegTokenResp with that negState alone
BODY = b"x" * 1_000_000
UPLOADS = {
    "content-length": b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (50_000, BODY[at : at + 50_000]) for at in range(0, len(BODY), 50_000))
    + b"0\r\n\r\n",
}


def assert_bob(answer: Answer) -> None:
    assert answer.status == 200
    assert (answer.json["principal"], answer.json["mechanism"]) == (BOB, "ntlm")


# The right password


def test_nobody_is_asked_for_ntlm_before_negotiate(server: Server) -> None:
    answer = get(server)

    assert (answer.status, answer.challenges) == (401, OFFERS)


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "spnego"])
@pytest.mark.parametrize("user", [BOB, "corp\\BOB"])
def test_pyspnego_logs_in_under_negotiate(server: Server, wrapped: bool, user: str) -> None:
    client = ntlm(user, wrapped=wrapped)

    with Wire(server.port) as wire:
        answer = log_in(wire, client)

    assert_bob(answer)
    assert answer.json["username"] == BOB  # there is a realm beside the domain, so the bare name would be ambiguous
    assert answer.json["scopes"] == ["authenticated", "ntlm"]
    if wrapped:
        client.step(token_of(answer))
    assert client.complete


def test_a_message_made_by_hand_logs_in(server: Server) -> None:
    """So that the refusals of such messages, below, are for what is wrong with them."""
    client = HandMade(user="bob")

    with Wire(server.port) as wire:
        first = ask(wire, client.negotiate())
        answer = ask(wire, client.authenticate(token_of(first)))

    assert_bob(answer)


@pytest.fixture(scope="module")
def c_library(kerberos_realm: KerberosRealm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of bob, who has no ticket, in which the C library's clients find his password."""
    users = tmp_path_factory.mktemp("c-library") / "users"
    users.write_text(USERS)
    return {**kerberos_realm.environ(), "NTLM_USER_FILE": str(users)}


@pytest.mark.parametrize("raw", [True, False], ids=["bare", "spnego"])
def test_the_c_library_logs_in(server: Server, c_library: dict[str, str], raw: bool) -> None:
    with Initiators(c_library) as initiators, Wire(server.port) as wire:
        client = initiators.begin("HTTP@localhost", ["ntlm"], raw=raw)
        answer = log_in(wire, client)
        if not raw:
            client.step(token_of(answer))

    assert_bob(answer)
    assert client.complete


def test_curl_negotiates_ntlm_through_the_c_library(server: Server, c_library: dict[str, str]) -> None:
    said = curl(server.url, "--negotiate", "-u", ":", env=c_library)

    assert re.findall(r"^HTTP/1.1 (\d+)", said, re.M) == ["401", "200"]
    assert len(re.findall(r"^www-authenticate: Negotiate \S+", said, re.M)) == 2
    assert '"CORP\\\\bob"' in said


def test_curl_logs_in_by_the_ntlm_scheme(server: Server, service_env: dict[str, str]) -> None:
    said = curl(server.url, "--ntlm", "-u", f"{BOB}:{PASSWORD}", env=service_env)

    assert re.findall(r"^HTTP/1.1 (\d+)", said, re.M) == ["401", "200"]
    assert re.findall(r"^www-authenticate: (\w+) ", said, re.M) == ["NTLM"]
    assert '"CORP\\\\bob"' in said


def test_requests_ntlm_logs_in(server: Server) -> None:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(server.url, auth=RequestsNtlmAuth(BOB, PASSWORD))

    assert answer.status_code == 200
    assert answer.json()["principal"] == BOB
    assert [step.status_code for step in answer.history] == [401, 401]
    assert str(answer.request.headers["authorization"]).startswith("NTLM ")


def test_httpx_ntlm_logs_in(server: Server) -> None:
    with httpx.Client(trust_env=False, auth=HttpxNtlmAuth(BOB, PASSWORD)) as client:
        answer = client.get(server.url)

    assert answer.status_code == 200
    assert answer.json()["principal"] == BOB
    assert answer.request.headers["authorization"].startswith("NTLM ")


# Refusals


@dataclass(frozen=True)
class Situation:
    """A refusal: how it comes about, whether it is NTLM that was refused, and what the log calls it."""

    happen: Callable[[Server, pytest.MonkeyPatch], Answer]
    reason: str
    of_ntlm: bool = True


def whole(**client: object) -> Callable[[Server, pytest.MonkeyPatch], Answer]:
    """A log-in that is wrong in itself."""

    def happen(server: Server, _: pytest.MonkeyPatch) -> Answer:
        with Wire(server.port) as wire:
            return log_in(wire, ntlm(**client))  # type: ignore[arg-type]

    return happen


def ntlm_v1(server: Server, monkeypatch: pytest.MonkeyPatch) -> Answer:
    monkeypatch.setenv("LM_COMPAT_LEVEL", "1")
    return whole()(server, monkeypatch)


def ntlm_v1_by_hand(server: Server, _: pytest.MonkeyPatch) -> Answer:
    client = HandMade(user="bob", nt=bytes(range(24)))
    with Wire(server.port) as wire:
        return ask(wire, client.authenticate(token_of(ask(wire, client.negotiate()))))


def anonymous(server: Server, _: pytest.MonkeyPatch) -> Answer:
    client = HandMade(user="", domain="", nt=b"", lm=b"\0")
    with Wire(server.port) as wire:
        return ask(wire, client.authenticate(token_of(ask(wire, client.negotiate()))))


def replayed(where: str) -> Callable[[Server, pytest.MonkeyPatch], Answer]:
    def happen(server: Server, _: pytest.MonkeyPatch) -> Answer:
        client = ntlm()
        with Wire(server.port) as wire, Wire(server.port) as other:
            token = third_message(wire, client)
            assert_bob(ask(wire, token))
            if where == "same connection":
                return ask(wire, token)
            if where == "other connection":
                return ask(other, token)
            ask(other, ntlm().step())
            return ask(other, token)

    return happen


def stolen(wrapped: bool) -> Callable[[Server, pytest.MonkeyPatch], Answer]:
    def happen(server: Server, _: pytest.MonkeyPatch) -> Answer:
        with Wire(server.port) as wire, Wire(server.port) as other:
            token = third_message(wire, ntlm(wrapped=wrapped))
            answer = ask(other, token)
            assert_bob(ask(wire, token))
        return answer

    return happen


def completed_first(server: Server, _: pytest.MonkeyPatch) -> Answer:
    return get(server, token=ACCEPT_COMPLETED)


def completed_second(server: Server, _: pytest.MonkeyPatch) -> Answer:
    with Wire(server.port) as wire:
        ask(wire, ntlm(wrapped=True).step())
        return ask(wire, ACCEPT_COMPLETED)


def completed_after_a_refused_password(server: Server, _: pytest.MonkeyPatch) -> Answer:
    with Wire(server.port) as wire:
        assert log_in(wire, ntlm(password="wrong", wrapped=True)).status == 401
        return ask(wire, ACCEPT_COMPLETED)


def kerberos_by_the_ntlm_scheme(server: Server, _: pytest.MonkeyPatch) -> Answer:
    token = bytes.fromhex("601506062b0601050502a00b3009a0073005") + b"\x06\x03\x2a\x03\x04"
    with Wire(server.port) as wire:
        return ask(wire, token, scheme="NTLM")


def schemes_mixed(first: str, second: str) -> Callable[[Server, pytest.MonkeyPatch], Answer]:
    def happen(server: Server, _: pytest.MonkeyPatch) -> Answer:
        with Wire(server.port) as wire:
            return ask(wire, third_message(wire, ntlm(), scheme=first), scheme=second)

    return happen


def garbage(server: Server, _: pytest.MonkeyPatch) -> Answer:
    return get(server, token=b"garbage")


SITUATIONS = {
    "wrong password": Situation(whole(password="wrong"), "logon-failed"),
    "wrong password in SPNEGO": Situation(whole(password="wrong", wrapped=True), "logon-failed"),
    "no such user": Situation(whole(user="CORP\\mallory"), "logon-failed"),
    "no such domain": Situation(whole(user="OTHER\\bob"), "logon-failed"),
    "another user's password": Situation(whole(user="CORP\\carol"), "logon-failed"),
    "NTLMv1": Situation(ntlm_v1, "ntlm-v1"),
    "NTLMv1 by hand": Situation(ntlm_v1_by_hand, "ntlm-v1"),
    "anonymous": Situation(anonymous, "anonymous"),
    "third message again": Situation(replayed("same connection"), "no-handshake"),
    "third message again, elsewhere": Situation(replayed("other connection"), "no-handshake"),
    "third message again, after a new challenge": Situation(replayed("new challenge"), "logon-failed"),
    "third message elsewhere": Situation(stolen(wrapped=False), "no-handshake"),
    "third message elsewhere, in SPNEGO": Situation(stolen(wrapped=True), "no-handshake"),
    "accept-completed second": Situation(completed_second, "no-proof"),
    "SPNEGO by the NTLM scheme": Situation(kerberos_by_the_ntlm_scheme, "malformed"),
    "from NTLM to Negotiate": Situation(schemes_mixed("NTLM", "Negotiate"), "no-handshake"),
    "from Negotiate to NTLM": Situation(schemes_mixed("Negotiate", "NTLM"), "no-handshake"),
    "accept-completed first": Situation(completed_first, "no-handshake", of_ntlm=False),
    "accept-completed after a refused password": Situation(
        completed_after_a_refused_password, "no-handshake", of_ntlm=False
    ),
    "garbage": Situation(garbage, "malformed", of_ntlm=False),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_refusal_tells_nothing_and_refused_ntlm_is_not_asked_for_again(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation = SITUATIONS[name]
    mark = server.mark()

    answer = situation.happen(server, monkeypatch)
    reference = re.findall(rb"[0-9a-f]{12}", answer.body)[0].decode()

    plain = get(server)
    assert answer.status == 401
    assert answer.challenges == ([] if situation.of_ntlm else OFFERS)
    assert without_challenges(answer) == without_challenges(plain)
    server.until_logged(rf"refused with 401: {situation.reason}: .*reference={reference}", mark=mark)


def without_challenges(answer: Answer) -> tuple[object, ...]:
    """All that is the same in every refusal."""
    status, headers, body = answer.shape
    return status, [header for header in headers if header[0] != "www-authenticate"], body


def test_a_refused_log_in_leaves_the_connection_to_the_next(server: Server) -> None:
    with Wire(server.port) as wire:
        refused = log_in(wire, ntlm(password="wrong"))
        nobody = ask(wire, None)
        answer = log_in(wire, ntlm())

    assert (refused.status, nobody.status) == (401, 401)
    assert_bob(answer)


def test_a_log_in_is_good_for_one_request(server: Server) -> None:
    """Not for its connection, as elsewhere: a proxy may give that to somebody else."""
    with Wire(server.port) as wire:
        assert_bob(log_in(wire, ntlm()))
        answer = ask(wire, None)

    assert (answer.status, answer.challenges) == (401, OFFERS)


# The NTLM scheme


@pytest.mark.parametrize("wrapping", ["kerberos", "spnego"])
def test_a_good_ticket_by_the_ntlm_scheme_is_refused(
    server: Server, kerberos_realm: KerberosRealm, alice: Path, wrapping: str
) -> None:
    token = kerberos_realm.token("HTTP/localhost", alice, wrapping=wrapping)  # type: ignore[arg-type]

    with Wire(server.port) as wire:
        answer = ask(wire, token, scheme="NTLM")
        used_up = ask(wire, token)

    assert (answer.status, answer.challenges) == (401, [])
    assert used_up.status == 200, "the ticket wasn't read"


def test_where_ntlm_is_not_allowed_its_scheme_is_nothing_to_us(service_env: dict[str, str]) -> None:
    with serve("tests.parity.apps:names", env=service_env) as server, Wire(server.port) as wire:
        answer = ask(wire, ntlm().step(), scheme="NTLM")
        log = server.log

    assert (answer.status, answer.challenges) == (401, ["Negotiate"])
    assert "relayed" not in log


# Where connections aren't known


@pytest.mark.parametrize(
    ("target", "version"), [("/", "1.0"), ("/hidden", "1.1")], ids=["HTTP/1.0", "hidden connection"]
)
def test_ntlm_is_not_offered_where_no_connection_is_known(server: Server, target: str, version: str) -> None:
    answer = get(server, target, version=version)

    assert (answer.status, answer.challenges) == (401, ["Negotiate"])


@pytest.mark.parametrize("scheme", OFFERS)
@pytest.mark.parametrize(
    ("target", "version"), [("/", "1.0"), ("/hidden", "1.1")], ids=["HTTP/1.0", "hidden connection"]
)
def test_ntlm_that_comes_there_all_the_same_is_refused_once(
    server: Server, target: str, version: str, scheme: str
) -> None:
    mark = server.mark()

    with Wire(server.port) as wire:
        answer = ask(wire, ntlm().step(), target, version=version, scheme=scheme)

    assert (answer.status, answer.challenges) == (401, [])
    server.until_logged("refused with 401: needs-connection: ", mark=mark)


@pytest.mark.parametrize(("target", "version"), [("/", "1.0"), ("/hidden", "1.1")])
def test_a_ticket_is_good_there(
    server: Server, kerberos_realm: KerberosRealm, alice: Path, target: str, version: str
) -> None:
    answer = get(server, target, kerberos_realm.token("HTTP/localhost", alice), version=version)

    assert answer.status == 200


# Who is who


@pytest.mark.parametrize("seed", range(2))
def test_interleaved_log_ins_of_both_kinds_never_make_anybody_somebody_else(
    server: Server, kerberos_realm: KerberosRealm, alice: Path, seed: int
) -> None:
    """Many connections, each with one log-in after another, whose legs take turns in no order."""
    dice = random.Random(seed)
    ticket_holder = User(kerberos_realm, alice, "alice")
    passwords = {BOB: PASSWORD, "CORP\\carol": "another"}
    answered = 0

    def talk() -> Iterator[None]:
        nonlocal answered
        with Wire(server.port) as wire:
            for _ in range(6):
                name = dice.choice(["alice@TEST.EXAMPLE", *passwords])
                scheme = dice.choice(OFFERS) if name in passwords else "Negotiate"
                wrong = name in passwords and dice.random() < 0.2
                password = "wrong" if wrong else passwords.get(name, "")
                wrapped = scheme == "Negotiate" and dice.random() < 0.5
                client = ntlm(name, password, wrapped=wrapped) if password else ticket_holder.begin(SPNEGO)
                answer = ask(wire, client.step(), scheme=scheme)
                yield
                if password:
                    answer = ask(wire, client.step(token_of(answer, scheme)), scheme=scheme)
                    yield
                if wrong:
                    assert answer.status == 401
                else:
                    assert answer.status == 200
                    assert (answer.json["principal"], answer.json["username"]) == (name, name)
                answered += 1

    talks = [talk() for _ in range(40)]
    while talks:
        which = dice.choice(talks)
        if next(which, "ended") == "ended":
            talks.remove(which)

    assert answered == 240


def test_a_ticket_in_the_middle_of_an_ntlm_log_in_ends_that(
    server: Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    with Wire(server.port) as wire:
        token = third_message(wire, ntlm())
        kerberos = ask(wire, kerberos_realm.token("HTTP/localhost", alice))
        late = ask(wire, token)

    assert (kerberos.status, kerberos.json["principal"]) == (200, "alice@TEST.EXAMPLE")
    assert (late.status, late.challenges) == (401, [])


# Policy


@pytest.mark.parametrize(("user", "password"), [(BOB, PASSWORD), ("CORP\\carol", "another")])
def test_a_domain_that_is_listed_may_in(server: Server, user: str, password: str) -> None:
    with Wire(server.port) as wire:
        answer = log_in(wire, ntlm(user, password), "/domains")

    assert (answer.status, answer.json["principal"]) == (200, user)


def test_a_domain_that_is_not_listed_is_forbidden(server: Server) -> None:
    mark = server.mark()

    with Wire(server.port) as wire:
        answer = log_in(wire, ntlm(), "/other-domains")

    assert (answer.status, answer.challenges) == (403, [])
    server.until_logged(r"refused with 403: domain-not-allowed: 'CORP\\\\bob' ", mark=mark)


def test_where_no_log_in_is_required_a_token_must_be_good_all_the_same(server: Server) -> None:
    with Wire(server.port) as wire:
        nobody = ask(wire, None, "/optional")
        bob = log_in(wire, ntlm(), "/optional", scheme="NTLM")
        refused = log_in(wire, ntlm(password="wrong"), "/optional")
        nobody_again = ask(wire, None, "/optional")

    assert [answer.status for answer in (nobody, bob, refused, nobody_again)] == [200, 200, 401, 200]
    assert (nobody.json["principal"], nobody_again.json["principal"]) == (None, None)
    assert bob.json["principal"] == BOB


# Uploads


@pytest.mark.parametrize("scheme", OFFERS)
@pytest.mark.parametrize("body", UPLOADS)
def test_an_upload_that_comes_with_the_first_leg_keeps_its_connection(server: Server, scheme: str, body: str) -> None:
    client = ntlm()

    def upload(wire: Wire, token: bytes | None) -> Answer:
        wire.send(
            f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {scheme} {b64encode(token or b'').decode()}\r\n"
            .encode() + UPLOADS[body]
        )  # fmt: skip
        return wire.answer("POST")

    with Wire(server.port) as wire:
        first = upload(wire, client.step())
        second = upload(wire, client.step(token_of(first, scheme)))

    assert first.status == 401
    assert_bob(second)
    assert second.json["read"] == len(BODY)


def test_the_operator_is_warned_of_relays_at_start(server: Server) -> None:
    server.until_logged(
        r"WARNING negotiate_mw: NTLM is allowed without required channel binding, .*ChannelBinding\.required\(\)"
    )
