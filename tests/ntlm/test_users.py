"""The user file: each line is understood in one way, or the file is refused with what to write instead."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spnego._ntlm import _get_credential

from negotiate_mw.backends.ntlm_user_file import NtlmUserFile
from negotiate_mw.backends.ntlmv2 import nt_hash
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.ntlm_users import NtlmUsers, hash_line, read_users
from tests.wire.building import PROPERTY

from .conftest import WriteUsers

# MS-NLMP 4.2.2.1.2: NTOWFv1 of "Password"
HASH = "a4f49c406510bdcab6824ee7c30fd852"
EMPTY = "31D6CFE0D16AE931B73C59D7E0C089C0"


def users(text: str) -> NtlmUsers:
    return read_users(text.encode(), nt_hash)


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        users(text)
    return str(caught.value)


def test_nt_hash_is_that_of_the_specification() -> None:
    assert nt_hash("Password").hex() == HASH


@pytest.mark.parametrize(
    "line",
    [
        "CORP:alice:Password",
        f"CORP\\alice:0:{'0' * 32}:{HASH}:[U]:LCT-00000000",
        f"CORP\\alice:1000:{'X' * 32}:{HASH.upper()}:[U          ]:LCT-5E1F2A3B",
        f"CORP\\alice::NO PASSWORD:{HASH}::",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "{}\n", "\ufeff{}\r\n", "# by hand: in a hurry\n\n   \n{}\n\n"])
def test_user_is_read_from_either_kind_of_line(line: str, frame: str) -> None:
    found = users(frame.format(line)).find("CORP", "alice")

    assert found is not None
    assert (found.domain, found.name, found.nt_hash.hex()) == ("CORP", "alice", HASH)


def test_user_is_found_in_any_case_and_spelled_as_in_the_file() -> None:
    found = users("Corp:Älice:x").find("cORP", "äLICE")

    assert found is not None
    assert (found.domain, found.name) == ("Corp", "Älice")


def test_no_domain_means_the_only_one() -> None:
    assert users("CORP:alice:x").find("", "alice") is not None
    assert users("CORP:alice:x\nLAB:bob:x").find("", "alice") is None


def test_whoever_is_not_in_the_file_is_nobody() -> None:
    of = users("CORP:alice:x\nLAB:bob:x")

    assert of.find("CORP", "bob") is of.find("LAB", "alice") is of.find("CORP", "") is None
    assert of.domains == {"CORP", "LAB"}
    assert len(of) == 2


def test_password_keeps_its_spaces_and_letters() -> None:
    found = users("CORP:alice: pässword ").find("CORP", "alice")

    assert found is not None
    assert found.nt_hash == nt_hash(" pässword ")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("CORP:alice", "2 fields"),
        ("CORP:alice:pass:word", "negotiate-mw ntlm-hash"),
        ("alice", "1 fields"),
        (f"CORP\\alice:0:{HASH}:{HASH}:[U]:LCT-0:", "7 fields"),
        ("CORP:alice:", "password is empty"),
        (f"CORP\\alice:0:{HASH}:{EMPTY}:[U]:LCT-0", "password is empty"),
        (f"CORP\\alice:0:{HASH}:{HASH}:[DU]:LCT-0", "disabled"),
        (f"CORP\\alice:0:{HASH}:{HASH}:[NU]:LCT-0", "without a password"),
        (f"CORP\\alice:0:{HASH}:{HASH[:-1]}:[U]:LCT-0", "32 hexadecimal"),
        (f"CORP\\alice:0:{HASH}:{HASH[:-1]}g:[U]:LCT-0", "32 hexadecimal"),
        (f"CORP\\alice:0:{HASH}:{HASH[:-2]} a:[U]:LCT-0", "32 hexadecimal"),
        (f"CORP\\alice:0:{HASH}:{HASH[:-1]}\u0661:[U]:LCT-0", "32 hexadecimal"),
        (f"CORP\\alice:0:{HASH}:NO PASSWORDXXXXXXXXXXXXXXXXXXXXX:[U]:LCT-0", "32 hexadecimal"),
        (f"alice:0:{HASH}:{HASH}:[U]:LCT-0", "the domain is missing"),
        (":alice@corp.example:x", "the domain is missing"),
        ("CORP::x", "the user is missing"),
        ("CORP:alice@CORP:x", "the user can't be used"),
        ("CORP\\LAB:alice:x", "the domain can't be used"),
        ("CORP:LAB\\alice:x", "the user can't be used"),
        (" CORP:alice:x", "the domain can't be used"),
        ("CORP:alice :x", "the user can't be used"),
        ("CORP:al\x00ice:x", "the user can't be used"),
        ("CORP:al\u2028ice:x", "the user can't be used"),
        ("CORP:host/pc1:x", "the user can't be used"),
    ],
)
def test_line_that_could_be_misread_is_refused_with_its_number(line: str, says: str) -> None:
    told = refused(f"# the first line\nCORP:first:x\n{line}\n")

    assert told.startswith("line 3: ")
    assert says in told
    assert HASH[:-2] not in told
    assert "pass:word" not in told


@pytest.mark.parametrize("again", ["CORP:Alice:y", f"CORP\\ALICE:0:{HASH}:{HASH}:[U]:LCT-0"])
def test_two_lines_never_stand_for_one_user(again: str) -> None:
    assert "line 3: the same user as in line 1" in refused(f"CORP:alice:x\nCORP:bob:x\n{again}")


def test_domain_is_spelled_in_one_way() -> None:
    assert "line 2: a domain spelled in two ways; write 'CORP'" in refused("CORP:alice:x\nCorp:bob:x")


@pytest.mark.parametrize("text", ["", "\n", "# CORP:alice:x\n"])
def test_file_without_users_is_refused(text: str) -> None:
    assert "holds no user" in refused(text)


def test_file_that_is_no_text_is_refused_and_not_quoted() -> None:
    with pytest.raises(ConfigurationError, match="isn't UTF-8") as caught:
        read_users(b"CORP:alice:\xff", nt_hash)

    assert caught.value.__cause__ is None


@given(st.text())
@PROPERTY
def test_whatever_the_file_holds_the_error_is_ours(text: str) -> None:
    try:
        found = users(text)
    except ConfigurationError:
        return

    assert found.domains


def test_hash_line_is_read_back() -> None:
    found = users(hash_line("CORP", "bob", nt_hash("hunter:2"), bytes(16))).find("CORP", "bob")

    assert found is not None
    assert found.nt_hash == nt_hash("hunter:2")


def test_pyspnego_reads_the_same_users(write_users: WriteUsers) -> None:
    path = write_users("CORP:alice:Password\n" + hash_line("LAB", "bob", nt_hash("hunter2"), bytes(16)) + "\n")
    ours = read_users(path.read_bytes(), nt_hash)

    for domain, name in (("CORP", "alice"), ("LAB", "BOB")):
        found = ours.find(domain, name)
        assert found is not None
        assert _get_credential(str(path), domain, name)[3] == found.nt_hash


@pytest.mark.parametrize(("domain", "name"), [("", "bob"), ("CORP", ""), ("CORP", "a:b"), ("CO\\RP", "bob")])
def test_hash_line_of_an_unusable_name_is_refused(domain: str, name: str) -> None:
    with pytest.raises(ConfigurationError):
        hash_line(domain, name, nt_hash("x"), bytes(16))


def test_hash_line_of_no_password_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="password is empty"):
        hash_line("CORP", "bob", nt_hash(""), bytes(16))


# --- on disk


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o660, 0o666])
def test_file_that_others_may_read_or_write_is_refused(users: Path, mode: int) -> None:
    users.chmod(mode)

    problem = NtlmUserFile(users, nt_hash).problem()

    assert problem is not None
    assert f"its mode is {mode:o}" in problem
    assert f"chmod 600 {users}" in problem


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_file_that_others_may_not_read_is_fine(users: Path, mode: int) -> None:
    users.chmod(mode)

    assert NtlmUserFile(users, nt_hash).problem() is None


def test_mode_is_no_matter_on_windows(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users.chmod(0o666)
    monkeypatch.setattr(os, "name", "nt")
    file = NtlmUserFile.__new__(NtlmUserFile)
    file.__dict__ |= {"path": users, "_nt_hash": nt_hash, "_seen": (), "domains": frozenset()}

    file._look()

    assert file._problem is None


@pytest.mark.parametrize(
    ("text", "says"), [("CORP:alice", "line 1: 2 fields"), ("x" * 100, "it has 100 bytes, 99 are allowed")]
)
def test_file_with_a_wrong_line_or_too_large_is_refused(
    write_users: WriteUsers, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.setattr("negotiate_mw.backends.ntlm_user_file._MAX_BYTES", 99)

    problem = NtlmUserFile(write_users(text), nt_hash).problem()

    assert problem is not None
    assert says in problem


def test_directory_is_refused(tmp_path: Path) -> None:
    problem = NtlmUserFile(tmp_path, nt_hash).problem()

    assert problem is not None
    assert "can't be read (Is a directory)" in problem


def test_file_that_recovers_lets_its_users_in_again(users: Path) -> None:
    file = NtlmUserFile(users, nt_hash)
    assert file.problem() is None
    users.chmod(0o644)
    assert file.look_again() is not None
    assert file.users is None

    users.chmod(0o600)

    assert file.look_again() is None
    assert file.users is not None


def test_file_is_read_once_as_long_as_it_is_the_same(users: Path) -> None:
    hashed: list[str] = []
    file = NtlmUserFile(users, lambda password: hashed.append(password) or nt_hash(password))  # type: ignore[func-returns-value]

    for _ in range(3):
        assert file.look_again() is None

    assert hashed == ["secret"]
