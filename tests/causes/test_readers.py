"""What the readers say for an explanation alone: a KRB-ERROR's clocks, a server's NTLM challenge, a file's lock."""

import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.backends.replay_file import ReplayFile
from negotiate_mw.wire import ntlm
from negotiate_mw.wire.errors import Incomplete, WireError
from negotiate_mw.wire.kerberos import enctype_name, krb_error_code, read_krb_error
from tests.wire import vectors
from tests.wire.building import KRB5_OID, PROPERTY, PVNO, integer, neg_token_resp, sname, tlv

MSG_TYPE = integer(0xA1, b"\x1e")
MICROSECONDS = {0xA3: integer(0xA3, b"\x01"), 0xA5: integer(0xA5, b"\x02")}
CODE = integer(0xA6, b"\x25")
REALM = tlv(0xA9, tlv(0x1B, b"TEST.EXAMPLE"))
NAME = tlv(0xAA, sname(b"HTTP", b"www.test.example")[2:])


def time(tag: int, text: bytes = b"20260105093000Z") -> bytes:
    return tlv(tag, tlv(0x18, text))


def krb_error(*fields: bytes) -> bytes:
    return tlv(0x60, KRB5_OID, b"\x03\x00", tlv(0x7E, tlv(0x30, PVNO, MSG_TYPE, *fields)))


STIME = time(0xA4), MICROSECONDS[0xA5]


@pytest.mark.parametrize("token", [vectors.KERBEROS_ERROR, vectors.SPNEGO_KERBEROS_ERROR])
def test_the_error_token_of_a_replay(token: bytes) -> None:
    error = read_krb_error(token)

    assert error is not None
    assert (error.code, error.realm, error.service) == (34, "TEST.EXAMPLE", ("HTTP", "www.test.example"))
    assert (error.client_time, error.server_time, error.text) == (None, "2026-11-22 16:23:50 UTC", None)


def test_an_error_with_everything_in_it() -> None:
    client = time(0xA2, b"20260105093610Z"), MICROSECONDS[0xA3]
    names = tlv(0xA7, tlv(0x1B, b"TEST.EXAMPLE")), tlv(0xA8, sname(b"alice")[2:])

    error = read_krb_error(krb_error(*client, *STIME, CODE, *names, REALM, NAME, tlv(0xAB, tlv(0x1B, b"a text"))))

    assert error is not None
    assert error.code == 37
    assert (error.client_time, error.server_time) == ("2026-01-05 09:36:10 UTC", "2026-01-05 09:30:00 UTC")
    assert error.text == "a text"


def test_a_reject_without_a_token_is_none() -> None:
    assert read_krb_error(neg_token_resp(tlv(0xA0, tlv(0x0A, b"\x02")))) is None


@pytest.mark.parametrize("text", [b"20260105093000", b"20260105093000.1Z", b"2026010509300\xb2Z", b"", b"x" * 15])
def test_a_time_of_another_form_is_refused(text: bytes) -> None:
    with pytest.raises(WireError, match="stime"):
        read_krb_error(krb_error(time(0xA4, text), MICROSECONDS[0xA5], CODE, REALM, NAME))


@PROPERTY
@given(at=st.integers(0, len(vectors.KERBEROS_ERROR) - 1), octet=st.integers(0, 255))
def test_a_changed_error_is_read_like_its_code_or_refused(at: int, octet: int) -> None:
    changed = vectors.KERBEROS_ERROR[:at] + bytes([octet]) + vectors.KERBEROS_ERROR[at + 1 :]

    with suppress(WireError):
        error = read_krb_error(changed)
        assert error is not None
        assert error.code == krb_error_code(changed)


@pytest.mark.parametrize(
    ("enctype", "name"), [(18, "aes256-cts-hmac-sha1-96"), (23, "rc4-hmac"), (-1, "encryption type -1")]
)
def test_encryption_types_have_names(enctype: int, name: str) -> None:
    assert enctype_name(enctype) == name


def test_a_servers_challenge() -> None:
    challenge = ntlm.read_challenge(vectors.NTLM_CHALLENGE)

    assert challenge.target_name == "WWW"
    assert challenge.names == ("WWW", "WORKSTATION", "www", None, None)
    assert challenge.flags & ntlm.TARGET_TYPE_SERVER


@pytest.mark.parametrize("token", [vectors.NTLM_NEGOTIATE, vectors.NTLM_AUTHENTICATE])
def test_what_is_no_challenge_is_refused(token: bytes) -> None:
    with pytest.raises(WireError, match="CHALLENGE"):
        ntlm.read_challenge(token)


@PROPERTY
@given(at=st.integers(0, len(vectors.NTLM_CHALLENGE)), octets=st.binary(max_size=8))
def test_whatever_becomes_of_a_challenge_the_error_is_ours(at: int, octets: bytes) -> None:
    with suppress(WireError):
        ntlm.read_challenge(vectors.NTLM_CHALLENGE[:at] + octets + vectors.NTLM_CHALLENGE[at + len(octets) :])


def test_a_challenge_that_is_cut_off_is_incomplete() -> None:
    with pytest.raises(Incomplete):
        ntlm.read_challenge(vectors.NTLM_CHALLENGE[:40])


def test_where_replays_are_not_looked_for_no_lock_holds_anybody_up() -> None:
    assert ReplayFile("none").locked() is None


HOLD = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/locks")
def test_a_replay_caches_lock_is_seen_and_ours_is_not_let_go_by_looking(tmp_path: Path) -> None:
    replay_file = ReplayFile(tmp_path)
    assert replay_file.locked() is None, "there is no file yet"
    replay_file.create()
    file = tmp_path / f"krb5_{os.geteuid()}.rcache2"
    assert replay_file.locked() is None

    with file.open("r+b") as ours:
        fcntl.lockf(ours, fcntl.LOCK_EX)
        seen = replay_file.locked()
        other = subprocess.run(
            [sys.executable, "-c", HOLD.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB"), file], capture_output=True
        )

    assert seen == str(file)
    assert b"BlockingIOError" in other.stderr
    assert replay_file.locked() is None
