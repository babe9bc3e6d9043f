"""UPN_DNS_INFO and SIDs: real ones are read, all else ends in a WireError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.pac import UpnDnsInfo, read_sid, read_upn_dns_info

from . import building, vectors
from .building import PROPERTY, upn_dns_info

SID = bytes.fromhex("010500000000000515000000010000000200000003000000f4010000")
UPN = "alice@test.example".encode("utf-16-le")
DOMAIN = "TEST.EXAMPLE".encode("utf-16-le")
SAM = "alice".encode("utf-16-le")


def refused(data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read_upn_dns_info(data)
    return caught.value


def test_buffer_of_samba_ad_names_the_account() -> None:
    info = read_upn_dns_info(vectors.UPN_DNS_INFO)

    assert info == UpnDnsInfo(
        upn="alice@ad.test.example",
        dns_domain="AD.TEST.EXAMPLE",
        upn_constructed=False,
        sam_account_name="alice",
        sid="S-1-5-21-429756195-3393751092-2510797245-1102",
    )


@pytest.mark.parametrize("flags", [0, 1])
def test_buffer_of_an_older_domain_controller_has_no_account(flags: int) -> None:
    info = read_upn_dns_info(upn_dns_info(UPN, DOMAIN, flags=flags))

    assert info == UpnDnsInfo(
        upn="alice@test.example",
        dns_domain="TEST.EXAMPLE",
        upn_constructed=bool(flags),
        sam_account_name=None,
        sid=None,
    )


@pytest.mark.parametrize(("flags", "constructed"), [(2, False), (3, True), (0xFFFFFFFF, True)])
def test_first_flag_says_that_the_upn_was_made_up_and_unknown_flags_say_nothing(flags: int, constructed: bool) -> None:
    info = read_upn_dns_info(upn_dns_info(UPN, DOMAIN, SAM, SID, flags=flags))

    assert info.upn_constructed is constructed
    assert info.sid == "S-1-5-21-1-2-3-500"


def test_padding_after_the_last_name_is_ignored() -> None:
    assert read_upn_dns_info(upn_dns_info(UPN, DOMAIN, SAM, SID) + bytes(6)).sam_account_name == "alice"


def test_account_outside_the_basic_plane_is_read() -> None:
    info = read_upn_dns_info(upn_dns_info(UPN, DOMAIN, "🐈".encode("utf-16-le"), SID))

    assert info.sam_account_name == "🐈"


def test_upn_and_domain_may_be_empty_wherever_they_point() -> None:
    data = bytes.fromhex("0000ffff0000000000000000")

    info = read_upn_dns_info(data)

    assert (info.upn, info.dns_domain) == ("", "")


@pytest.mark.parametrize("size", range(12))
def test_buffer_without_its_header_is_malformed(size: int) -> None:
    assert refused(bytes(size)).reason == "malformed"


@pytest.mark.parametrize("size", range(12, 20))
def test_buffer_without_the_header_that_its_flag_promises_is_malformed(size: int) -> None:
    assert refused((bytes(8) + b"\x02" + bytes(20))[:size]).reason == "malformed"


@pytest.mark.parametrize(
    "data",
    [
        upn_dns_info(UPN, DOMAIN, b"", SID),  # no name
        upn_dns_info(UPN, DOMAIN, SAM, b""),  # no SID
        upn_dns_info(UPN, DOMAIN, SAM, SID[:-1]),
        upn_dns_info(UPN, DOMAIN, SAM, SID + b"\0"),
        upn_dns_info(UPN, DOMAIN, SAM[:-1], SID),  # half a character
        upn_dns_info(UPN + b"x", DOMAIN, SAM, SID),
        upn_dns_info(UPN, DOMAIN, b"\x00\xd8", SID),  # half a pair
        upn_dns_info(UPN, b"\x00\xdc\x00\xd8", SAM, SID),
        upn_dns_info(UPN, DOMAIN, SAM + b"\0\0", SID),  # a name that a C string would end early
        upn_dns_info(b"\0\0" + UPN, DOMAIN, flags=0),
        upn_dns_info(UPN, DOMAIN, flags=0)[:-1],
    ],
)
def test_name_or_sid_that_is_not_whole_is_malformed(data: bytes) -> None:
    assert refused(data).reason == "malformed"


@pytest.mark.parametrize("offset", [0, 2, 18, 19, 60, 0xFFFF])
def test_name_that_overlaps_the_header_or_exceeds_the_buffer_is_malformed(offset: int) -> None:
    data = bytearray(upn_dns_info(SAM, b"", SAM, SID))
    data[2:4] = offset.to_bytes(2, "little")

    assert refused(bytes(data)).reason == "malformed"


def test_truncation_at_every_byte_is_refused() -> None:
    data = upn_dns_info(UPN, DOMAIN, SAM, SID)

    for size in range(len(data)):
        assert refused(data[:size]).reason == "malformed"


def test_every_bit_flip_and_length_edit_is_a_value_or_a_wire_error() -> None:
    for changed in building.bit_flips(vectors.UPN_DNS_INFO) + building.length_edits(vectors.UPN_DNS_INFO):
        try:
            info = read_upn_dns_info(changed)
        except WireError:
            continue
        assert "\0" not in info.upn + info.dns_domain + (info.sam_account_name or "")


@PROPERTY
@given(st.binary(max_size=90), st.integers(0, 3))
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes, flags: int) -> None:
    for buffer in (data, data[:8] + bytes([flags, 0, 0, 0]) + data[8:]):
        try:
            info = read_upn_dns_info(buffer)
        except WireError:
            continue
        assert (info.sid is None) == (info.sam_account_name is None)


def test_error_never_quotes_the_name() -> None:
    error = refused(upn_dns_info("sesame".encode("utf-16-le") + b"\x00\xd8", DOMAIN, flags=0))

    assert "sesame" not in repr(error)
    assert error.__suppress_context__


# SIDs


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("010100000000000100000000", "S-1-1-0"),
        ("01020000000000052000000020020000", "S-1-5-32-544"),
        ("0101ffffffffffff01000000", "S-1-0xFFFFFFFFFFFF-1"),
        ("01010000ffffffff01000000", "S-1-4294967295-1"),
        ("010100010000000001000000", "S-1-0x000100000000-1"),
        ("010f000000000005" + "ffffffff" * 15, "S-1-5" + "-4294967295" * 15),
    ],
)
def test_sid_is_printed_as_windows_prints_it(data: str, text: str) -> None:
    assert read_sid(bytes.fromhex(data)) == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x00\0\0\0\0\0\x05",  # no sub-authority
        b"\x01\x10\0\0\0\0\0\x05" + bytes(64),  # 16 of them
        b"\x02\x01\0\0\0\0\0\x05" + bytes(4),  # another revision
        b"\x01\x01\0\0\0\0\0\x05" + bytes(3),
        b"\x01\x01\0\0\0\0\0\x05" + bytes(5),
        b"\x01\x02\0\0\0\0\0\x05" + bytes(4),
    ],
)
def test_bytes_that_are_not_one_sid_are_malformed(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        read_sid(data)

    assert caught.value.reason == "malformed"


@PROPERTY
@given(st.integers(0, 2**48 - 1), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=15))
def test_every_sid_is_printed_with_all_its_numbers(authority: int, parts: list[int]) -> None:
    data = bytes([1, len(parts)]) + authority.to_bytes(6, "big") + b"".join(n.to_bytes(4, "little") for n in parts)

    text = read_sid(data)

    assert [int(part, 0) for part in text.split("-")[1:]] == [1, authority, *parts]
