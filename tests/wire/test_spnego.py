"""First tokens, continuations and answers: real ones are read, all else ends in a WireError."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire import der, spnego
from negotiate_mw.wire.errors import Incomplete, WireError
from negotiate_mw.wire.spnego import Continuation, FirstToken, Wrapping, answer, opens, read, response

from . import building, vectors
from .building import (
    KRB5_OID,
    MS_KRB5_OID,
    NEGOEX_OID,
    NTLM_OID,
    PROPERTY,
    SPNEGO_OID,
    mech_types,
    octets,
    tlv,
)

TOKENS = {
    name: getattr(vectors, name)
    for name in (
        "SPNEGO_KERBEROS",
        "KERBEROS",
        "SPNEGO_NTLM_NEGOTIATE",
        "SPNEGO_NTLM_AUTHENTICATE",
        "NTLM_NEGOTIATE",
        "NTLM_AUTHENTICATE",
    )
}
every_token = pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())


def first(token: bytes) -> FirstToken:
    message = read(token)
    assert isinstance(message, FirstToken)
    return message


def continuation(token: bytes) -> Continuation:
    message = read(token)
    assert isinstance(message, Continuation)
    return message


def refused(token: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read(token)
    return caught.value


def opened(token: bytes) -> object:
    """What `opens` says, errors as their words; and what it says is Kerberos, where SPNEGO has nothing to negotiate."""
    try:
        opening = opens(token)
    except WireError as error:
        return str(error)
    if opening is None:
        return None
    return opening.mechanisms, token[opening.kerberos_at :] if opening.kerberos_at else None


def opened_by_reading(token: bytes) -> object:
    result = outcome(token)
    if isinstance(result, WireError):
        return str(result)
    if not isinstance(result, FirstToken):
        return None
    return result.mechanisms, result.mech_token if needs_no_negotiating(result) else None


def needs_no_negotiating(opening: FirstToken) -> bool:
    """A Kerberos message in SPNEGO, for the client's first choice, with no MIC behind it."""
    is_first = opening.mechanisms[0] in (spnego.KRB5, spnego.MS_KRB5)
    if opening.wrapping is not Wrapping.SPNEGO or opening.mic is not None or not is_first:
        return False
    inner = opening.mech_token or b""
    framed = isinstance(whole := outcome(inner), FirstToken) and whole.wrapping is Wrapping.KERBEROS
    return framed and inner.startswith(KRB5_OID + b"\x01\x00", der.whole(inner, "mechToken"))


def outcome(token: bytes) -> FirstToken | Continuation | WireError:
    try:
        return read(token)
    except WireError as error:
        return error


# What real clients send


@pytest.mark.parametrize("token", [vectors.SPNEGO_KERBEROS, vectors.SPNEGO_KERBEROS_AD])
def test_kerberos_from_curl_is_spnego_with_an_optimistic_token(token: bytes) -> None:
    message = first(token)

    assert message.wrapping is Wrapping.SPNEGO
    assert message.mechanisms == (spnego.KRB5,)
    assert message.mech_token is not None
    assert token.endswith(message.mech_token)
    assert message.mech_token.startswith(b"\x60\x82")
    assert message.mech_list == tlv(0x30, KRB5_OID)
    assert message.mic is None


def test_bare_kerberos_token_is_its_own_mech_token() -> None:
    message = first(vectors.KERBEROS)

    assert message == FirstToken(wrapping=Wrapping.KERBEROS, mechanisms=(spnego.KRB5,), mech_token=vectors.KERBEROS)


def test_bare_kerberos_token_with_the_microsoft_oid_is_kerberos() -> None:
    message = first(building.ap_req(oid=MS_KRB5_OID))

    assert (message.wrapping, message.mechanisms) == (Wrapping.KERBEROS, (spnego.KRB5,))


def test_ntlm_from_gss_ntlmssp_is_spnego_with_the_ntlm_message_inside() -> None:
    message = first(vectors.SPNEGO_NTLM_NEGOTIATE)

    assert message.mechanisms == (spnego.NTLM,)
    assert message.mech_token is not None
    assert message.mech_token.startswith(b"NTLMSSP\0\x01")


def test_second_token_of_gss_ntlmssp_continues_with_token_and_mic() -> None:
    message = continuation(vectors.SPNEGO_NTLM_AUTHENTICATE)

    assert (message.wrapping, message.state, message.mechanism) == (Wrapping.SPNEGO, 1, None)
    assert message.mech_token is not None
    assert message.mech_token.startswith(b"NTLMSSP\0\x03")
    assert message.mic is not None
    assert len(message.mic) == 16


def test_bare_ntlm_messages_of_a_client_are_first_token_and_continuation() -> None:
    opening = read(vectors.NTLM_NEGOTIATE)
    answer = read(vectors.NTLM_AUTHENTICATE)

    assert opening == FirstToken(wrapping=Wrapping.NTLM, mechanisms=(spnego.NTLM,), mech_token=vectors.NTLM_NEGOTIATE)
    assert answer == Continuation(wrapping=Wrapping.NTLM, mech_token=vectors.NTLM_AUTHENTICATE)


def test_list_of_a_windows_client_keeps_its_order() -> None:
    mechanisms = (MS_KRB5_OID, KRB5_OID, NEGOEX_OID, NTLM_OID)

    message = first(building.neg_token_init(mech_types(*mechanisms), octets(0xA2, b"token")))

    assert message.mechanisms == (spnego.MS_KRB5, spnego.KRB5, spnego.NEGOEX, spnego.NTLM)
    assert message.mech_list == tlv(0x30, *mechanisms)


def test_first_token_without_optimistic_token_has_none() -> None:
    message = first(building.neg_token_init(mech_types(KRB5_OID)))

    assert (message.mech_token, message.mic) == (None, None)


def test_first_token_with_every_field_is_read() -> None:
    flags = tlv(0xA1, tlv(0x03, b"\x01\x02"))

    message = first(building.neg_token_init(mech_types(KRB5_OID), flags, octets(0xA2, b"token"), octets(0xA3, b"mic")))

    assert (message.mech_token, message.mic) == (b"token", b"mic")


def test_tokens_stay_out_of_repr() -> None:
    shown = repr(
        first(building.neg_token_init(mech_types(KRB5_OID), octets(0xA2, b"secret"), octets(0xA3, b"secret")))
    ) + repr(continuation(response(state=1, token=b"secret", mic=b"secret")))

    assert "secret" not in shown


# What nobody should send


@pytest.mark.parametrize("token", [b"", b"\x00", b"\x30\x00", b"\xa0\x00", b"NTLM?SSP", b"garbage", b"\xff" * 40])
def test_bytes_that_are_no_token_are_malformed(token: bytes) -> None:
    assert refused(token).reason == "malformed"


def test_ap_req_without_its_frame_is_unexpected() -> None:
    assert refused(vectors.KERBEROS[17:]).reason == "unexpected-message"


@pytest.mark.parametrize("token", [vectors.NTLM_CHALLENGE, b"NTLMSSP\0" + bytes(60), b"NTLMSSP\0\x01\x01" + bytes(60)])
def test_ntlm_message_that_no_client_sends_is_unexpected(token: bytes) -> None:
    assert refused(token).reason == "unexpected-message"


def test_neg_token_init2_of_a_server_is_unexpected() -> None:
    hints = tlv(0xA3, tlv(0x30, tlv(0xA0, tlv(0x1B, b"not_defined_in_RFC4178@please_ignore"))))

    assert refused(building.neg_token_init(mech_types(KRB5_OID), hints)).reason == "unexpected-message"


@pytest.mark.parametrize("oid", [NTLM_OID, NEGOEX_OID, bytes.fromhex("060a2a864886f71201020203")])
def test_bare_token_of_another_mechanism_is_unknown(oid: bytes) -> None:
    assert refused(tlv(0x60, oid, b"token")).reason == "unknown-mechanism"


@pytest.mark.parametrize("token", [tlv(0x60), tlv(0x60, b"\x06"), tlv(0x60, b"\x06\x09\x2a"), tlv(0x60, b"\x04\x00")])
def test_frame_without_a_whole_oid_is_malformed(token: bytes) -> None:
    assert refused(token).reason == "malformed"


TYPES = mech_types(KRB5_OID)
TOKEN = octets(0xA2, b"token")


@pytest.mark.parametrize(
    "token",
    [
        building.neg_token_init(),
        building.neg_token_init(TOKEN),
        building.neg_token_init(mech_types()),
        building.neg_token_init(tlv(0xA0)),
        building.neg_token_init(tlv(0xA0, KRB5_OID)),
        building.neg_token_init(tlv(0xA0, tlv(0x30, KRB5_OID), b"\x05\x00")),
        building.neg_token_init(tlv(0xA0, tlv(0x30, b"\x04\x01\x2a"))),
        building.neg_token_init(TOKEN, TYPES),
        building.neg_token_init(TYPES, TYPES),
        building.neg_token_init(TYPES, TOKEN, TOKEN),
        building.neg_token_init(TYPES, octets(0xA3, b"mic"), TOKEN),
        building.neg_token_init(TYPES, octets(0xA4, b"mic")),
        building.neg_token_init(TYPES, TOKEN, b"\x05\x00"),
        building.neg_token_init(TYPES, TOKEN, b"\x00"),
        building.neg_token_init(TYPES, tlv(0xA2, b"token")),
        building.neg_token_init(TYPES, tlv(0xA2, tlv(0x24, tlv(0x04, b"token")))),
        building.neg_token_init(TYPES, tlv(0xA2, tlv(0x04, b"token"), b"\x05\x00")),
        building.neg_token_init(TYPES, tlv(0xA3)),
        tlv(0x60, SPNEGO_OID),
        tlv(0x60, SPNEGO_OID, tlv(0xA1, tlv(0x30, TYPES))),
        tlv(0x60, SPNEGO_OID, tlv(0xA0, tlv(0x31, TYPES))),
        tlv(0x60, SPNEGO_OID, tlv(0xA0, tlv(0x30, TYPES)), b"\x05\x00"),
        tlv(0x60, SPNEGO_OID, tlv(0xA0, tlv(0x30, TYPES), b"\x05\x00")),
        building.neg_token_resp(octets(0xA2, b"token"), tlv(0xA0, b"\x0a\x01\x01")),
        building.neg_token_resp(octets(0xA4, b"token")),
        tlv(0xA1, tlv(0x31)),
    ],
)
def test_fields_that_are_missing_out_of_order_unknown_or_of_another_type_are_malformed(token: bytes) -> None:
    assert refused(token).reason == "malformed"


@pytest.mark.parametrize("bits", [b"", b"\x08\x00", b"\x01", b"\x01\x01", b"\xff\x00"])
def test_flags_that_are_no_bit_string_are_malformed(bits: bytes) -> None:
    assert refused(building.neg_token_init(TYPES, tlv(0xA1, tlv(0x03, bits)))).reason == "malformed"


@pytest.mark.parametrize("bits", [b"\x00", b"\x00\xff", b"\x01\xfe", b"\x00\x00\x00\x00\x62"])
def test_flags_of_any_length_are_ignored(bits: bytes) -> None:
    assert first(building.neg_token_init(TYPES, tlv(0xA1, tlv(0x03, bits)))).mechanisms == (spnego.KRB5,)


@pytest.mark.parametrize("state", [b"", b"\x04", b"\xff", b"\x00\x01", b"\x01\x00", bytes(9)])
def test_state_that_is_not_one_of_four_is_malformed(state: bytes) -> None:
    assert refused(building.neg_token_resp(tlv(0xA0, tlv(0x0A, state)))).reason == "malformed"


@pytest.mark.parametrize(
    "header",
    [
        "6080",  # indefinite
        "608105",  # long where short would do
        "60820080",  # a leading zero octet
        "608500000000",  # five octets
        "60850000000001",
        "60ff",  # reserved
    ],
)
def test_length_that_is_not_der_is_malformed(header: str) -> None:
    assert refused(bytes.fromhex(header) + bytes(0x80)).reason == "malformed"


@pytest.mark.parametrize("length", ["30", "8130", "820030", "83000030", "8400000030", "850000000030"])
def test_length_has_only_its_shortest_spelling(length: str) -> None:
    token = response(state=1, token=bytes(0x25))
    assert token.startswith(b"\xa1\x30")
    size = bytes.fromhex(length)

    result = outcome(b"\xa1" + size + token[2:])

    assert isinstance(result, Continuation) == (len(size) == 1)


@pytest.mark.parametrize("length", ["0104", "000104", "00000104", "0000000104"])
def test_long_length_has_only_its_shortest_spelling(length: str) -> None:
    token = response(state=1, token=bytes(0xF5))
    assert token.startswith(b"\xa1\x82\x01\x04")
    size = bytes.fromhex(length)

    result = outcome(b"\xa1" + bytes([0x80 + len(size)]) + size + token[4:])

    assert isinstance(result, Continuation) == (len(size) == 2)


@pytest.mark.parametrize("length", ["80", "8101", "820005", "8500000000", "83", "847fffffff", "7f"])
def test_inner_length_that_is_wrong_is_malformed_never_incomplete(length: str) -> None:
    token = tlv(0x60, SPNEGO_OID, b"\xa0" + bytes.fromhex(length))

    assert refused(token).reason == "malformed"


@pytest.mark.parametrize("token", [vectors.SPNEGO_KERBEROS, vectors.KERBEROS, vectors.SPNEGO_NTLM_AUTHENTICATE])
def test_bytes_after_the_token_are_refused(token: bytes) -> None:
    assert refused(token + b"\0").reason == "trailing-bytes"


def test_claim_of_four_gigabytes_is_incomplete() -> None:
    assert isinstance(refused(b"\x60\x84\xff\xff\xff\xff"), Incomplete)


def test_32_mechanisms_are_read_and_33_are_too_many() -> None:
    message = first(building.neg_token_init(mech_types(*[KRB5_OID] * 32)))
    error = refused(building.neg_token_init(mech_types(*[KRB5_OID] * 33)))

    assert len(message.mechanisms) == 32
    assert error.reason == "limit"


# Object identifiers


@pytest.mark.parametrize(
    ("contents", "dotted"),
    [
        (b"\x00", "0.0"),
        (b"\x27", "0.39"),
        (b"\x28", "1.0"),
        (b"\x4f", "1.39"),
        (b"\x50", "2.0"),
        (b"\x88\x37\x03", "2.999.3"),
        (b"\x69" + b"\x83" + b"\xff" * 17 + b"\x7f", f"2.25.{2**128 - 1}"),
    ],
)
def test_oid_is_read_and_written_with_its_first_two_arcs(contents: bytes, dotted: str) -> None:
    message = first(building.neg_token_init(mech_types(tlv(0x06, contents))))

    assert message.mechanisms == (dotted,)
    assert der.encode_oid(dotted) == contents


@pytest.mark.parametrize("contents", [b"", b"\x80", b"\x2a\x80", b"\x2a\x80\x01", b"\x80\x01", b"\x2a\x86", b"\xff"])
def test_oid_with_an_arc_that_is_padded_or_cut_off_is_malformed(contents: bytes) -> None:
    assert refused(building.neg_token_init(mech_types(tlv(0x06, contents)))).reason == "malformed"


@pytest.mark.parametrize("contents", [b"\x2a" * 65, b"\x2a" * 30_000, b"\x69\x84" + b"\x80" * 17 + b"\x00"])
def test_oid_that_is_too_long_or_has_too_large_an_arc_is_over_the_limit(contents: bytes) -> None:
    assert refused(building.neg_token_init(mech_types(tlv(0x06, contents)))).reason == "limit"


# NTLM


@pytest.mark.parametrize("token", [vectors.NTLM_NEGOTIATE, vectors.NTLM_AUTHENTICATE])
def test_bare_ntlm_message_that_is_cut_off_is_incomplete(token: bytes) -> None:
    least = 32 if token is vectors.NTLM_NEGOTIATE else len(token)

    for size in range(1, least):
        assert isinstance(refused(token[:size]), Incomplete)


def test_shortest_ntlm_messages_without_version_and_payload_are_read() -> None:
    negotiate = b"NTLMSSP\0\x01\0\0\0" + bytes(20)
    authenticate = b"NTLMSSP\0\x03\0\0\0" + bytes(52)

    assert first(negotiate).mech_token == negotiate
    assert continuation(authenticate).mech_token == authenticate


@pytest.mark.parametrize("at", range(12, 60, 8))
def test_ntlm_payload_beyond_the_end_is_incomplete(at: int) -> None:
    token = bytearray(b"NTLMSSP\0\x03\0\0\0" + bytes(52))
    token[at : at + 8] = b"\x01\x00\x01\x00\x40\x00\x00\x00"

    assert isinstance(refused(bytes(token)), Incomplete)
    assert continuation(bytes(token) + b"x").wrapping is Wrapping.NTLM


# Writing


def test_answer_equals_that_of_gss_ntlmssp() -> None:
    sent = vectors.SPNEGO_NTLM_CHALLENGE
    challenge = sent[sent.index(b"NTLMSSP\0") :]

    assert response(state=1, mechanism=spnego.NTLM, token=challenge) == sent


def test_reject_is_nothing_but_its_state() -> None:
    assert response(state=2) == bytes.fromhex("a1073005a0030a0102")


@pytest.mark.parametrize("state", [-1, 4, 256])
def test_state_that_does_not_exist_cannot_be_written(state: int) -> None:
    with pytest.raises(WireError):
        response(state=state)


dotted_oids = st.one_of(
    st.sampled_from([spnego.KRB5, spnego.MS_KRB5, spnego.NTLM]),
    st.builds(
        lambda first, second, rest: ".".join(map(str, (first, second if first == 2 else second % 40, *rest))),
        st.integers(0, 2),
        st.integers(0, 2**40),
        st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**64)), max_size=4),
    ),
)
optional_bytes = st.none() | st.binary(max_size=300)


@PROPERTY
@given(st.integers(0, 3), st.none() | dotted_oids, optional_bytes, optional_bytes)
def test_every_answer_is_read_back_as_written(
    state: int, mechanism: str | None, token: bytes | None, mic: bytes | None
) -> None:
    message = read(response(state=state, mechanism=mechanism, token=token, mic=mic))

    assert message == Continuation(
        wrapping=Wrapping.SPNEGO, state=state, mechanism=mechanism, mech_token=token, mic=mic
    )


@pytest.mark.parametrize("size", [0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000])
def test_answer_of_every_length_of_length_is_read_back(size: int) -> None:
    message = continuation(response(state=0, token=bytes(size)))

    assert message.mech_token == bytes(size)


# Hostile input


@every_token
def test_truncation_at_every_byte_is_refused(token: bytes) -> None:
    least = 32 if token is vectors.NTLM_NEGOTIATE else len(token)

    for size in range(1, least):
        assert isinstance(refused(token[:size]), Incomplete)


@every_token
def test_every_bit_flip_and_length_edit_is_a_value_or_a_wire_error(token: bytes) -> None:
    for changed in itertools.chain(building.bit_flips(token), building.length_edits(token)):
        assert isinstance(outcome(changed), FirstToken | Continuation | WireError)


@every_token
def test_what_a_token_opens_is_what_reading_it_says_also_after_others_like_it(token: bytes) -> None:
    cut = (token[:size] for size in range(len(token)))
    longer = (token + more for more in (b"\0", b"\xa3", octets(0xA3, b"mic")))
    for changed in itertools.chain([token], cut, longer, building.bit_flips(token), building.length_edits(token)):
        opens(token)  # whose front is known from now on

        assert opened(changed) == opened_by_reading(changed)


@pytest.mark.parametrize(
    "token",
    [
        "602106062b0601050502a0173015a0133011060f2a06092a864886f712010202010080",
        "603106062b0601050502a0273025a00d300b06092a864882f712010202a114031206092a864886f71201020201006e03000001",
    ],
    ids=["in an OID that is cut off", "in reqFlags"],
)
def test_what_goes_before_a_kerberos_message_somewhere_else_is_read_to_its_end(token: str) -> None:
    assert opened(bytes.fromhex(token)) == opened_by_reading(bytes.fromhex(token))
    assert isinstance(outcome(bytes.fromhex(token)), WireError)


def test_a_mic_after_the_kerberos_message_is_read_too() -> None:
    message = first(vectors.SPNEGO_KERBEROS).mech_token
    assert message is not None
    fields = (mech_types(KRB5_OID), octets(0xA2, message))
    token = building.neg_token_init(*fields, octets(0xA3, b"mic"))
    broken = building.neg_token_init(*fields, octets(0xA3, b"mic") + b"\0")

    assert opened(token) == ((spnego.KRB5,), None)
    assert opened(broken) == opened_by_reading(broken) != ((spnego.KRB5,), None)


@pytest.mark.parametrize("mechanism", [spnego.KRB5, spnego.MS_KRB5])
def test_kerberos_as_the_first_choice_is_taken_out_of_its_wrapping(mechanism: str) -> None:
    message = first(vectors.SPNEGO_KERBEROS).mech_token
    assert message is not None
    oid = {spnego.KRB5: KRB5_OID, spnego.MS_KRB5: MS_KRB5_OID}[mechanism]
    token = building.neg_token_init(mech_types(oid, NTLM_OID), octets(0xA2, message))

    assert opens(token) == ((mechanism, spnego.NTLM), token.index(message))


def test_kerberos_that_is_not_the_first_choice_is_left_to_be_negotiated() -> None:
    message = first(vectors.SPNEGO_KERBEROS).mech_token
    assert message is not None
    token = building.neg_token_init(mech_types(NTLM_OID, KRB5_OID), octets(0xA2, message))

    assert opens(token) == ((spnego.NTLM, spnego.KRB5), 0)


@PROPERTY
@given(st.integers(0, 3), st.sampled_from([spnego.KRB5, spnego.MS_KRB5]), optional_bytes)
def test_the_answer_to_each_log_in_is_the_response_that_it_stands_for(
    state: int, mechanism: str, token: bytes | None
) -> None:
    assert answer(state, mechanism, token) == response(state=state, mechanism=mechanism, token=token or None)


@PROPERTY
@given(st.sampled_from([b"", b"\x60", b"\xa1", b"\x60\x81\x90", b"NTLMSSP\0", SPNEGO_OID]), st.binary())
def test_any_bytes_are_a_value_or_a_wire_error(head: bytes, tail: bytes) -> None:
    assert isinstance(outcome(head + tail), FirstToken | Continuation | WireError)


@PROPERTY
@given(st.binary(max_size=120))
def test_any_bytes_inside_the_frame_are_a_value_or_a_wire_error(contents: bytes) -> None:
    for token in (tlv(0x60, SPNEGO_OID, tlv(0xA0, tlv(0x30, contents))), tlv(0xA1, tlv(0x30, contents))):
        result = outcome(token)

        assert isinstance(result, FirstToken | Continuation | WireError)
        assert not isinstance(result, Incomplete)


@pytest.mark.parametrize(
    "token",
    [
        building.nested(b"\x60", 200_000),
        building.nested(b"\xa1\x30\xa0", 200_000),
        tlv(0x60, SPNEGO_OID, building.nested(b"\xa0\x30", 200_000)),
        building.neg_token_init(mech_types(*[b"\x06\x01\x2a"] * 300_000)),
        building.neg_token_init(mech_types(tlv(0x06, b"\xff" * 1_000_000 + b"\x7f"))),
        building.neg_token_resp(tlv(0xA1, tlv(0x06, b"\x81" * 1_000_000 + b"\x01"))),
        building.neg_token_resp(tlv(0xA0, tlv(0x0A, b"\x01" * 1_000_000))),
        b"NTLMSSP\0" + b"\xff" * 1_000_000,
    ],
    ids=["frames", "responses", "inits", "mechanisms", "arc", "supported-mech", "state", "ntlm"],
)
def test_megabyte_of_spite_is_refused_at_once(token: bytes) -> None:
    started = time.process_time()

    refused(token)

    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "token",
    [
        vectors.SPNEGO_KERBEROS[:-30],
        building.neg_token_init(TYPES, octets(0xA2, b"sesame"), octets(0xA4, b"sesame")),
        tlv(0x60, b"\x06\x06sesame", b"sesame"),
        building.neg_token_resp(tlv(0xA1, tlv(0x06, b"sesame\xff"))),
    ],
)
def test_error_never_quotes_the_token(token: bytes) -> None:
    error = refused(token)

    assert "sesame" not in repr(error)
    assert token[-8:].hex() not in repr(error)
