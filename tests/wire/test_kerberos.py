"""AP-REQs: real ones are read, the authenticator has one spelling, all else ends in a WireError."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire import spnego
from negotiate_mw.wire.errors import Incomplete, WireError
from negotiate_mw.wire.kerberos import ApReq, krb_error_code, read_ap_req, unparse

from . import building, vectors
from .building import (
    AP_OPTIONS,
    AUTHENTICATOR,
    ENC_PART,
    KRB5_OID,
    MS_KRB5_OID,
    MSG_TYPE,
    PROPERTY,
    PVNO,
    REALM,
    SERVICE,
    TICKET,
    ap_req,
    encrypted,
    sname,
    ticket,
    tlv,
)


def of_ticket(*fields: bytes) -> bytes:
    return ap_req(PVNO, MSG_TYPE, AP_OPTIONS, ticket(*fields), AUTHENTICATOR)


def refused(token: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read_ap_req(token)
    return caught.value


# What real clients send


def test_bare_token_of_mit_is_read() -> None:
    request = read_ap_req(vectors.KERBEROS)

    assert request == ApReq(
        realm="TEST.EXAMPLE",
        service=("HTTP", "www.test.example"),
        name_type=3,
        kvno=1,
        enctype=18,
        authenticator=request.authenticator,
        authenticator_enctype=18,
        mutual_required=True,
    )
    assert vectors.KERBEROS.endswith(request.authenticator)
    assert request.spn == "HTTP/www.test.example@TEST.EXAMPLE"


def test_token_of_samba_ad_inside_spnego_is_read() -> None:
    first = spnego.read(vectors.SPNEGO_KERBEROS_AD)
    assert isinstance(first, spnego.FirstToken)
    assert first.mech_token is not None

    request = read_ap_req(first.mech_token)

    assert (request.spn, request.kvno) == ("HTTP/www.test.example@AD.TEST.EXAMPLE", 2)


def test_both_kerberos_oids_are_accepted_in_the_frame() -> None:
    fields = (PVNO, MSG_TYPE, AP_OPTIONS, TICKET, AUTHENTICATOR)

    assert read_ap_req(ap_req(*fields, oid=MS_KRB5_OID)) == read_ap_req(ap_req(*fields, oid=KRB5_OID))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("0000000000", False),
        ("0020000000", True),
        ("0060000000", True),
        ("0040000000", False),
        ("002000000000", True),
    ],
)
def test_wish_for_mutual_authentication_is_bit_two(options: str, wanted: bool) -> None:
    field = tlv(0xA2, tlv(0x03, bytes.fromhex(options)))

    request = read_ap_req(ap_req(PVNO, MSG_TYPE, field, TICKET, AUTHENTICATOR))

    assert request.mutual_required is wanted


@pytest.mark.parametrize(
    ("contents", "kvno"),
    [
        ("00", 0),
        ("7f", 127),
        ("00ff", 255),
        ("2a8a0001", 0x2A8A0001),  # a read-only DC
        ("00ffff0001", 0xFFFF0001),  # the same as the u32 that RFC 4120 wants
        ("ff0001", 0xFFFF0001),  # and as the i32 that Windows writes
        ("80000000", 0x80000000),
        ("ff", 0xFFFFFFFF),
    ],
)
def test_key_version_is_a_u32_however_it_was_encoded(contents: str, kvno: int) -> None:
    part = encrypted(0xA3, kvno=bytes.fromhex(contents))

    assert read_ap_req(of_ticket(PVNO, REALM, SERVICE, part)).kvno == kvno


def test_ticket_without_key_version_has_none() -> None:
    assert read_ap_req(of_ticket(PVNO, REALM, SERVICE, encrypted(0xA3, kvno=None))).kvno is None


@pytest.mark.parametrize(("contents", "enctype"), [(b"\x12", 18), (b"\x80", -128), (b"\xff\x7b", -133)])
def test_enctype_and_name_type_may_be_negative(contents: bytes, enctype: int) -> None:
    service = sname(b"HTTP", b"www.test.example", name_type=contents)

    request = read_ap_req(of_ticket(PVNO, REALM, service, encrypted(0xA3, enctype=contents)))

    assert (request.enctype, request.name_type) == (enctype, enctype)


def test_names_are_utf_8() -> None:
    request = read_ap_req(of_ticket(PVNO, tlv(0xA1, tlv(0x1B, "BÜRO".encode())), sname("größe".encode()), ENC_PART))

    assert request.spn == "größe@BÜRO"


def test_spn_is_escaped_as_krb5_prints_it() -> None:
    request = read_ap_req(of_ticket(PVNO, REALM, sname(b"a/b@c\\", b"\0\b\t\n\r"), ENC_PART))

    assert request.spn == "a\\/b\\@c\\\\/\\0\\b\\t\\n\r@TEST.EXAMPLE"


@PROPERTY
@given(st.lists(st.text(st.sampled_from("ab/@\\\n\0"), max_size=5), min_size=1, max_size=3))
def test_different_names_never_print_alike(components: list[str]) -> None:
    printed = unparse(tuple(components))

    for count in range(1, 4):
        joined = tuple("/".join(components).split("/")[:count])
        assert (unparse(joined) == printed) == (joined == tuple(components))


def test_ciphertext_stays_out_of_repr() -> None:
    assert "authenticator=" not in repr(read_ap_req(vectors.KERBEROS))


# What nobody should send


@pytest.mark.parametrize("token", [b"", b"\x6e\x00", b"NTLMSSP\0", vectors.KERBEROS[17:], b"\xa1\x00"])
def test_bytes_without_a_frame_are_malformed(token: bytes) -> None:
    assert refused(token).reason == "malformed"


def test_token_of_another_mechanism_is_unknown() -> None:
    assert refused(vectors.SPNEGO_KERBEROS).reason == "unknown-mechanism"


@pytest.mark.parametrize("tok_id", [b"", b"\x01", b"\x00\x01", b"\x02\x00", b"\x03\x00", b"\x04\x00"])
def test_other_kerberos_messages_are_unexpected(tok_id: bytes) -> None:
    assert refused(tlv(0x60, KRB5_OID, tok_id)).reason == "unexpected-message"


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (MSG_TYPE, AP_OPTIONS, TICKET, AUTHENTICATOR),
        (PVNO, AP_OPTIONS, TICKET, AUTHENTICATOR),
        (PVNO, MSG_TYPE, TICKET, AUTHENTICATOR),
        (PVNO, MSG_TYPE, AP_OPTIONS, AUTHENTICATOR),
        (PVNO, MSG_TYPE, AP_OPTIONS, TICKET),
        (PVNO, MSG_TYPE, AP_OPTIONS, TICKET, TICKET, AUTHENTICATOR),
        (PVNO, MSG_TYPE, AP_OPTIONS, TICKET, AUTHENTICATOR, AUTHENTICATOR),
        (MSG_TYPE, PVNO, AP_OPTIONS, TICKET, AUTHENTICATOR),
        (building.integer(0xA0, b"\x04"), MSG_TYPE, AP_OPTIONS, TICKET, AUTHENTICATOR),
        (building.integer(0xA0, b"\x00\x05"), MSG_TYPE, AP_OPTIONS, TICKET, AUTHENTICATOR),
        (PVNO, building.integer(0xA1, b"\x0c"), AP_OPTIONS, TICKET, AUTHENTICATOR),
        (PVNO, MSG_TYPE, tlv(0xA2, tlv(0x03, b"\x00\x20\x00\x00")), TICKET, AUTHENTICATOR),
        (PVNO, MSG_TYPE, tlv(0xA2, tlv(0x03)), TICKET, AUTHENTICATOR),
        (PVNO, MSG_TYPE, tlv(0xA2, tlv(0x04, bytes(5))), TICKET, AUTHENTICATOR),
        (PVNO, MSG_TYPE, AP_OPTIONS, tlv(0xA3, tlv(0x62, tlv(0x30))), AUTHENTICATOR),
        (PVNO, MSG_TYPE, AP_OPTIONS, TICKET, tlv(0xA4, tlv(0x04, b"authenticator"))),
    ],
)
def test_ap_req_with_fields_missing_doubled_moved_or_changed_is_malformed(fields: tuple[bytes, ...]) -> None:
    assert refused(ap_req(*fields)).reason == "malformed"


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (REALM, SERVICE, ENC_PART),
        (PVNO, SERVICE, ENC_PART),
        (PVNO, REALM, ENC_PART),
        (PVNO, REALM, SERVICE),
        (PVNO, REALM, SERVICE, ENC_PART, ENC_PART),
        (PVNO, REALM, SERVICE, ENC_PART, b"\x05\x00"),
        (PVNO, tlv(0xA1, tlv(0x1B, b"\xff")), SERVICE, ENC_PART),
        (PVNO, tlv(0xA1, tlv(0x0C, b"TEST.EXAMPLE")), SERVICE, ENC_PART),
        (PVNO, REALM, sname(), ENC_PART),
        (PVNO, REALM, sname(b"HTTP", b"\xed\xa0\x80"), ENC_PART),
        (PVNO, REALM, sname(b"HTTP", name_type=b"\x00\x80\x00\x00\x00"), ENC_PART),
        (PVNO, REALM, sname(b"HTTP", name_type=b"\x00\x03"), ENC_PART),
        (PVNO, REALM, sname(b"HTTP", name_type=b""), ENC_PART),
        (PVNO, REALM, SERVICE, encrypted(0xA3, kvno=b"\x01\x00\x00\x00\x00")),
        (PVNO, REALM, SERVICE, encrypted(0xA3, kvno=b"\xff\x7f\xff\xff\xff")),
        (PVNO, REALM, SERVICE, encrypted(0xA3, kvno=b"\xff\xff")),
        (PVNO, REALM, SERVICE, encrypted(0xA3, kvno=b"\x00\x7f")),
        (PVNO, REALM, SERVICE, encrypted(0xA3, kvno=bytes([1] * 6))),
        (PVNO, REALM, SERVICE, encrypted(0xA3, kvno=b"")),
        (PVNO, REALM, SERVICE, tlv(0xA3, tlv(0x30, building.integer(0xA0, b"\x12")))),
    ],
)
def test_ticket_with_fields_missing_doubled_moved_or_changed_is_malformed(fields: tuple[bytes, ...]) -> None:
    assert refused(of_ticket(*fields)).reason == "malformed"


def test_32_components_are_read_and_33_are_too_many() -> None:
    request = read_ap_req(of_ticket(PVNO, REALM, sname(*[b"a"] * 32), ENC_PART))
    error = refused(of_ticket(PVNO, REALM, sname(*[b"a"] * 33), ENC_PART))

    assert len(request.service) == 32
    assert error.reason == "limit"


# Hostile input


def test_truncation_at_every_byte_is_incomplete() -> None:
    for size in range(1, len(vectors.KERBEROS)):
        assert isinstance(refused(vectors.KERBEROS[:size]), Incomplete)


def test_bytes_after_the_token_are_refused() -> None:
    assert refused(vectors.KERBEROS + b"\0").reason == "trailing-bytes"


def test_no_bit_flip_outside_the_authenticator_gives_another_authenticator() -> None:
    # what counts log-ins by the authenticator must not be fooled by another spelling of the rest
    genuine = read_ap_req(vectors.KERBEROS).authenticator
    front = vectors.KERBEROS[: -len(genuine)]

    read = 0
    for changed in itertools.chain(building.bit_flips(front), building.length_edits(front)):
        try:
            request = read_ap_req(changed + genuine)
        except WireError:
            continue
        read += 1
        assert request.authenticator == genuine

    assert read > 1000


def test_every_flip_in_the_authenticator_is_another_authenticator() -> None:
    genuine = read_ap_req(vectors.KERBEROS).authenticator
    front = vectors.KERBEROS[: -len(genuine)]

    for changed in building.bit_flips(genuine):
        assert read_ap_req(front + changed).authenticator == changed


@PROPERTY
@given(st.binary(max_size=120))
def test_any_bytes_anywhere_are_a_value_or_a_wire_error(contents: bytes) -> None:
    tokens = (
        contents,
        tlv(0x60, contents),
        ap_req(contents),
        ap_req(PVNO, MSG_TYPE, contents),
        ap_req(PVNO, MSG_TYPE, AP_OPTIONS, TICKET, contents),
        of_ticket(contents),
        of_ticket(PVNO, contents),
        of_ticket(PVNO, REALM, sname(contents), ENC_PART),
        of_ticket(PVNO, REALM, sname(b"a", name_type=contents), ENC_PART),
        of_ticket(PVNO, REALM, SERVICE, encrypted(0xA3, kvno=contents)),
    )
    for token in tokens:
        try:
            request = read_ap_req(token)
        except WireError:
            continue
        assert request.spn


@pytest.mark.parametrize(
    "token",
    [
        building.nested(b"\x60", 200_000),
        tlv(0x60, KRB5_OID, b"\x01\x00", building.nested(b"\x6e\x30", 200_000)),
        of_ticket(PVNO, REALM, sname(*[b""] * 400_000), ENC_PART),
        of_ticket(PVNO, REALM, SERVICE, encrypted(0xA3, kvno=b"\x01" * 1_000_000)),
        of_ticket(PVNO, REALM, sname(b"\xc3\xbc" * 500_000 + b"\xff"), ENC_PART),
        ap_req(PVNO, MSG_TYPE, tlv(0xA2, tlv(0x03, bytes(1_000_000))), TICKET),
    ],
    ids=["frames", "ap-reqs", "components", "kvno", "name", "options"],
)
def test_megabyte_of_spite_is_refused_at_once(token: bytes) -> None:
    started = time.process_time()

    refused(token)

    assert time.process_time() - started < 0.5


def test_error_never_quotes_the_token() -> None:
    error = refused(of_ticket(PVNO, REALM, sname(b"sesame\xff"), ENC_PART))

    assert "sesame" not in repr(error)
    assert error.__suppress_context__


# KRB-ERROR


def krb_error(*fields: bytes) -> bytes:
    return tlv(0x60, KRB5_OID, b"\x03\x00", tlv(0x7E, tlv(0x30, *fields)))


ERROR_TYPE = building.integer(0xA1, b"\x1e")
TIMES = [tlv(tag, tlv(0x02, b"\x00")) for tag in (0xA2, 0xA3, 0xA4, 0xA5)]
SKEW = building.integer(0xA6, b"\x25")


@pytest.mark.parametrize("token", [vectors.KERBEROS_ERROR, vectors.SPNEGO_KERBEROS_ERROR])
def test_error_token_of_a_replay_has_the_code_for_repeated_requests(token: bytes) -> None:
    assert krb_error_code(token) == 34


@pytest.mark.parametrize("times", [TIMES, TIMES[1:], TIMES[2:], [TIMES[0], *TIMES[2:]]])
def test_error_code_is_found_with_or_without_the_clients_time(times: list[bytes]) -> None:
    assert krb_error_code(krb_error(PVNO, ERROR_TYPE, *times, SKEW, b"\xa9\x00")) == 37


def test_reject_without_a_kerberos_token_has_no_error_code() -> None:
    assert krb_error_code(spnego.response(state=2)) is None


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (PVNO, ERROR_TYPE, *TIMES),
        (PVNO, MSG_TYPE, *TIMES, SKEW),
        (PVNO, ERROR_TYPE, *TIMES[:3], SKEW),
        (PVNO, ERROR_TYPE, *reversed(TIMES), SKEW),
        (PVNO, ERROR_TYPE, *TIMES, building.integer(0xA6, bytes(2))),
    ],
)
def test_krb_error_with_fields_missing_or_moved_is_malformed(fields: tuple[bytes, ...]) -> None:
    with pytest.raises(WireError) as caught:
        krb_error_code(krb_error(*fields))

    assert caught.value.reason == "malformed"


def test_kerberos_token_that_is_no_error_is_unexpected() -> None:
    with pytest.raises(WireError) as caught:
        krb_error_code(vectors.KERBEROS)

    assert caught.value.reason == "unexpected-message"


def test_every_bit_flip_of_an_error_token_is_a_code_none_or_a_wire_error() -> None:
    for changed in building.bit_flips(vectors.SPNEGO_KERBEROS_ERROR) + building.length_edits(vectors.KERBEROS_ERROR):
        try:
            code = krb_error_code(changed)
        except WireError:
            continue
        assert code is None or -(2**31) <= code < 2**31
