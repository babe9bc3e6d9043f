"""What an operator can do wrong with keytab and replay cache is found before a user does, and says what to type."""

import os
import re
import struct
from pathlib import Path

import pytest

from negotiate_mw.backends import keytab as keytab_module
from negotiate_mw.backends.keytab import Keytab
from negotiate_mw.backends.replay_file import ReplayFile


def keytab_bytes(*principals: str) -> bytes:
    """A keytab file (format 0x0502) with one AES-256 key for each principal."""
    content = b"\x05\x02"
    for principal in principals:
        name, _, realm = principal.partition("@")
        parts = name.split("/")
        entry = struct.pack(">H", len(parts)) + counted(realm) + b"".join(map(counted, parts))
        entry += struct.pack(">IIB", 1, 0, 2) + struct.pack(">HH", 18, 32) + bytes(32) + struct.pack(">I", 2)
        content += struct.pack(">i", len(entry)) + entry
    return content


def counted(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "http.keytab"
    path.write_bytes(keytab_bytes("HTTP/www@CORP.EXAMPLE", "HTTP/www@LAB.EXAMPLE", "host/pc@OTHER.EXAMPLE"))
    return path


def test_the_realms_are_those_of_our_services_keys(path: Path) -> None:
    keytab = Keytab(path, "HTTP")

    assert keytab.problem() is None
    assert keytab.realms == {"CORP.EXAMPLE", "LAB.EXAMPLE"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no usable keytab"),
        (b"\x05\x02", "holds no key of HTTP/"),
        (b"\x05\x02\x00\x00\x00\x40half", "no usable keytab"),
        (keytab_bytes("host/pc@CORP.EXAMPLE"), r"it holds host/pc\); export one, as in: kadmin"),
    ],
)
def test_a_keytab_that_lets_nobody_in_is_a_problem_with_a_cure(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)

    problem = Keytab(path, "HTTP").problem()

    assert problem
    assert re.search(sentence, problem)


def test_a_missing_keytab_says_where_the_name_comes_from(tmp_path: Path) -> None:
    problem = Keytab(tmp_path / "missing", "HTTP").problem()

    assert problem
    assert "Acceptor(keytab=…) or KRB5_KTNAME=…" in problem


def test_an_unreadable_keytab_says_whom_to_let_read_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)

    problem = Keytab(path, "HTTP").problem()

    assert problem
    assert f"setfacl -m u:{os.geteuid()}:r {path}" in problem


def test_a_keytab_of_absurd_size_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keytab_module, "_MAX_BYTES", 10)

    problem = Keytab(path, "HTTP").problem()

    assert problem
    assert "too-large" in problem


def test_a_replaced_keytab_is_seen_within_a_second_and_a_broken_one_keeps_the_realms(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(keytab_module.time, "monotonic", lambda: clock[0])
    keytab = Keytab(path, "HTTP")
    assert keytab.problem() is None
    first = keytab.realms

    path.write_bytes(b"")
    unseen = keytab.problem()
    clock[0] += 1.1
    seen = keytab.problem()
    path.write_bytes(keytab_bytes("HTTP/www@NEW.EXAMPLE"))
    at_once = keytab.look_again()

    assert unseen is None
    assert seen
    assert at_once is None
    assert first == {"CORP.EXAMPLE", "LAB.EXAMPLE"}
    assert keytab.realms == {"NEW.EXAMPLE"}


def test_the_same_keys_again_are_the_same_object(path: Path) -> None:
    keytab = Keytab(path, "HTTP")
    keytab.problem()
    before = keytab.realms

    path.write_bytes(path.read_bytes() + b"\0\0\0\0")
    keytab.look_again()

    assert keytab.realms is before


@pytest.mark.parametrize("prefix", ["", "FILE:", "WRFILE:"])
def test_the_name_comes_from_the_environment_where_none_is_given(
    path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("KRB5_KTNAME", f"{prefix}{path}")

    assert Keytab(None, "HTTP").path == path


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("KRB5RCACHENAME", "KRB5RCACHEDIR", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return monkeypatch


@pytest.mark.usefixtures("clean")
def test_a_directory_of_ours_is_no_problem_and_the_library_is_told(tmp_path: Path) -> None:
    replays = ReplayFile(tmp_path)

    assert replays.problem() is None
    assert replays.store_value == f"file2:{tmp_path}/krb5_{os.geteuid()}.rcache2"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("clean")
def test_none_tells_the_library_so_and_has_no_file_to_look_at() -> None:
    replays = ReplayFile("none")

    assert replays.store_value == "none:"
    assert replays.problem() is None


@pytest.mark.parametrize("name", ["KRB5RCACHEDIR", "RUNTIME_DIRECTORY", "TMPDIR"])
def test_a_directory_that_is_not_there_is_a_problem_with_a_cure(
    clean: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    clean.setenv(name, f"{tmp_path}/missing")

    problem = ReplayFile(None).problem()

    assert problem
    assert "Acceptor(rcache=…), KRB5RCACHEDIR=…" in problem


def test_the_library_is_always_told_which_file_so_that_nothing_else_can_turn_it_off(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean.setenv("KRB5RCACHETYPE", "none")
    default = ReplayFile(None).store_value
    clean.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/run:/elsewhere")
    runtime = ReplayFile(None).store_value
    clean.setenv("KRB5RCACHEDIR", f"{tmp_path}/chosen")
    chosen = ReplayFile(None).store_value

    file = f"krb5_{os.geteuid()}.rcache2"
    assert default == f"file2:{tmp_path}/{file}"
    assert runtime == f"file2:{tmp_path}/run/{file}"
    assert chosen == f"file2:{tmp_path}/chosen/{file}"


@pytest.mark.usefixtures("clean")
def test_the_file_is_made_before_anybody_else_can_and_left_alone_if_it_is_there(tmp_path: Path) -> None:
    replays = ReplayFile(tmp_path)

    replays.create()
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"remembered")
    replays.create()

    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == b"remembered"


def test_what_cannot_be_checked_is_known_not_to_be(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("KRB5RCACHENAME", "none:")

    assert not ReplayFile(None).is_known
    assert not ReplayFile("none").is_known
    assert ReplayFile(tmp_path).is_known


def test_a_file_named_in_the_environment_is_looked_at(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("KRB5RCACHENAME", f"file2:{tmp_path}/missing/replays")

    assert ReplayFile(None).problem()


def test_other_kinds_in_the_environment_are_the_librarys_business(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("KRB5RCACHENAME", "dfl:")

    assert ReplayFile(None).problem() is None


@pytest.mark.usefixtures("clean")
def test_somebody_elses_file_a_link_and_a_shared_one_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"krb5_{os.geteuid()}.rcache2"
    file.symlink_to(tmp_path / "elsewhere")
    linked = ReplayFile(tmp_path).problem()
    file.unlink()
    file.touch(0o600)
    ours = ReplayFile(tmp_path).problem()
    file.chmod(0o666)
    shared = ReplayFile(tmp_path).problem()
    file.chmod(0o600)
    replays = ReplayFile(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    stolen = replays.problem()

    assert ours is None
    assert linked
    assert "is not ours" in linked
    assert shared
    assert f"chmod 600 {file}" in shared
    assert stolen
    assert "is not ours" in stolen


@pytest.mark.usefixtures("clean")
def test_a_file_that_cannot_be_looked_at_or_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind_a_file = tmp_path / "file"
    behind_a_file.touch()
    unseen = ReplayFile(behind_a_file).problem()
    (tmp_path / f"krb5_{os.geteuid()}.rcache2").touch(0o600)
    monkeypatch.setattr(os, "access", lambda *_: False)
    read_only = ReplayFile(tmp_path).problem()

    assert unseen
    assert "can't be looked at" in unseen
    assert read_only
    assert "can't be written" in read_only
