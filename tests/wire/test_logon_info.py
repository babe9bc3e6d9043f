"""KERB_VALIDATION_INFO: real ones are read, all else ends in a WireError that says where."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.logon_info import LogonInfo, read_logon_info

from . import building, claims_vectors, vectors
from .building import PROPERTY, logon_info

DOMAIN = "S-1-5-21-1-2-3"
DOMAIN_SID = building.sid_octets("S-1-5-21-592081427-2902996135-1186074398")
RIDS = st.lists(st.tuples(st.integers(1, 2**32 - 1), st.just(7)), max_size=40)
SIDS = st.lists(
    st.builds(
        lambda authority, parts: "-".join(map(str, ("S-1", authority, *parts))),
        st.integers(0, 2**32 - 1),
        st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=15),
    ).map(lambda sid: (sid, 7)),
    max_size=10,
)


def refused(data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read_logon_info(data)
    return caught.value


def edited(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + value.to_bytes(4, "little") + data[at + 4 :]


def test_buffer_of_samba_ad_names_account_and_groups() -> None:
    domain = "S-1-5-21-592081427-2902996135-1186074398"

    info = read_logon_info(vectors.LOGON_INFO)

    assert info == LogonInfo(
        account_name="alice",
        domain_name="ADTEST",
        user_sid=f"{domain}-1102",
        domain_sid=domain,
        primary_group_rid=513,
        group_rids=(513, 1106, 1107, 1108),
        extra_sids=("S-1-18-1",),
        resource_domain_sid=None,
        resource_rids=(),
        user_flags=0x20,
    )
    assert info.group_sids() == {*(f"{domain}-{rid}" for rid in (513, 1106, 1107, 1108)), "S-1-18-1"}


def test_domain_local_groups_are_of_their_own_domain() -> None:
    info = read_logon_info(logon_info(resource_domain_sid="S-1-5-21-7-8-9", resource=[(1200, 0x20000007)], flags=0x220))

    assert info.resource_rids == (1200,)
    assert "S-1-5-21-7-8-9-1200" in info.group_sids()


def test_domain_local_groups_of_a_newer_samba_come_apart_from_the_others_and_count() -> None:
    """Samba 4.22 as its KDC compresses SIDs of the service's domain (MS-KILE 3.3.5.6.3.1): nested groups too."""
    domain = "S-1-5-21-2692367991-3440342394-1178399520"

    info = read_logon_info(claims_vectors.LOGON_INFO_LOCAL_GROUPS)

    assert (info.group_rids, info.resource_domain_sid, info.resource_rids) == ((513, 1106, 1107), domain, (1108, 1109))
    assert info.group_sids() == {
        *(f"{domain}-{rid}" for rid in (513, 1106, 1107, 1108, 1109)),
        "S-1-18-1",
        "S-1-5-21-0-0-0-497",
    }


def test_primary_group_counts_though_it_is_not_listed() -> None:
    assert read_logon_info(logon_info(primary=1300, groups=[], extra=[])).group_sids() == {f"{DOMAIN}-1300"}


@pytest.mark.parametrize("flags", [0, 3, 0x10, 0x14, 0x17, 0x20000000])
def test_group_that_is_disabled_or_may_only_deny_is_no_membership(flags: int) -> None:
    data = logon_info(
        groups=[(1106, flags), (1107, 4)],
        extra=[("S-1-5-21-4-5-6-1108", flags)],
        resource_domain_sid="S-1-5-21-7-8-9",
        resource=[(1109, flags)],
    )

    assert read_logon_info(data).group_sids() == {f"{DOMAIN}-513", f"{DOMAIN}-1107"}


def test_account_without_a_rid_is_the_first_of_the_extra_sids_and_that_is_no_group() -> None:
    info = read_logon_info(logon_info(rid=0, groups=[], extra=[("S-1-5-21-4-5-6-500", 0), ("S-1-18-1", 7)]))

    assert info.user_sid == "S-1-5-21-4-5-6-500"
    assert info.extra_sids == ("S-1-18-1",)


def test_account_without_any_sid_is_malformed() -> None:
    assert "without a SID" in refused(logon_info(rid=0, extra=[])).detail


def test_groups_of_a_domain_that_is_not_named_are_malformed() -> None:
    assert "isn't named" in refused(logon_info(resource=[(1200, 7)])).detail


def test_strings_may_have_room_to_spare() -> None:
    data = bytearray(logon_info(""))
    data[70:72] = (64).to_bytes(2, "little")  # EffectiveName's MaximumLength
    spare = edited(bytes(data), 16 + 220, 32)  # and its room, by the array itself

    assert read_logon_info(spare).account_name == ""


def test_strings_may_be_null() -> None:
    info = read_logon_info(logon_info("alice", null_for_empty=True))

    assert (info.account_name, info.user_sid) == ("alice", f"{DOMAIN}-1102")
    assert info.group_sids() == read_logon_info(logon_info("alice")).group_sids()


def test_account_outside_the_basic_plane_is_read() -> None:
    assert read_logon_info(logon_info("🐈")).account_name == "🐈"


@PROPERTY
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), RIDS, SIDS, RIDS)
def test_every_group_that_was_written_is_read(
    account: str, groups: list[tuple[int, int]], extra: list[tuple[str, int]], resource: list[tuple[int, int]]
) -> None:
    data = logon_info(account, groups=groups, extra=extra, resource_domain_sid="S-1-5-21-7-8-9", resource=resource)

    info = read_logon_info(data)

    assert info.account_name == account
    assert info.group_sids() == {
        f"{DOMAIN}-513",
        *(f"{DOMAIN}-{rid}" for rid, _ in groups),
        *(sid for sid, _ in extra),
        *(f"S-1-5-21-7-8-9-{rid}" for rid, _ in resource),
    }


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (bytes(235), "235 bytes"),
        (b"\x02" + vectors.LOGON_INFO[1:], "version 1"),
        (b"\x01\x00" + vectors.LOGON_INFO[2:], "little-endian"),
        (edited(vectors.LOGON_INFO, 8, 0), "end at offset 16"),
        (edited(vectors.LOGON_INFO, 8, 0x1C0), "end at offset 464"),
        (edited(vectors.LOGON_INFO, 8, 2**32 - 1), "end at offset"),
        (vectors.LOGON_INFO + bytes(8), "464 bytes"),
        (edited(vectors.LOGON_INFO, 16, 0), "null pointer"),
        (edited(vectors.LOGON_INFO, 72, 0), "null pointer to a string of 10 bytes"),
        (logon_info("alice\0"), "NUL"),
        (logon_info("ab").replace(b"a\0b\0", b"\x00\xd8b\0"), "UTF-16"),
        (edited(vectors.LOGON_INFO, 236, 4), "counted otherwise"),
        (edited(vectors.LOGON_INFO, 240, 1), "counted otherwise"),
        (edited(vectors.LOGON_INFO, 244, 4), "counted otherwise"),
        (edited(vectors.LOGON_INFO, 128, 5), "an array of 5"),
        (edited(vectors.LOGON_INFO, 128, 2**32 - 1), "an array of 4294967295"),
        (edited(vectors.LOGON_INFO, 132, 0), "null pointer to an array of 4"),
        (edited(vectors.LOGON_INFO, 172, 0), "null pointer"),
        (logon_info().replace(building.sid_octets(DOMAIN), b"\x02" + building.sid_octets(DOMAIN)[1:]), "SID"),
        (edited(vectors.LOGON_INFO, vectors.LOGON_INFO.index(DOMAIN_SID) - 4, 5), "SID"),
        (edited(vectors.LOGON_INFO, vectors.LOGON_INFO.index(DOMAIN_SID) - 4, 0x104), "SID"),
        (vectors.LOGON_INFO.replace(bytes.fromhex("3000020007000000"), bytes.fromhex("0000000007000000")), "SID"),
        (logon_info(extra=[("S-1-5-" + "-".join("1" * 16), 7)]), "SID"),
        (logon_info()[:8] + b"\xf0" + logon_info()[9:], "bytes"),
    ],
)
def test_what_is_not_whole_is_refused_with_where_it_is(data: bytes, says: str) -> None:
    error = refused(data)

    assert says in error.detail
    assert re.search(r"offset \d+|are the least", error.detail)


def test_array_with_more_behind_it_than_padding_is_refused() -> None:
    data = logon_info() + bytes(8)

    assert refused(edited(data, 8, len(data) - 16)).reason == "trailing-bytes"


def test_truncation_at_every_byte_is_refused() -> None:
    for size in range(len(vectors.LOGON_INFO)):
        refused(vectors.LOGON_INFO[:size])
        refused(edited(vectors.LOGON_INFO[:size], 8, max(0, size - 16)))


def test_every_bit_flip_and_length_edit_is_a_value_or_a_wire_error() -> None:
    for changed in building.bit_flips(vectors.LOGON_INFO) + building.length_edits(vectors.LOGON_INFO):
        try:
            info = read_logon_info(changed)
        except WireError:
            continue
        assert all(re.fullmatch(r"S-1-\w+(-\d+)+", sid) for sid in info.group_sids())


@PROPERTY
@given(st.binary(max_size=400))
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes) -> None:
    framed = b"\x01\x10\x08\0" + bytes(4) + len(data).to_bytes(4, "little") + bytes(4) + data
    for buffer in (data, framed):
        try:
            read_logon_info(buffer)
        except WireError as error:
            assert error.detail  # noqa: PT017 - the other way is allowed as well


def test_error_never_quotes_the_name() -> None:
    error = refused(logon_info("sesame").replace(b"m\0e\0", b"m\0\x00\xd8"))

    assert "sesam" not in repr(error)
    assert error.__suppress_context__
