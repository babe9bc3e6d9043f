"""Keytabs: what a real one holds is listed without its keys; a damaged one is refused as a whole."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire.errors import Incomplete, WireError
from negotiate_mw.wire.keytab import KeytabEntry, read_keytab

from . import building, vectors
from .building import PROPERTY, keytab, record

NAME = (b"HTTP", b"www.test.example")


def refused(data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read_keytab(data)
    return caught.value


def test_keytab_of_kadmin_with_holes_lists_what_klist_lists() -> None:
    entries = read_keytab(vectors.KEYTAB)

    assert [(entry.principal, entry.realm, entry.kvno, entry.enctype) for entry in entries] == [
        ("HTTP/www.test.example", "TEST.EXAMPLE", 1, 18),
        ("HTTP/www.test.example", "TEST.EXAMPLE", 1, 17),
        ("nasty\\/one\\@two/three", "TEST.EXAMPLE", 3, 18),
        ("nasty\\/one\\@two/three", "TEST.EXAMPLE", 3, 17),
    ]
    assert entries[2].components == ("nasty/one@two", "three")
    assert all(entry.timestamp > 1_700_000_000 for entry in entries)


def test_keys_are_nowhere_in_the_entries() -> None:
    data = keytab(record(*NAME, key=b"sesame-sesame-sesame-sesame-1234"))

    (entry,) = read_keytab(data)

    assert entry == KeytabEntry(
        principal="HTTP/www.test.example",
        realm="TEST.EXAMPLE",
        components=("HTTP", "www.test.example"),
        kvno=3,
        enctype=18,
        timestamp=1_700_000_000,
    )
    assert "sesame" not in repr(entry)


def test_keytab_without_keys_is_empty() -> None:
    assert read_keytab(b"\x05\x02") == ()


@pytest.mark.parametrize(
    ("tail", "kvno"),
    [
        (b"", 3),
        (b"\x00\x00\x00", 3),
        (b"\x00\x00\x00\x00", 3),
        (b"\x00\x00\x01\x03", 259),
        (b"\xff\xff\x00\x01", 0xFFFF0001),
        (b"\x00\x00\x01\x03" + bytes(4), 259),  # Heimdal's flags
    ],
)
def test_32_bit_key_version_counts_where_it_is_present_and_not_zero(tail: bytes, kvno: int) -> None:
    (entry,) = read_keytab(keytab(record(*NAME, tail=tail)))

    assert entry.kvno == kvno


@pytest.mark.parametrize("hole", [b"\xff\xff\xff\xff\0", b"\xff\xff\xff\xfe\xff\xff"])
def test_holes_are_skipped_whatever_is_in_them(hole: bytes) -> None:
    entries = read_keytab(keytab(hole, record(*NAME), hole, record(b"host", b"pc"), hole))

    assert [entry.principal for entry in entries] == ["HTTP/www.test.example", "host/pc"]


def test_record_of_no_size_is_the_end() -> None:
    assert len(read_keytab(keytab(record(*NAME), bytes(4), b"whatever"))) == 1


@pytest.mark.parametrize(("enctype", "size"), [(17, 16), (20, 32), (23, 16), (-128, 5), (999, 1)])
def test_key_has_the_size_that_its_enctype_wants_where_that_is_known(enctype: int, size: int) -> None:
    (entry,) = read_keytab(keytab(record(*NAME, enctype=enctype, key=bytes(size))))

    assert entry.enctype == enctype


@pytest.mark.parametrize(("enctype", "size"), [(18, 16), (17, 32), (17, 0), (23, 15)])
def test_key_of_another_size_is_malformed(enctype: int, size: int) -> None:
    assert refused(keytab(record(*NAME, enctype=enctype, key=bytes(size)))).reason == "malformed"


def test_keytab_in_the_old_format_says_what_to_do() -> None:
    error = refused(b"\x05\x01" + vectors.KEYTAB[2:])

    assert error.reason == "unsupported-version"
    assert "ktutil" in error.detail


@pytest.mark.parametrize("data", [b"\x05\x04\0\0", b"-----BEGIN CERTIFICATE-----", b"\x02\x05", bytes(8)])
def test_another_kind_of_file_is_malformed(data: bytes) -> None:
    assert refused(data).reason == "malformed"


@pytest.mark.parametrize(
    "data", [b"", b"\x05", b"\x05\x02\x00", b"\x05\x02\x80\x00\x00\x00", b"\x05\x02\xff\xff\xff\xff"]
)
def test_file_that_ends_early_is_incomplete(data: bytes) -> None:
    assert isinstance(refused(data), Incomplete)


@pytest.mark.parametrize(
    "entry",
    [
        record(),
        record(*NAME, count=0),
        record(*NAME, count=3, key=b"\xff" * 32),
        record(*NAME, count=0xFFFF),
        record(*NAME, realm=b"\xff"),
        record(b"\xc3"),
        b"\0\0\0\x01\0",
        b"\0\0\0\x03\0\x01\0",
        b"\0\0\0\x04\0\x01\0\x01",
        b"\0\0\0\x0b\0\x01\0\x01R\0\x01p\0\0\0",
    ],
)
def test_record_whose_insides_do_not_fit_is_malformed_never_incomplete(entry: bytes) -> None:
    assert refused(keytab(entry)).reason == "malformed"


def test_key_that_exceeds_its_record_is_malformed() -> None:
    entry = record(*NAME, enctype=999)

    assert refused(keytab(entry[:3] + bytes([entry[3] - 1]) + entry[4:-1])).reason == "malformed"


def test_truncation_at_every_byte_is_incomplete_or_ends_between_two_records() -> None:
    whole = read_keytab(vectors.KEYTAB)

    between = 0
    for size in range(len(vectors.KEYTAB)):
        try:
            entries = read_keytab(vectors.KEYTAB[:size])
        except Incomplete:
            continue
        between += 1
        assert entries == whole[: len(entries)]

    assert between == 6  # before and after each of four entries and two holes, but for the whole file


def test_every_bit_flip_and_length_edit_is_a_value_or_a_wire_error() -> None:
    for changed in building.bit_flips(vectors.KEYTAB) + building.length_edits(vectors.KEYTAB):
        try:
            entries = read_keytab(changed)
        except WireError:
            continue
        assert isinstance(entries, tuple)


@PROPERTY
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes) -> None:
    for file in (data, b"\x05\x02" + data, b"\x05\x02" + len(data).to_bytes(4, "big") + data):
        try:
            entries = read_keytab(file)
        except WireError:
            continue
        assert isinstance(entries, tuple)


@pytest.mark.parametrize(
    "data",
    [
        keytab(b"\xff\xff\xff\xff\0" * 100_000 + b"\0"),
        keytab(b"\x00\x03\xff\xff\xff\xff" + bytes(262_200)),
        keytab(record(*NAME) * 5_000, b"\0"),
    ],
    ids=["holes", "components", "entries"],
)
def test_half_a_megabyte_of_spite_is_read_or_refused_at_once(data: bytes) -> None:
    started = time.process_time()

    with contextlib.suppress(WireError):
        read_keytab(data)

    assert time.process_time() - started < 1


def test_error_never_quotes_the_file() -> None:
    error = refused(keytab(record(b"sesame\xff")))

    assert "sesame" not in repr(error)
    assert error.__suppress_context__
