"""S4U_DELEGATION_INFO: real ones are read, all else ends in a WireError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire.delegation_info import read_delegation_info
from negotiate_mw.wire.errors import WireError

from .building import PROPERTY, bit_flips

# of a ticket of Samba's for alice, which HTTP/front.test.example got for HTTP/back.test.example
REAL = bytes.fromhex(
    """
    01100800ccccccccb800000000000000000002002c002c0004000200010000000800020016000000000000001600000048005400540050
    002f006200610063006b002e0074006500730074002e006500780061006d0070006c006500010000004e004e000c000200270000000000
    00002700000048005400540050002f00660072006f006e0074002e0074006500730074002e006500780061006d0070006c006500400041
    0044002e0054004500530054002e004500580041004d0050004c004500000000000000
    """
)
NAMES = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), max_size=5)


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def delegation_info(services: list[str], target: str = "HTTP/back", *, count: int | None = None) -> bytes:
    def head(text: str) -> bytes:
        return (len(text.encode("utf-16-le")).to_bytes(2, "little") * 2) + number(0x20004 if text else 0)

    def characters(text: str) -> bytes:
        octets = text.encode("utf-16-le")
        units = number(len(octets) // 2)
        return units + number(0) + units + octets + bytes(-len(octets) % 4) if text else b""

    counted = number(len(services) if count is None else count)
    body = number(0x20000) + head(target) + counted + number(0x20008 if services else 0) + characters(target)
    if services:
        body += counted + b"".join(map(head, services)) + b"".join(map(characters, services))
    body += bytes(-len(body) % 8)
    return b"\x01\x10\x08\0\xcc\xcc\xcc\xcc" + number(len(body)) + bytes(4) + body


def refused(data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read_delegation_info(data)
    return caught.value


def edited(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def test_buffer_of_samba_ad_names_the_service_that_acted_for_the_user() -> None:
    assert read_delegation_info(REAL) == ("HTTP/front.test.example@AD.TEST.EXAMPLE",)


@PROPERTY
@given(NAMES, st.sampled_from(["", "HTTP/back", "odd"]))
def test_every_service_that_was_written_is_read_in_its_order(services: list[str], target: str) -> None:
    assert read_delegation_info(delegation_info(services, target)) == tuple(services)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (REAL[:35], "35 bytes"),
        (b"\x02" + REAL[1:], "version 1"),
        (b"\x01\x00" + REAL[2:], "little-endian"),
        (edited(REAL, 8, number(len(REAL) - 15)), "end at offset"),
        (REAL + bytes(8), "end at offset"),
        (edited(REAL, 16, number(0)), "null pointer"),
        (edited(REAL, 28, number(0)), "null pointer"),
        (edited(REAL, 28, number(2**32 - 1)), "exceeds the buffer"),
        (edited(REAL, 20, b"\xff\xff\xff\xff"), "exceeds the buffer"),
        (edited(REAL, 24, number(0)), "null pointer to a string"),
        (edited(REAL, 36, number(1)), "counted otherwise"),
        (edited(REAL, 40, number(1)), "counted otherwise"),
        (edited(REAL, 44, number(1)), "counted otherwise"),
        (edited(REAL, 22, b"\0\0"), "counted otherwise"),
        (delegation_info([""]), "without a name"),
        (delegation_info(["HTTP/a\0b"]), "NUL"),
        (edited(REAL, 48, b"\x00\xd8"), "not UTF-16"),
    ],
)
def test_what_contradicts_itself_is_refused_in_words_that_say_where(data: bytes, says: str) -> None:
    assert says in str(refused(data))


def test_bytes_behind_the_last_name_are_refused() -> None:
    longer = REAL[:8] + number(len(REAL) - 16 + 16) + REAL[12:] + bytes(16)

    assert refused(longer).reason == "trailing-bytes"


def test_every_bit_flip_and_every_cut_is_read_or_refused() -> None:
    for data in [*bit_flips(REAL), *(REAL[:end] for end in range(len(REAL)))]:
        try:
            read_delegation_info(data)
        except WireError:
            continue


@PROPERTY
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_garbage_is_read_or_refused(garbage: bytes, behind: bytes) -> None:
    framed = b"\x01\x10\x08\0\xcc\xcc\xcc\xcc" + number(len(behind)) + bytes(4) + behind
    for data in (garbage, framed):
        try:
            read_delegation_info(data)
        except WireError:
            continue
