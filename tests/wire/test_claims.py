"""PAC_CLIENT_CLAIMS_INFO: real ones are read, packed or not; all else ends in a WireError."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire.claims import read_claims
from negotiate_mw.wire.claims_compression import MOST, decompress
from negotiate_mw.wire.errors import WireError

from . import claims_vectors as vectors
from .building import PROPERTY, bit_flips
from .claims_building import BOOLEAN, INT64, STRING, UINT64, claims_info, claims_set, framed, number, packed

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
VALUES = st.one_of(
    st.tuples(st.just(INT64), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)),
    st.tuples(st.just(UINT64), st.lists(st.integers(0, 2**64 - 1), max_size=5)),
    st.tuples(st.just(BOOLEAN), st.lists(st.integers(0, 1), max_size=5)),
    st.tuples(st.just(STRING), st.lists(TEXT, max_size=5)),
)
HR = ("ad://ext/department:1", STRING, ("HR",))
PLAIN = claims_info([HR])
INNER = claims_set([HR])
METADATA = 16  # the offset of its pointer


def refused(data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read_claims(data)
    return caught.value


def edited(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def inner(at: int, value: int, octets: int = 4) -> bytes:
    """The buffer, with a number in its CLAIMS_SET changed."""
    return claims_info(inner=edited(INNER, at, number(value, octets)))


def test_claims_of_windows_are_read() -> None:
    assert read_claims(vectors.WINDOWS) == (
        ("720fd3c3_9", ("true",)),
        ("720fd3c3_7", ("foo", "bar", "baz")),
        ("720fd3c3_8", ("655369", "65543", "65542", "65536")),
    )


def test_claims_that_windows_packed_are_read() -> None:
    claims = dict(read_claims(vectors.WINDOWS_PACKED))

    assert list(claims) == [f"720fd3c3_{number}" for number in (4, 0, 1, 2, 3)]
    assert claims["720fd3c3_4"] == ("true",)
    assert claims["720fd3c3_0"][:3] == ("A first value.", "A second value.", "A third value.")
    assert re.fullmatch(r"A very long attribute value to ensure .{3600,3700}", claims["720fd3c3_0"][3])
    assert claims["720fd3c3_1"][2] == "CN=Computers,DC=win22,DC=example,DC=com"
    assert claims["720fd3c3_2"] == claims["720fd3c3_3"] == ("655369", "65543", "65542", "65536")


@pytest.mark.parametrize(
    ("data", "claims"),
    [
        (vectors.WINDOWS_INT, {"msDS-SupportedE:88d5dea8f1af5f19": ("28",)}),
        (
            vectors.WINDOWS_TWO,
            {"msDS-SupportedE:88d5dea8f1af5f19": ("28",), "sAMAccountName:88d5d9085ea5c0c0": ("testuser1",)},
        ),
        (vectors.WINDOWS_UINTS, {"objectClass:88d5de791e7b27e6": ("655369", "65543", "65542", "65536")}),
        (vectors.WINDOWS_STRINGS, {"otherIpPhone:88d5de9f6b4af985": ("str1", "str2", "str3", "str4")}),
        (
            vectors.SAMBA,
            {
                "department:d85e77c116162b5b": ("Human Resources",),
                "msDS-SupportedEncryptionTypes:042b6abde723c46a": ("24",),
                "msNPAllowDialin:592599c26e177304": ("true",),
            },
        ),
        (
            vectors.SAMBA_LONG,
            {
                "department:d85e77c116162b5b": ("Sales",),
                "otherTelephone:e771eba7a9ab3e85": ("101", "102"),
                "description:0bd157eb606d3f51": (" ".join(f"This sentence is number {n}." for n in range(30)),),
            },
        ),
    ],
)
def test_claims_of_every_type_and_number_are_read(data: bytes, claims: dict[str, tuple[str, ...]]) -> None:
    assert dict(read_claims(data)) == {f"ad://ext/{name}": values for name, values in claims.items()}


@pytest.mark.parametrize("data", [b"", claims_info(inner=b""), claims_info(arrays=0), claims_info([])])
def test_who_has_no_claims_has_none(data: bytes) -> None:
    assert read_claims(data) == ()


@PROPERTY
@given(st.dictionaries(TEXT.filter(bool), VALUES, max_size=4), st.sampled_from([0, 4]))
def test_every_claim_that_was_written_is_read(claims: dict[str, tuple[int, list[str | int]]], form: int) -> None:
    def in_words(kind: int, value: str | int) -> str:
        return ("false", "true")[bool(value)] if kind == BOOLEAN else str(value)

    data = claims_info([(name, kind, values) for name, (kind, values) in claims.items()], form=form)

    assert dict(read_claims(data)) == {
        name: tuple(in_words(kind, value) for value in values) for name, (kind, values) in claims.items()
    }


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (PLAIN[:47], "47 bytes, 48 are the least"),
        (b"\x02" + PLAIN[1:], "version 1"),
        (edited(PLAIN, 8, number(len(PLAIN))), "end at offset"),
        (PLAIN + bytes(8), "end at offset"),
        (edited(PLAIN, METADATA, number(0)), "null pointer"),
        (edited(PLAIN, METADATA + 4, number(len(INNER) + 1)), "counted otherwise"),
        (edited(PLAIN, METADATA + 4, number(2**32 - 1)), "counted otherwise"),
        (edited(edited(PLAIN, METADATA + 4, number(4000)), METADATA + 32, number(4000)), "exceeds the buffer"),
        (edited(PLAIN, METADATA + 8, number(0)), "doesn't fit an array"),
        (edited(PLAIN, METADATA + 16, number(len(INNER) - 1)), "counted as"),
        (edited(PLAIN, METADATA + 24, number(1)), "reserved"),
        (edited(PLAIN, METADATA + 28, number(1)), "reserved"),
        (edited(PLAIN, METADATA + 12, number(2, 2)), "packed by method 2"),
        (edited(PLAIN, METADATA + 12, number(3, 2)), "packed by method 3"),
        (claims_info(inner=INNER[:30]), "30 bytes"),
        (claims_info(inner=b"\x01\x10" + INNER[4:]), "version 1"),
        (inner(16, 0), "null pointer"),
        (inner(20, 2), "counted otherwise"),
        (inner(32, 1), "reserved"),
        (inner(48, 4000), "counted otherwise"),
        (claims_info([HR], arrays=2), "twice"),
        (claims_info([HR, HR]), "twice"),
        (claims_info([("", STRING, ("HR",))]), "without a name"),
        (claims_info([("x", BOOLEAN, (2,))]), "neither true nor false"),
        (claims_info([("x", 5, (1,))]), "unknown type 5"),
        (inner(66, INT64, 2), "values of type"),
        (inner(60, 0), "null pointer to a string"),
        (inner(68, 2), "counted otherwise"),
        (inner(72, 0), "doesn't fit an array"),
        (inner(80, 1), "counted otherwise"),
        (inner(76, 21), "counted otherwise"),
        (inner(84, 0), "counted otherwise"),
        (inner(84, 21), "without a NUL"),
        (claims_info([("x", STRING, ("H\0R",))]), "NUL"),
        (claims_info(inner=INNER.replace(b"H\0R\0", b"\0\xd8R\0")), "UTF-16"),
    ],
)
def test_what_is_not_whole_is_refused_with_where_it_is(data: bytes, says: str) -> None:
    error = refused(data)

    assert says in error.detail
    assert re.search(r"offset \d+|are the least", error.detail)


def test_more_behind_the_claims_than_filling_is_refused() -> None:
    more = INNER + bytes(16)

    assert refused(claims_info(inner=edited(more, 8, number(len(more) - 16)))).reason == "trailing-bytes"
    assert refused(framed(PLAIN[16:] + bytes(16))).reason == "trailing-bytes"


def test_truncation_at_every_byte_is_refused() -> None:
    for data in (vectors.WINDOWS, vectors.SAMBA):
        for size in range(1, len(data) - 7):
            refused(data[:size])
            refused(edited(data[:size], 8, number(size - 16)) if size > 16 else data[:size])


def test_every_bit_flip_is_claims_or_a_wire_error() -> None:
    for data in (vectors.WINDOWS, vectors.SAMBA, vectors.WINDOWS_INT):
        for changed in bit_flips(data):
            try:
                claims = read_claims(changed)
            except WireError:
                continue
            assert all(name and all(type(value) is str for value in values) for name, values in claims)


def test_error_never_quotes_a_claim() -> None:
    error = refused(claims_info(inner=INNER.replace(b"R\0", b"\0\xd8")))

    assert "department" not in repr(error)
    assert error.__suppress_context__


# Unpacking


def table(lengths: dict[int, int]) -> bytes:
    return bytes(lengths.get(at, 0) | lengths.get(at + 1, 0) << 4 for at in range(0, 512, 2))


@pytest.mark.parametrize(
    ("lengths", "bits", "plain"),
    [
        (
            {**dict.fromkeys(range(97, 119), 5), **dict.fromkeys(range(119, 123), 4), 256: 4},
            "d8523ed794115be9195ff9d67cdf8d0400000000",
            b"abcdefghijklmnopqrstuvwxyz",
        ),
        ({97: 3, 98: 3, 99: 2, 256: 2, 287: 2}, "a8dc0000ff2601", b"abc" * 100),
    ],
)
def test_examples_of_the_specification_are_unpacked(lengths: dict[int, int], bits: str, plain: bytes) -> None:
    """MS-XCA 3.2."""
    assert decompress(table(lengths) + bytes.fromhex(bits), len(plain)) == plain


@PROPERTY
@given(
    st.one_of(
        st.binary(max_size=2000),
        st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=9), st.integers(1, 1500)),
    )
)
def test_what_was_packed_is_unpacked(plain: bytes) -> None:
    assert decompress(packed(plain), len(plain)) == plain


@pytest.mark.parametrize("size", [1, 3, 17, 18, 19, 272, 273, 274, 65535, 65536])
def test_repetitions_of_every_length_are_unpacked(size: int) -> None:
    assert decompress(packed(b"a" * size), size) == b"a" * size


def test_length_in_the_longest_form_is_unpacked() -> None:
    """MS-XCA 3.2's second example, with its length in four bytes instead of two."""
    codes = table({97: 3, 98: 3, 99: 2, 256: 2, 287: 2})
    bits, length = bytes.fromhex("a8dc0000"), b"\xff" + bytes(2) + number(294)

    assert decompress(codes + bits + length, 300) == b"abc" * 100


@pytest.mark.parametrize(
    ("data", "size", "says"),
    [
        (packed(b"abc"), MOST + 1, "65536 are the most"),
        (packed(b"abc"), 2**32 - 1, "65536 are the most"),
        (b"", 3, "table"),
        (bytes(256), 3, "table"),
        (packed(b"abc")[:255], 3, "table"),
        (b"\x98" + packed(b"abc")[1:], 3, "table"),
        (b"\x90" + packed(b"abc")[1:], 3, "table"),
        (packed(b"abc")[:259], 3, "before all is unpacked"),
        (packed(b"abc"), 300, "at offset|before all is unpacked"),
        (packed(b"abcabc"), 5, "3 bytes again"),
        (packed(b"abc") + bytes(5), 3, "after all is unpacked"),
        (b"\x99" * 256 + number(0b1_0000_0000 << 7, 2) + bytes(2), 3, "again from 1 before"),
        (table({97: 3, 98: 3, 99: 2, 256: 2, 287: 2}) + bytes.fromhex("a8dc0000ff0100"), 300, "a length of 1 "),
    ],
)
def test_packed_bytes_that_are_not_whole_are_refused(data: bytes, size: int, says: str) -> None:
    with pytest.raises(WireError) as caught:
        decompress(data, size)

    assert re.search(says, caught.value.detail)


def test_packed_claims_that_say_a_wrong_size_are_refused() -> None:
    assert "CLAIMS_SET, packed: " in refused(claims_info([HR], form=4, size=len(INNER) + 20)).detail
    assert refused(claims_info([HR], form=4, size=2**31)).reason == "limit"


@PROPERTY
@given(st.binary(max_size=400), st.integers(0, MOST))
def test_any_bytes_are_unpacked_or_a_wire_error(data: bytes, size: int) -> None:
    for packing in (data, b"\x99" * 256 + data):
        try:
            assert len(decompress(packing, size)) == size
        except WireError as error:
            assert error.detail  # noqa: PT017 - the other way is allowed as well


@PROPERTY
@given(st.binary(max_size=400))
def test_any_bytes_are_claims_or_a_wire_error(data: bytes) -> None:
    for buffer in (data, framed(data), claims_info(inner=framed(data))):
        try:
            read_claims(buffer)
        except WireError as error:
            assert error.detail  # noqa: PT017 - the other way is allowed as well
