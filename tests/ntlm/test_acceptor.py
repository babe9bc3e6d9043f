"""The built-in NTLM acceptor, leg by leg: who gets in, who doesn't, and that nobody is believed."""

import logging
import os
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import spnego
from hypothesis import given, settings
from hypothesis import strategies as st

from negotiate_mw.accept import AcceptError, AcceptResult, ContextFlag, SecStatus
from negotiate_mw.backends import Context
from negotiate_mw.backends import ntlmv2 as module
from negotiate_mw.backends.ntlmv2 import nt_hash
from negotiate_mw.backends.pyspnego import PyspnegoBackend
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.identity import Identity
from negotiate_mw.wire import ntlm
from negotiate_mw.wire.spnego import Continuation, read, response
from tests.wire.building import KRB5_OID, NEGOEX_OID, NTLM_OID, SPNEGO_OID, tlv

from . import answering
from .answering import ASKED, WEB, Client, bindings_hash
from .conftest import WriteUsers

APPLICATION_DATA = b"tls-server-end-point:" + bytes(range(32))
INTEGRITY = ContextFlag.INTEGRITY | ContextFlag.REPLAY_DETECT | ContextFlag.SEQUENCE_DETECT
DUMMY_SIGNATURE = b"\1" + bytes(15)


def mech_list(*oids: bytes) -> bytes:
    return tlv(0x30, *oids)


def init(*oids: bytes, token: bytes | None = None, mic: bytes | None = None) -> bytes:
    """A NegTokenInit."""
    fields = [tlv(0xA0, mech_list(*oids))]
    if token is not None:
        fields.append(tlv(0xA2, tlv(4, token)))
    if mic is not None:
        fields.append(tlv(0xA3, tlv(4, mic)))
    return tlv(0x60, SPNEGO_OID, tlv(0xA0, tlv(0x30, *fields)))


def answered(result: AcceptResult) -> Continuation:
    assert result.token is not None
    message = read(result.token)
    assert isinstance(message, Continuation)
    return message


def challenged(backend: PyspnegoBackend, client: Client) -> tuple[Context, bytes]:
    """A context that sent its challenge to a bare token."""
    context = Context(backend)
    result = backend.step(context, client.negotiate(), None)
    assert result.status is SecStatus.CONTINUE_NEEDED
    assert result.token is not None
    return context, result.token


def log_in(backend: PyspnegoBackend, client: Client, bindings: bytes | None = None) -> Identity:
    context, challenge = challenged(backend, client)
    result = backend.step(context, client.authenticate(challenge), bindings)
    assert result.status is SecStatus.OK
    assert result.token is None
    assert result.expires_at is None
    assert result.identity is not None
    assert result.attributes == result.identity.attributes
    return result.identity


def refused(backend: PyspnegoBackend, context: Context, token: bytes, bindings: bytes | None = None) -> AcceptError:
    with pytest.raises(AcceptError) as caught:
        backend.step(context, token, bindings)
    assert caught.value.mechanism == "ntlm"
    return caught.value


def log_in_refused(backend: PyspnegoBackend, client: Client, bindings: bytes | None = None) -> tuple[SecStatus, str]:
    context, challenge = challenged(backend, client)
    error = refused(backend, context, client.authenticate(challenge), bindings)
    return error.status, error.reason


class Outcome(NamedTuple):
    status: SecStatus
    identity: Identity | None


def outcome(backend: PyspnegoBackend, context: Context, token: bytes, bindings: bytes | None = None) -> Outcome:
    """What came of a step, if nothing broke."""
    try:
        result = backend.step(context, token, bindings)
    except AcceptError as error:
        if error.status is SecStatus.INTERNAL_ERROR:
            raise
        return Outcome(error.status, None)
    return Outcome(result.status, result.identity)


# --- who gets in


def test_right_password_is_the_user_as_the_file_spells_it(backend: PyspnegoBackend) -> None:
    alice = log_in(backend, Client())
    bob = log_in(backend, Client(domain="corp", user="BOB", password="hunter2"))

    assert (alice.principal, alice.account_id, alice.realm, alice.mechanism) == (
        "CORP\\alice", "CORP\\alice", "CORP", "ntlm",
    )  # fmt: skip
    assert alice.expires_at is None
    assert alice.attributes == INTEGRITY | ContextFlag.CONFIDENTIALITY
    assert not alice.is_service
    assert (bob.principal, bob.realm, bob.bare_name) == ("CORP\\Bob", "CORP", "Bob")


def test_attributes_are_what_client_and_acceptor_agreed_on(backend: PyspnegoBackend) -> None:
    assert log_in(backend, Client(asked=WEB)).attributes == ContextFlag(0)
    assert log_in(backend, Client(asked=ASKED | answering.IDENTIFY)).attributes & ContextFlag.IDENTIFY
    assert log_in(backend, Client(asked=WEB, flags=ASKED, mic="none")).attributes == ContextFlag(0)


def test_client_without_extended_security_gets_no_integrity(backend: PyspnegoBackend) -> None:
    assert log_in(backend, Client(asked=ASKED & ~answering.EXTENDED)).attributes == ContextFlag(0)


def test_client_without_unicode_is_read_as_ascii(backend: PyspnegoBackend) -> None:
    client = Client(asked=answering.OEM | answering.NTLM | answering.ALWAYS_SIGN, mic="none")

    assert log_in(backend, client).principal == "CORP\\alice"


def test_client_without_any_encoding_is_refused(backend: PyspnegoBackend) -> None:
    error = refused(backend, Context(backend), answering.negotiate(ASKED & ~answering.UNICODE))

    assert (error.status, error.reason) == (SecStatus.INVALID_TOKEN, "malformed")


def test_client_without_a_domain_means_the_only_one(backend: PyspnegoBackend, write_users: WriteUsers) -> None:
    assert log_in(backend, Client(domain="")).principal == "CORP\\alice"

    two = PyspnegoBackend(users=write_users("CORP:alice:secret\nLAB:bob:hunter2\n"))
    two.acquire()

    assert log_in_refused(two, Client(domain="")) == (SecStatus.LOGON_DENIED, "logon-failed")


def test_computer_is_a_service(write_users: WriteUsers) -> None:
    backend = PyspnegoBackend(users=write_users("CORP:pc1$:secret\n"))

    assert log_in(backend, Client(user="PC1$")).is_service


@pytest.mark.parametrize(
    ("users", "asked", "shown"),
    [
        ("CORP:alice:x\n", ASKED, "CORP"),
        ("CORP:alice:x\nLAB:alice:x\n", ASKED, "NEGOTIATE"),
        ("BÜRO:alice:x\n", ASKED, "BÜRO"),
        ("BÜRO:alice:x\n", ASKED & ~answering.UNICODE | answering.OEM, "NEGOTIATE"),
    ],
)
def test_challenge_names_the_only_domain_and_nothing_of_this_machine(
    write_users: WriteUsers, users: str, asked: int, shown: str
) -> None:
    backend = PyspnegoBackend(users=write_users(users))
    _, challenge = challenged(backend, Client(asked=asked))

    message = spnego._ntlm_raw.messages.Challenge.unpack(challenge)

    assert message.target_name == shown
    assert [*message.target_info.values()][:2] == [shown, "SERVER"]
    assert abs(time.time() - message.target_info[7].timestamp()) < 86_400
    assert os.uname().nodename.encode("utf-16-le").lower() not in challenge.lower()


def test_challenges_are_never_the_same(backend: PyspnegoBackend) -> None:
    nonces = {challenged(backend, Client())[1][24:32] for _ in range(100)}

    assert len(nonces) == 100


# --- who doesn't


@pytest.mark.parametrize(
    "client",
    [
        Client(password="Secret"),
        Client(user="mallory"),
        Client(domain="LAB"),
        Client(user="alice", password="hunter2"),
        Client(user="guest", password=""),
        Client(user="ali\0ce"),
    ],
)
def test_wrong_password_and_unknown_user_are_refused_alike(backend: PyspnegoBackend, client: Client) -> None:
    assert log_in_refused(backend, client) == (SecStatus.LOGON_DENIED, "logon-failed")


def test_unknown_user_whose_answer_would_fit_is_refused(
    backend: PyspnegoBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the hash that unknown users are held against were known."""
    monkeypatch.setattr(module, "_NOBODY", module.NtlmUser(domain="", name="", nt_hash=nt_hash("known")))

    assert log_in_refused(backend, Client(user="mallory", password="known")) == (SecStatus.LOGON_DENIED, "logon-failed")


def test_unknown_user_is_held_against_a_hash_too(backend: PyspnegoBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("ntowfv2", "hmac_md5", "compare_digest"):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, name=name, real=real: calls.append(name) or real(*args))

    log_in_refused(backend, Client(password="wrong"))
    known = calls.copy()
    log_in_refused(backend, Client(user="mallory"))

    assert known == ["ntowfv2", "hmac_md5", "compare_digest"]
    assert calls == 2 * known


def test_unknown_user_and_wrong_password_take_the_same_time(backend: PyspnegoBackend) -> None:
    seconds: dict[str, list[float]] = {"alice": [], "mallory": []}
    for _ in range(300):
        for user, taken in seconds.items():
            client = Client(user=user, password="wrong")
            context, challenge = challenged(backend, client)
            token = client.authenticate(challenge)
            begun = time.perf_counter()
            refused(backend, context, token)
            taken.append(time.perf_counter() - begun)

    difference = statistics.median(seconds["alice"]) - statistics.median(seconds["mallory"])

    assert abs(difference) < 50e-6


@pytest.mark.parametrize(
    "client",
    [
        Client(nt=bytes(24), lm=bytes(range(24)), mic="none"),
        Client(nt=bytes(24), lm=b"nonce-8." + bytes(16), mic="none"),  # NTLM2 session
        Client(nt=b"", lm=bytes(range(24)), mic="none"),
        Client(nt=bytes(23), mic="none"),
    ],
)
@pytest.mark.parametrize("level", ["0", "3", None])
def test_anything_weaker_than_ntlm_v2_is_refused_whatever_the_environment_says(
    backend: PyspnegoBackend, monkeypatch: pytest.MonkeyPatch, client: Client, level: str | None
) -> None:
    if level is not None:
        monkeypatch.setenv("LM_COMPAT_LEVEL", level)

    assert log_in_refused(backend, client) == (SecStatus.LOGON_DENIED, "ntlm-v1")


def test_right_ntlm_v1_answer_is_refused(backend: PyspnegoBackend) -> None:
    context, challenge = challenged(backend, Client(asked=ASKED & ~answering.EXTENDED))
    nt, lm, _ = spnego._ntlm_raw.crypto.compute_response_v1(
        0, nt_hash("secret"), bytes(16), challenge[24:32], bytes(8), no_lm_response=True
    )
    token = Client(nt=nt, lm=lm, mic="none").authenticate(challenge)

    error = refused(backend, context, token)

    assert (error.status, error.reason) == (SecStatus.LOGON_DENIED, "ntlm-v1")


@pytest.mark.parametrize(
    "client",
    [
        Client(user="", domain="", nt=b"", lm=b"\0", mic="none"),
        Client(user="", mic="none"),
        Client(nt=b"", lm=b"", mic="none"),
        Client(flags=ASKED | answering.ANONYMOUS),
    ],
)
def test_anonymous_is_refused(backend: PyspnegoBackend, client: Client) -> None:
    assert log_in_refused(backend, client) == (SecStatus.LOGON_DENIED, "anonymous")


def test_third_message_on_another_context_is_refused(backend: PyspnegoBackend) -> None:
    client = Client()
    context, challenge = challenged(backend, client)
    token = client.authenticate(challenge)
    assert backend.step(context, token, None).identity is not None
    other, _ = challenged(backend, client)

    error = refused(backend, other, token)

    assert (error.status, error.reason) == (SecStatus.LOGON_DENIED, "logon-failed")


def test_third_message_first_is_refused(backend: PyspnegoBackend) -> None:
    _, challenge = challenged(backend, Client())

    error = refused(backend, Context(backend), Client().authenticate(challenge))

    assert (error.status, error.reason) == (SecStatus.INVALID_TOKEN, "no-handshake")


@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_context_takes_no_leg_after_its_last(backend: PyspnegoBackend, password: str) -> None:
    client = Client()
    context, challenge = challenged(backend, client)
    try:
        backend.step(context, Client(password=password).authenticate(challenge), None)
    except AcceptError:
        assert password == "wrong"

    error = refused(backend, context, client.authenticate(challenge))

    assert (error.status, error.reason) == (SecStatus.INVALID_HANDLE, "context-deleted")


# --- the MIC


@pytest.mark.parametrize("mic", ["none", "unsaid"])
def test_client_that_claims_no_mic_needs_none(backend: PyspnegoBackend, mic: str) -> None:
    assert log_in(backend, Client(mic=mic)).principal == "CORP\\alice"


@pytest.mark.parametrize("mic", ["wrong", "taken out"])
@pytest.mark.parametrize("asked", [ASKED, WEB])
def test_mic_that_was_made_must_be_there_and_right(backend: PyspnegoBackend, mic: str, asked: int) -> None:
    assert log_in_refused(backend, Client(mic=mic, asked=asked)) == (SecStatus.LOGON_DENIED, "mic")


def test_mic_covers_the_first_message(backend: PyspnegoBackend) -> None:
    context = Context(backend)
    challenge = backend.step(context, answering.negotiate(ASKED | 0x400), None).token
    assert challenge is not None

    error = refused(backend, context, Client().authenticate(challenge))

    assert error.reason == "mic"


def test_mic_covers_the_challenge(backend: PyspnegoBackend) -> None:
    client = Client()
    context, challenge = challenged(backend, client)

    error = refused(backend, context, client.authenticate(challenge + b"\0"))

    assert error.reason == "mic"


@pytest.mark.parametrize("session_key", [b"", bytes(15), bytes(17)])
def test_session_key_of_the_wrong_size_is_refused(backend: PyspnegoBackend, session_key: bytes) -> None:
    assert log_in_refused(backend, Client(session_key=session_key)) == (SecStatus.INVALID_TOKEN, "malformed")


# --- channel bindings


def test_bindings_that_match_are_proof(backend: PyspnegoBackend) -> None:
    identity = log_in(backend, Client(bindings=bindings_hash(APPLICATION_DATA)), APPLICATION_DATA)

    assert identity.channel_bound
    assert identity.attributes & ContextFlag.CHANNEL_BOUND


@pytest.mark.parametrize("bindings", [None, bytes(16)])
def test_bindings_that_are_absent_or_zero_are_let_in_and_prove_nothing(
    backend: PyspnegoBackend, bindings: bytes | None
) -> None:
    identity = log_in(backend, Client(bindings=bindings), APPLICATION_DATA)

    assert not identity.channel_bound
    assert not identity.attributes & ContextFlag.CHANNEL_BOUND


def test_bindings_to_another_channel_are_refused(backend: PyspnegoBackend) -> None:
    client = Client(bindings=bindings_hash(b"tls-server-end-point:" + bytes(32)))

    assert log_in_refused(backend, client, APPLICATION_DATA) == (SecStatus.BAD_BINDINGS, "bad-bindings")


def test_bindings_of_the_client_alone_prove_nothing(backend: PyspnegoBackend) -> None:
    identity = log_in(backend, Client(bindings=bindings_hash(APPLICATION_DATA)), None)

    assert not identity.channel_bound


def test_wrong_password_is_told_before_wrong_bindings(backend: PyspnegoBackend) -> None:
    client = Client(password="wrong", bindings=bytes(15) + b"\1")

    assert log_in_refused(backend, client, APPLICATION_DATA) == (SecStatus.LOGON_DENIED, "logon-failed")


# --- SPNEGO


def begin(backend: PyspnegoBackend, token: bytes) -> tuple[Context, AcceptResult]:
    context = Context(backend)
    result = backend.step(context, token, None)
    assert result.status is SecStatus.CONTINUE_NEEDED
    return context, result


def challenge_in(result: AcceptResult) -> bytes:
    token = answered(result).mech_token
    assert token is not None
    return token


def test_spnego_with_ntlm_first_takes_two_legs(backend: PyspnegoBackend) -> None:
    client = Client()
    context, first = begin(backend, init(NTLM_OID, token=client.negotiate()))
    assert (answered(first).state, answered(first).mechanism) == (1, ntlm_oid())

    done = backend.step(context, response(state=1, token=client.authenticate(challenge_in(first))), None)

    assert done.identity is not None
    assert done.token == response(state=0)


def test_spnego_mech_list_mic_is_checked_and_answered(backend: PyspnegoBackend) -> None:
    client = Client()
    signed = mech_list(NTLM_OID, KRB5_OID)
    context, first = begin(backend, init(NTLM_OID, KRB5_OID, token=client.negotiate()))
    token = client.authenticate(challenge_in(first))

    done = backend.step(context, response(state=1, token=token, mic=client.signature(signed)), None)

    assert done.identity is not None
    assert done.token == response(state=0, mic=client.signature(signed, "server-to-client"))


def test_spnego_mech_list_that_was_changed_is_refused(backend: PyspnegoBackend) -> None:
    client = Client()
    context, first = begin(backend, init(NTLM_OID, token=client.negotiate()))
    token = client.authenticate(challenge_in(first))
    signed = mech_list(KRB5_OID, NTLM_OID)

    error = refused(backend, context, response(state=1, token=token, mic=client.signature(signed)))

    assert (error.status, error.reason) == (SecStatus.LOGON_DENIED, "mech-list-mic")


@pytest.mark.parametrize(
    ("first", "state"),
    [
        (init(KRB5_OID, NTLM_OID, token=b"for Kerberos"), 3),
        (init(NEGOEX_OID, NTLM_OID), 3),
        (init(NTLM_OID), 1),
    ],
)
def test_spnego_without_a_token_of_ours_takes_three_legs(backend: PyspnegoBackend, first: bytes, state: int) -> None:
    client = Client()
    message = read(first)
    context, asked = begin(backend, first)
    assert asked.token == response(state=state, mechanism=ntlm_oid())

    second = backend.step(context, response(state=1, token=client.negotiate()), None)
    assert answered(second).mechanism is None
    token = client.authenticate(challenge_in(second))
    signature = client.signature(message.mech_list)  # type: ignore[union-attr]
    done = backend.step(context, response(state=1, token=token, mic=signature), None)

    assert done.identity is not None
    assert answered(done).mic is not None


def third_leg(backend: PyspnegoBackend, client: Client, *oids: bytes) -> tuple[Context, bytes]:
    context, _ = begin(backend, init(*oids))
    second = backend.step(context, response(state=1, token=client.negotiate()), None)
    return context, client.authenticate(challenge_in(second))


def test_spnego_list_that_prefers_another_must_be_signed(backend: PyspnegoBackend) -> None:
    context, token = third_leg(backend, Client(), KRB5_OID, NTLM_OID)

    error = refused(backend, context, response(state=1, token=token))

    assert (error.status, error.reason) == (SecStatus.LOGON_DENIED, "mech-list-mic")


def test_spnego_signature_that_anybody_can_make_is_no_signature(backend: PyspnegoBackend) -> None:
    context, token = third_leg(backend, Client(asked=WEB), KRB5_OID, NTLM_OID)

    error = refused(backend, context, response(state=1, token=token, mic=DUMMY_SIGNATURE))

    assert (error.status, error.reason) == (SecStatus.LOGON_DENIED, "mech-list-mic")


def test_spnego_signature_that_anybody_can_make_does_where_none_is_needed(backend: PyspnegoBackend) -> None:
    context, token = third_leg(backend, Client(asked=WEB), NTLM_OID)

    done = backend.step(context, response(state=1, token=token, mic=DUMMY_SIGNATURE), None)

    assert done.token == response(state=0, mic=DUMMY_SIGNATURE)


def test_spnego_signature_without_any_signing_is_refused(backend: PyspnegoBackend) -> None:
    context, token = third_leg(backend, Client(asked=WEB & ~answering.ALWAYS_SIGN), NTLM_OID)

    error = refused(backend, context, response(state=1, token=token, mic=DUMMY_SIGNATURE))

    assert (error.status, error.reason) == (SecStatus.LOGON_DENIED, "mech-list-mic")


def test_spnego_mic_before_there_is_a_key_is_refused(backend: PyspnegoBackend) -> None:
    error = refused(backend, Context(backend), init(NTLM_OID, token=Client().negotiate(), mic=DUMMY_SIGNATURE))

    assert (error.status, error.reason) == (SecStatus.INVALID_TOKEN, "malformed")


@pytest.mark.parametrize("oids", [(KRB5_OID,), (KRB5_OID, NEGOEX_OID)])
def test_spnego_without_ntlm_is_refused(backend: PyspnegoBackend, oids: tuple[bytes, ...]) -> None:
    error = refused(backend, Context(backend), init(*oids, token=Client().negotiate()))

    assert (error.status, error.reason) == (SecStatus.UNSUPPORTED_FUNCTION, "mechanism-not-allowed")


ACCEPT_COMPLETED = response(state=0)


def test_accept_completed_as_first_leg_is_refused(backend: PyspnegoBackend) -> None:
    error = refused(backend, Context(backend), ACCEPT_COMPLETED)

    assert (error.status, error.reason) == (SecStatus.INVALID_TOKEN, "no-handshake")


@pytest.mark.parametrize("first", [init(NTLM_OID), init(NTLM_OID, token=answering.negotiate())])
@pytest.mark.parametrize("mic", [None, DUMMY_SIGNATURE])
def test_accept_completed_instead_of_a_proof_is_refused(
    backend: PyspnegoBackend, first: bytes, mic: bytes | None
) -> None:
    context, _ = begin(backend, first)

    error = refused(backend, context, response(state=0, mic=mic))

    assert (error.status, error.reason) == (SecStatus.INVALID_TOKEN, "no-proof")


def test_accept_completed_after_a_refused_password_is_refused(backend: PyspnegoBackend) -> None:
    client = Client(password="wrong")
    context, first = begin(backend, init(NTLM_OID, token=client.negotiate()))
    refused(backend, context, response(state=1, token=client.authenticate(challenge_in(first))))

    error = refused(backend, context, ACCEPT_COMPLETED)

    assert (error.status, error.reason) == (SecStatus.INVALID_HANDLE, "context-deleted")


def test_accept_completed_with_a_wrong_proof_is_refused(backend: PyspnegoBackend) -> None:
    client = Client(password="wrong")
    context, first = begin(backend, init(NTLM_OID, token=client.negotiate()))

    error = refused(backend, context, response(state=0, token=client.authenticate(challenge_in(first))))

    assert (error.status, error.reason) == (SecStatus.LOGON_DENIED, "logon-failed")


@pytest.mark.parametrize(
    "leg",
    [
        init(NTLM_OID, token=answering.negotiate()),
        answering.negotiate(),
        Client().authenticate(b"NTLMSSP\0\x02\0\0\0" + bytes(8) + ASKED.to_bytes(4, "little") + bytes(24)),
        response(state=2),
        response(state=1, mechanism="1.2.840.113554.1.2.2", token=b"x"),
    ],
)
def test_leg_that_does_not_fit_is_refused(backend: PyspnegoBackend, leg: bytes) -> None:
    context, _ = begin(backend, init(NTLM_OID, token=answering.negotiate()))

    error = refused(backend, context, leg)

    assert (error.status, error.reason) == (SecStatus.INVALID_TOKEN, "unexpected-message")


def test_wrapped_leg_in_a_bare_handshake_is_refused(backend: PyspnegoBackend) -> None:
    client = Client()
    context, challenge = challenged(backend, client)

    error = refused(backend, context, response(state=1, token=client.authenticate(challenge)))

    assert (error.status, error.reason) == (SecStatus.INVALID_TOKEN, "unexpected-message")


# --- hostile bytes


def test_no_flipped_bit_of_the_third_message_makes_somebody_else(backend: PyspnegoBackend) -> None:
    client = Client(mic="none", bindings=bindings_hash(APPLICATION_DATA))
    principals = set()
    for position in range(8 * len(client.authenticate(challenged(backend, client)[1]))):
        context, challenge = challenged(backend, client)
        token = bytearray(client.authenticate(challenge))
        token[position // 8] ^= 1 << position % 8
        identity = outcome(backend, context, bytes(token), APPLICATION_DATA).identity
        if identity is not None:
            principals.add((identity.principal, identity.channel_bound))

    assert principals == {("CORP\\alice", True)}


def test_with_a_mic_no_flipped_bit_gets_in(backend: PyspnegoBackend) -> None:
    client = Client()
    for position in range(8 * len(client.authenticate(challenged(backend, client)[1]))):
        context, challenge = challenged(backend, client)
        token = bytearray(client.authenticate(challenge))
        token[position // 8] ^= 1 << position % 8

        assert refused(backend, context, bytes(token)).status is not SecStatus.INTERNAL_ERROR


def test_message_cut_anywhere_is_refused(backend: PyspnegoBackend) -> None:
    client = Client()
    for message in (0, 1):
        for length in range(len(client.authenticate(challenged(backend, client)[1])) if message else 32):
            context, challenge = challenged(backend, client)
            token = client.authenticate(challenge)[:length] if message else client.negotiate()[:length]

            error = refused(backend, context if message else Context(backend), token)

            assert error.status in (SecStatus.INVALID_TOKEN, SecStatus.INCOMPLETE_MESSAGE), length


PROPERTY = settings(derandomize=True, deadline=None, max_examples=300)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> PyspnegoBackend:
    path = tmp_path_factory.mktemp("fuzzed") / "users"
    path.touch(0o600)
    path.write_text("CORP:alice:secret\n")
    backend = PyspnegoBackend(users=path)
    backend.acquire()
    return backend


@given(data=st.data())
@PROPERTY
def test_whatever_comes_is_an_accept_error_or_alice(fuzzed: PyspnegoBackend, data: st.DataObject) -> None:
    client = Client(mic=data.draw(st.sampled_from(["right", "none"])))
    wrapped = data.draw(st.booleans())
    context = Context(fuzzed)
    first = init(NTLM_OID, token=client.negotiate()) if wrapped else client.negotiate()
    begun = fuzzed.step(context, first, None)
    assert begun.token is not None
    challenge = challenge_in(begun) if wrapped else begun.token
    token = bytearray(client.authenticate(challenge))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(token) - 1))
        length = data.draw(st.integers(0, 8))
        token[at : at + length] = data.draw(st.binary(max_size=8))
    last = response(state=1, token=bytes(token)) if wrapped else bytes(token)

    identity = outcome(fuzzed, context, last, APPLICATION_DATA).identity

    assert identity is None or identity.principal == "CORP\\alice"


@given(token=st.one_of(st.binary(), st.binary().map(lambda tail: b"NTLMSSP\0\1\0\0\0" + tail)))
@PROPERTY
def test_whatever_comes_first_is_an_accept_error_or_a_challenge(fuzzed: PyspnegoBackend, token: bytes) -> None:
    assert outcome(fuzzed, Context(fuzzed), token).identity is None


@pytest.mark.parametrize(
    ("raised", "status", "reason"),
    [
        (StopIteration("secret"), SecStatus.INTERNAL_ERROR, "internal"),
        (KeyError("secret"), SecStatus.INTERNAL_ERROR, "internal"),
        (MemoryError(), SecStatus.INSUFFICIENT_MEMORY, "memory"),
    ],
)
def test_foreign_exception_becomes_ours_and_tells_nothing(
    backend: PyspnegoBackend, monkeypatch: pytest.MonkeyPatch, raised: Exception, status: SecStatus, reason: str
) -> None:
    def fail(*_: Any) -> bytes:
        raise raised

    monkeypatch.setattr(module, "ntowfv2", fail)
    client = Client()
    context, challenge = challenged(backend, client)

    error = refused(backend, context, client.authenticate(challenge))

    assert (error.status, error.reason) == (status, reason)
    assert "secret" not in str(error)
    assert refused(backend, context, client.authenticate(challenge)).reason == "context-deleted"


# --- what others see


def test_nothing_of_a_token_is_logged(backend: PyspnegoBackend, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("", "spnego", "spnego._ntlm", "spnego._negotiate"):
        caplog.set_level(logging.DEBUG, name)
    log_in(backend, Client())
    log_in_refused(backend, Client(password="wrong"))

    assert caplog.records == []


def test_nothing_of_the_environment_is_read_or_changed(
    users: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.touch(0o600)
    other.write_text("CORP:alice:other\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(other))
    monkeypatch.setenv("LM_COMPAT_LEVEL", "no number")
    before = dict(os.environ)
    backend = PyspnegoBackend(users=users)

    assert log_in(backend, Client()).principal == "CORP\\alice"
    assert log_in_refused(backend, Client(password="other")) == (SecStatus.LOGON_DENIED, "logon-failed")
    assert dict(os.environ) == before


def test_two_user_files_in_one_process_do_not_mix(write_users: WriteUsers, tmp_path: Path) -> None:
    first = PyspnegoBackend(users=write_users("CORP:alice:one\n"))
    (tmp_path / "users").rename(tmp_path / "first")
    first = PyspnegoBackend(users=tmp_path / "first")
    second = PyspnegoBackend(users=write_users("CORP:alice:two\n"))

    assert log_in(first, Client(password="one")).principal == "CORP\\alice"
    assert log_in(second, Client(password="two")).principal == "CORP\\alice"
    assert log_in_refused(first, Client(password="two"))[1] == "logon-failed"
    assert log_in_refused(second, Client(password="one"))[1] == "logon-failed"


def test_nothing_secret_is_in_a_repr(backend: PyspnegoBackend) -> None:
    client = Client()
    context, challenge = challenged(backend, client)
    shown = repr(context.handle) + repr(ntlm.read_authenticate(client.authenticate(challenge)))
    shown += repr(backend._file.users) + repr(module._NOBODY)

    for secret in (challenge[24:32], nt_hash("secret"), client.key, module._NOBODY.nt_hash):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


# --- the user file


def test_acquire_says_what_is_wrong_with_the_user_file(tmp_path: Path) -> None:
    backend = PyspnegoBackend(users=tmp_path / "none")

    with pytest.raises(ConfigurationError, match=r"none' can't be read .*Acceptor\(ntlm_users="):
        backend.acquire()

    assert backend.problem() is not None
    assert backend.realms == frozenset()


def test_acquire_says_if_the_machine_lacks_the_cryptography(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: bytes) -> bytes:
        raise ValueError("unsupported hash type md5")

    monkeypatch.setattr(module, "hmac_md5", fail)

    with pytest.raises(ConfigurationError, match="no RC4 or MD5"):
        PyspnegoBackend(users=users).acquire()


@pytest.mark.parametrize("leg", [1, 2])
def test_user_file_that_goes_wrong_lets_nobody_in(
    backend: PyspnegoBackend, users: Path, monkeypatch: pytest.MonkeyPatch, leg: int
) -> None:
    client = Client()
    context, challenge = challenged(backend, client)
    monkeypatch.setattr("negotiate_mw.backends.ntlm_user_file._LOOK_SECONDS", 0)
    users.unlink()

    if leg == 1:
        error = refused(backend, Context(backend), client.negotiate())
    else:
        error = refused(backend, context, client.authenticate(challenge))

    assert (error.status, error.reason) == (SecStatus.NO_CREDENTIALS, "ntlm-users")


def test_user_file_is_followed(
    backend: PyspnegoBackend, write_users: WriteUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("negotiate_mw.backends.ntlm_user_file._LOOK_SECONDS", 0)
    domains = backend.realms
    assert backend.realms is domains == frozenset({"CORP"})

    write_users("LAB:carol:a longer password\n")

    assert backend.realms == frozenset({"LAB"})
    assert log_in(backend, Client(domain="LAB", user="carol", password="a longer password")).realm == "LAB"
    assert log_in_refused(backend, Client())[1] == "logon-failed"


def test_user_file_is_looked_at_once_a_second_at_most(
    backend: PyspnegoBackend, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(backend, Client())
    users.unlink()

    assert log_in(backend, Client()).principal == "CORP\\alice"


def test_backend_does_not_block(backend: PyspnegoBackend) -> None:
    assert not backend.may_block


def ntlm_oid() -> str:
    return "1.3.6.1.4.1.311.2.2.10"
