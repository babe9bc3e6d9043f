"""An exported name: what krb5 1.20 wrote is read to its end, and nothing else is taken for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire.composite_name import CompositeName, read_composite_name
from negotiate_mw.wire.errors import WireError

from . import building
from .building import PROPERTY

# of a ticket that a KDC of MIT krb5 1.20 made: its PAC has buffers 10, 16, 6 and 7
MIT = bytes.fromhex(
    "0402000b06092a864886f71201020200000012616c69636540544553542e4558414d504c45000000c600000002000000056d73706163"
    "0000009004000000000000000a0000001400000048000000000000001000000010000000600000000000000006000000100000007000"
    "000000000000070000001000000080000000000000000073b0bbfc80dd010a0061006c0069006300650000000000100000008"
    "50aecd4054b5c9e71b521dd10000000e712a2cafbb5de7f7a07eb631000000096150f4d1ae9f681b7307d5a00000001000000196175"
    "7468656e7469636174696f6e2d696e64696361746f727300000000"
)


def number(value: int) -> bytes:
    return value.to_bytes(4)


def counted(data: bytes) -> bytes:
    return number(len(data)) + data


def exported(
    pac: bytes = b"", indicators: tuple[bytes, ...] = (), *, name: bytes = b"alice@TEST.EXAMPLE", end: bytes = b""
) -> bytes:
    written = number(2) + counted(b"mspac") + counted(pac) + number(1) + counted(b"authentication-indicators")
    written += number(len(indicators)) + b"".join(map(counted, indicators)) + end
    return MIT[:15] + counted(name) + counted(written)


def modules(*names: bytes) -> bytes:
    """As many modules, each of which wrote nothing of length 0 and a number."""
    written = number(len(names)) + b"".join(counted(name) + number(0) + number(0) for name in names)
    return MIT[:15] + counted(b"alice@TEST.EXAMPLE") + counted(written)


def pac_of(*kinds: int) -> bytes:
    head = len(kinds).to_bytes(4, "little") + bytes(4)
    return head + b"".join(kind.to_bytes(4, "little") + bytes(12) for kind in kinds)


def test_what_a_real_library_wrote_is_read() -> None:
    assert read_composite_name(MIT) == CompositeName(
        b"alice@TEST.EXAMPLE",
        frozenset(
            {
                b"urn:mspac:",
                b"urn:mspac:client-info",
                b"urn:mspac:16",
                b"urn:mspac:server-checksum",
                b"urn:mspac:privsvr-checksum",
            }
        ),
    )


@pytest.mark.parametrize(
    ("pac", "indicators", "listed"),
    [
        (b"", (), set()),
        (b"", (b"pkinit", b"otp"), {b"auth-indicators"}),
        (pac_of(), (), {b"urn:mspac:"}),
        (pac_of(12, 1), (), {b"urn:mspac:", b"urn:mspac:upn-dns-info", b"urn:mspac:logon-info"}),
        (
            pac_of(11, 13, 13),
            (b"x",),
            {b"urn:mspac:", b"urn:mspac:delegation-info", b"urn:mspac:13", b"auth-indicators"},
        ),
    ],
)
def test_each_buffer_and_that_there_are_indicators_is_listed(
    pac: bytes, indicators: tuple[bytes, ...], listed: set[bytes]
) -> None:
    assert read_composite_name(exported(pac, indicators)) == CompositeName(b"alice@TEST.EXAMPLE", frozenset(listed))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MIT[:1] + b"\x01" + MIT[2:],  # a name without attributes
        MIT + b"\0",
        exported(end=b"\0"),
        exported(pac_of(12)[:-1]),
        exported(b"\1\0\0\0\1\0\0\0" + bytes(16)),  # another version of PACTYPE
        exported().replace(number(2) + number(5), number(3) + number(5)),
        exported().replace(b"mspac", b"mspad"),
        # as krb5 before 1.20 writes it, and with a plugin in front, as sssd's
        modules(b"mspac", b"constrained-delegation", b"authentication-indicators"),
        modules(b"sssd_pac", b"mspac", b"authentication-indicators"),
        modules(b"sssd_pac", b"mspac"),
        exported().replace(b"authentication-indicators", b"authentication-indicator_"),
    ],
)
def test_any_other_layout_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read_composite_name(data)


def test_what_is_cut_off_is_refused_and_what_is_changed_is_a_name_or_a_wire_error() -> None:
    for size in range(len(MIT)):
        with pytest.raises(WireError):
            read_composite_name(MIT[:size])
    for changed in building.bit_flips(MIT):
        try:
            read_composite_name(changed)
        except WireError:
            continue


@PROPERTY
@given(st.binary())
def test_any_bytes_are_a_name_or_a_wire_error(tail: bytes) -> None:
    for data in (tail, MIT[:15] + tail, MIT[:41] + tail):
        try:
            read_composite_name(data)
        except WireError:
            continue
