"""The readers of NTLM messages: right ones are read, all else ends in a WireError."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire import ntlm
from negotiate_mw.wire.errors import Incomplete, WireError
from negotiate_mw.wire.ntlm import Answer
from tests.wire import vectors
from tests.wire.building import PROPERTY

from . import answering
from .answering import Client, av

CHALLENGE = b"NTLMSSP\0\2\0\0\0" + bytes(8) + answering.ASKED.to_bytes(4, "little") + bytes(24)
MESSAGE = Client().authenticate(CHALLENGE)
HEADER = 44


def v2(*pairs: bytes, end: bytes = bytes(8), version: bytes = b"\1\1", time: bytes = bytes(8)) -> bytes:
    """An NTLMv2_RESPONSE."""
    return b"p" * 16 + version + bytes(6) + time + b"nonce-8." + bytes(4) + b"".join(pairs) + end


def changed(at: int, value: bytes, message: bytes = MESSAGE) -> bytes:
    return message[:at] + value + message[at + len(value) :]


def field(length: int, offset: int) -> bytes:
    return struct.pack("<HHI", length, length, offset)


def refused(message: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        ntlm.read_authenticate(message)
    return caught.value


def test_negotiate_has_its_flags() -> None:
    assert ntlm.read_negotiate(answering.negotiate(0x42)).flags == 0x42
    assert ntlm.read_negotiate(vectors.NTLM_NEGOTIATE).flags & ntlm.UNICODE


@pytest.mark.parametrize("flag", [ntlm.DOMAIN_SUPPLIED, ntlm.WORKSTATION_SUPPLIED])
def test_negotiate_name_is_looked_at_only_where_the_flag_says_so(flag: int) -> None:
    at = 16 if flag == ntlm.DOMAIN_SUPPLIED else 24
    outside = changed(at, field(9, 32), answering.negotiate(0))

    assert ntlm.read_negotiate(outside).flags == 0
    assert (
        ntlm.read_negotiate(changed(12, flag.to_bytes(4, "little"), changed(at, field(8, 32), outside))).flags == flag
    )
    with pytest.raises(WireError, match="malformed"):
        ntlm.read_negotiate(changed(12, flag.to_bytes(4, "little"), outside))


def test_authenticate_has_its_fields() -> None:
    message = ntlm.read_authenticate(MESSAGE)

    assert (message.domain, message.user, message.workstation) == ("CORP", "alice", "PC1")
    assert message.flags == answering.ASKED
    assert message.answer is Answer.NTLM_V2
    assert len(message.session_key) == 16
    assert message.mic_at == 72
    assert ntlm.read_v2_response(message.nt_response).has_mic


def test_authenticate_of_real_clients() -> None:
    """pyspnego's, bare; gss-ntlmssp's is read by the clients' tests."""
    message = ntlm.read_authenticate(vectors.NTLM_AUTHENTICATE)
    answer = ntlm.read_v2_response(message.nt_response)

    assert message.user == "alice"
    assert message.mic_at == 72
    assert answer.target_name is not None
    assert answer.timestamp > 130_000_000_000_000_000


@pytest.mark.parametrize(
    ("client", "answer"),
    [
        (Client(nt=b"", lm=b""), Answer.NONE),
        (Client(nt=b"", lm=b"\0"), Answer.NONE),
        (Client(nt=b"", lm=b"x" * 24), Answer.LM),
        (Client(nt=b"x" * 24), Answer.NTLM_V1),
        (Client(nt=b"x"), Answer.NTLM_V1),
        (Client(nt=b"x" * 25), Answer.NTLM_V2),
    ],
)
def test_answer_is_told_by_its_length(client: Client, answer: Answer) -> None:
    assert ntlm.read_authenticate(client.authenticate(CHALLENGE)).answer is answer


@pytest.mark.parametrize(
    ("filling", "mic_at"), [(0, None), (8, None), (15, None), (16, 64), (23, 64), (24, 72), (100, 72)]
)
def test_mic_is_where_the_payload_leaves_room(filling: int, mic_at: int | None) -> None:
    payload = 64 + filling
    header = MESSAGE[:12] + b"".join(field(2 * (n == 3), payload) for n in range(6)) + MESSAGE[60:64]

    message = ntlm.read_authenticate(header + bytes(filling) + b"a\0")

    assert message.user == "a"
    assert message.mic_at == mic_at


def test_empty_field_is_nowhere_whatever_its_offset_says() -> None:
    assert ntlm.read_authenticate(changed(44, field(0, 0xFFFFFFFF))).workstation == ""
    assert ntlm.read_authenticate(changed(44, field(0, 64))).mic_at == 72


def test_mic_is_taken_out_in_its_place() -> None:
    mic = ntlm.mic(MESSAGE, 72)

    assert len(mic) == 16
    assert any(mic)
    assert ntlm.without_mic(MESSAGE, 72) == MESSAGE.replace(mic, bytes(16))


@pytest.mark.parametrize("at", range(12, 60, 8))
@pytest.mark.parametrize(
    ("length", "offset"),
    [
        (2, 63),
        (2, 0),
        (2, len(MESSAGE) - 1),
        (2, len(MESSAGE)),
        (0xFFFF, 64),
        (0xFFFE, 0xFFFF_FFFF),
        (0x40, 0xFFFF_FFF0),  # their sum, in 32 bits, would be within the message
        (len(MESSAGE) - 63, 64),
    ],
)
def test_field_outside_the_payload_is_refused(at: int, length: int, offset: int) -> None:
    assert refused(changed(at, field(length, offset))).reason == "malformed"


@pytest.mark.parametrize("at", [28, 36, 44])
@pytest.mark.parametrize("octets", [b"\x00\xd8", b"a\0b", b"\x00\xdca\0"])
def test_name_that_is_no_text_is_refused_and_not_quoted(at: int, octets: bytes) -> None:
    error = refused(changed(at, field(len(octets), len(MESSAGE))) + octets)

    assert error.reason == "malformed"
    assert error.__cause__ is None
    assert "xd8" not in str(error)


def test_name_in_a_code_page_is_refused_beyond_ascii() -> None:
    flags = (answering.ASKED & ~answering.UNICODE).to_bytes(4, "little")

    error = refused(changed(60, flags, changed(36, field(1, len(MESSAGE)))) + b"\xe9")

    assert "ascii" in error.detail


@pytest.mark.parametrize("length", [*range(64)])
def test_message_cut_in_its_header_is_incomplete(length: int) -> None:
    with pytest.raises(Incomplete):
        ntlm.read_authenticate(MESSAGE[:length])
    if length < 32:
        with pytest.raises(Incomplete):
            ntlm.read_negotiate(answering.negotiate()[:length])


@pytest.mark.parametrize("message", [b"NTLMSSQ\0" + bytes(60), b"x", CHALLENGE, answering.negotiate() + bytes(64)])
def test_another_message_is_refused(message: bytes) -> None:
    assert refused(message).reason in ("malformed", "unexpected-message")


def test_v2_response_has_its_pairs() -> None:
    name, when = "HTTP/www.corp.example".encode("utf-16-le"), (7).to_bytes(8, "little")
    pairs = (av(7, when), av(6, b"\2\0\0\0"), av(10, b"b" * 16), av(9, name), av(0x4711, b"unknown"))

    answer = ntlm.read_v2_response(v2(*pairs, time=when))

    assert answer.proof == b"p" * 16
    assert answer.signed == v2(*pairs, time=when)[16:]
    assert (answer.timestamp, answer.has_mic, answer.channel_bindings) == (7, True, b"b" * 16)
    assert answer.target_name == "HTTP/www.corp.example"


def test_v2_response_without_pairs_claims_nothing() -> None:
    answer = ntlm.read_v2_response(v2())

    assert (answer.has_mic, answer.channel_bindings, answer.target_name) == (False, None, None)


def test_v2_response_with_other_flags_claims_no_mic() -> None:
    assert not ntlm.read_v2_response(v2(av(6, b"\5\0\0\0"))).has_mic


def test_bindings_of_zeros_are_none() -> None:
    assert ntlm.read_v2_response(v2(av(10, bytes(16)))).channel_bindings is None
    assert ntlm.read_v2_response(v2(av(10, bytes(15) + b"\1"))).channel_bindings == bytes(15) + b"\1"


@pytest.mark.parametrize("end", [bytes(4), bytes(8), bytes(9), bytes(4) + b"filling"])
def test_pairs_end_where_their_end_says(end: bytes) -> None:
    assert ntlm.read_v2_response(v2(av(6, b"\2\0\0\0"), end=end)).has_mic


@pytest.mark.parametrize(
    "data",
    [
        b"",
        v2()[:47],
        v2(end=b"\0\0\1\0"),
        v2(av(6, b"\2\0\0\0"), end=b""),
        v2(av(6, b"\2\0\0\0"), end=b"\0\0\0"),
        v2(av(6, b"\2\0\0")),
        v2(av(6, b"\2\0\0\0\0")),
        v2(av(10, b"")),
        v2(av(10, b"b" * 15)),
        v2(av(7, bytes(7))),
        v2(av(6, bytes(4)), av(6, b"\2\0\0\0")),
        v2(av(1, b""), av(1, b"")),
        v2(av(9, b"\0\xd8")),
        v2(end=b"\1\0\xff\xff" + bytes(8)),
        v2(*(av(100 + n, b"") for n in range(65))),
        v2(version=b"\1\2"),
        v2(version=b"\2\1"),
    ],
)
def test_v2_response_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        ntlm.read_v2_response(data)


def test_as_many_pairs_as_are_allowed_are_read() -> None:
    assert ntlm.read_v2_response(v2(*(av(100 + n, b"") for n in range(64)))).proof


@given(st.binary(max_size=120))
@PROPERTY
def test_whatever_bytes_come_the_error_is_ours(tail: bytes) -> None:
    for kind, reader in ((1, ntlm.read_negotiate), (3, ntlm.read_authenticate)):
        for message in (tail, b"NTLMSSP\0" + bytes([kind, 0, 0, 0]) + tail):
            try:
                reader(message)
            except WireError:
                continue
    with contextlib.suppress(WireError):
        ntlm.read_v2_response(v2(end=tail))


@given(st.lists(st.tuples(st.integers(1, 0xFFFF), st.binary(max_size=20)), max_size=10, unique_by=lambda pair: pair[0]))
@PROPERTY
def test_pairs_that_are_read_say_what_was_written(pairs: list[tuple[int, bytes]]) -> None:
    written = dict(pairs)
    try:
        answer = ntlm.read_v2_response(v2(*(av(kind, value) for kind, value in pairs)))
    except WireError:
        assert any(kind in (6, 7, 9, 10) for kind in written)
        return

    assert answer.has_mic == bool(written.get(6, b"\0")[0] & 2)
    assert answer.channel_bindings == ((written.get(10, b"").strip(b"\0") and written[10]) or None)


def test_an_opening_message_is_as_short_as_openings_are() -> None:
    from negotiate_mw.wire import ntlm
    from negotiate_mw.wire.errors import WireError

    opening = b"NTLMSSP\0\x01\0\0\0" + bytes(20)

    assert ntlm.read_negotiate(opening + bytes(2016))
    with pytest.raises(WireError, match="limit"):
        ntlm.read_negotiate(opening + bytes(2017))
