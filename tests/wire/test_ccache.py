"""Credential cache files: what the library writes is read, what is written is read again, all else is a WireError."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire import spnego
from negotiate_mw.wire.ccache import Principal, impersonator_note, read_ccache, ticket_entry, write_ccache
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.kerberos import read_ap_req, read_ticket

from . import vectors
from .building import AP_OPTIONS, AUTHENTICATOR, MSG_TYPE, PROPERTY, PVNO, TICKET, ap_req, bit_flips

ALICE = Principal(b"CORP.EXAMPLE", (b"alice",))
KRBTGT = Principal(b"CORP.EXAMPLE", (b"krbtgt", b"CORP.EXAMPLE"), 2)
BACK = Principal(b"CORP.EXAMPLE", (b"HTTP", b"back.corp.example"), 3)
CACHE = write_ccache(
    ALICE,
    impersonator_note(ALICE, "svc@CORP.EXAMPLE"),
    ticket_entry(ALICE, KRBTGT, b"tgt", flags=0, end=0),
    ticket_entry(ALICE, BACK, b"ticket", flags=0x40000000, end=2**31),
)
PRINCIPALS = st.builds(Principal, st.binary(max_size=9), st.lists(st.binary(max_size=9), max_size=4).map(tuple))


def test_what_kinit_and_kvno_write_is_read(kerberos_realm: KerberosRealm) -> None:
    ccache = kerberos_realm.kinit("alice")
    kvno = ["kvno", "-q", "HTTP/localhost@TEST.EXAMPLE"]
    subprocess.run(kvno, env=kerberos_realm.environ(ccache), check=True)

    entries = [entry for entry in read_ccache(ccache.read_bytes()) if not entry.is_note]

    realm = b"TEST.EXAMPLE"
    assert [entry.client for entry in entries] == [Principal(realm, (b"alice",))] * 2
    assert [entry.server.components for entry in entries] == [(b"krbtgt", realm), (b"HTTP", b"localhost")]
    assert [entry.grants_tickets for entry in entries] == [True, False]


def test_the_library_reads_an_entry_that_was_kept(kerberos_realm: KerberosRealm, tmp_path: Path) -> None:
    first, *_ = (e for e in read_ccache(kerberos_realm.kinit("alice").read_bytes()) if e.grants_tickets)
    kept = tmp_path / "kept"

    kept.write_bytes(write_ccache(first.client, first.octets))

    done = subprocess.run(
        ["kvno", "HTTP/localhost"], env=kerberos_realm.environ(kept), capture_output=True, text=True, check=True
    )
    assert "HTTP/localhost@TEST.EXAMPLE: kvno" in done.stdout


def test_what_is_written_is_read() -> None:
    note, tgt, ticket = read_ccache(CACHE)

    assert (note.is_note, tgt.is_note, ticket.is_note) == (True, False, False)
    assert (tgt.grants_tickets, ticket.grants_tickets) == (True, False)
    assert (ticket.client, ticket.server) == (ALICE, BACK)
    assert b"ticket" in ticket.octets
    assert b"svc@CORP.EXAMPLE" in note.octets


@PROPERTY
@given(PRINCIPALS, PRINCIPALS, st.binary(max_size=50))
def test_any_name_survives(client: Principal, server: Principal, ticket: bytes) -> None:
    entry = ticket_entry(client, server, ticket, flags=1, end=2)

    (read,) = read_ccache(write_ccache(client, entry))

    assert (read.client, read.server, read.octets) == (client, server, entry)


def test_a_ticket_granting_ticket_of_another_realm_is_one_too() -> None:
    foreign = Principal(b"CORP.EXAMPLE", (b"krbtgt", b"OTHER.EXAMPLE"))

    (entry,) = read_ccache(write_ccache(ALICE, ticket_entry(ALICE, foreign, b"", flags=0, end=0)))

    assert entry.grants_tickets


def test_names_are_the_same_whatever_type_they_say_they_are_of() -> None:
    assert Principal(b"R", (b"a",), 1) == Principal(b"R", (b"a",), 10)


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x05\x03" + CACHE[2:], b"\x04\x04" + CACHE[2:]])
def test_another_format_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read_ccache(data)


def test_a_cut_within_an_entry_is_refused() -> None:
    begin = len(write_ccache(ALICE))
    whole = {begin}
    for entry in read_ccache(CACHE):
        whole.add(max(whole) + len(entry.octets))

    for end in range(len(CACHE)):
        if end in whole:
            read_ccache(CACHE[:end])
        else:
            with pytest.raises(WireError):
                read_ccache(CACHE[:end])


def test_every_bit_flip_is_read_or_refused() -> None:
    for data in bit_flips(CACHE):
        try:
            read_ccache(data)
        except WireError:
            continue


# The ticket in an AP-REQ


@pytest.mark.parametrize("token", [vectors.KERBEROS, vectors.SPNEGO_KERBEROS_AD], ids=["mit", "samba"])
def test_the_ticket_is_taken_out_of_a_token_whole(token: bytes) -> None:
    first = spnego.read(token)
    assert isinstance(first, spnego.FirstToken)
    assert first.mech_token

    ticket = read_ticket(first.mech_token)

    assert ticket[0] == 0x61
    assert int.from_bytes(ticket[2:4]) + 4 == len(ticket)
    assert first.mech_token.count(ticket) == 1
    assert read_ap_req(first.mech_token).authenticator not in ticket


def test_the_ticket_that_is_taken_is_the_one_that_was_put_there() -> None:
    token = ap_req(PVNO, MSG_TYPE, AP_OPTIONS, TICKET, AUTHENTICATOR)

    assert TICKET.endswith(read_ticket(token))


def test_an_ap_req_in_another_spelling_has_no_ticket() -> None:
    with pytest.raises(WireError):
        read_ticket(ap_req(PVNO, MSG_TYPE, AP_OPTIONS, TICKET, TICKET, AUTHENTICATOR))
