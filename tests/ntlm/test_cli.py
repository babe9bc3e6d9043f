"""``negotiate-mw ntlm-hash``: prints a line, keeps the password to itself."""

import getpass
import io
import subprocess
import sys
from pathlib import Path

import pytest

from negotiate_mw.backends.ntlmv2 import nt_hash
from negotiate_mw.backends.pyspnego import PyspnegoBackend
from negotiate_mw.cli import main

from .answering import Client
from .test_acceptor import log_in


def asked(monkeypatch: pytest.MonkeyPatch, *passwords: str) -> list[str]:
    prompts: list[str] = []
    answers = iter(passwords)

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return next(answers)

    monkeypatch.setattr(getpass, "getpass", ask)
    return prompts


def test_line_lets_the_user_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = asked(monkeypatch, "a:b", "a:b")

    status = main(["ntlm-hash", "CORP", "alice"])

    printed = capsys.readouterr().out
    path = tmp_path / "users"
    path.touch(0o600)
    path.write_text(printed)
    assert status == 0
    assert prompts == ["Password of CORP\\alice: ", "Again: "]
    assert log_in(PyspnegoBackend(users=path), Client(password="a:b")).principal == "CORP\\alice"


def test_password_comes_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\nnot this\n"))

    assert main(["ntlm-hash", "CORP", "alice", "-"]) == 0

    assert f":{nt_hash('secret').hex().upper()}:" in capsys.readouterr().out


def test_lm_hash_is_nobodys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    columns = set()
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.StringIO("secret"))
        main(["ntlm-hash", "CORP", "alice", "-"])
        columns.add(capsys.readouterr().out.split(":")[2])

    assert len(columns) == 2
    assert {len(bytes.fromhex(column)) for column in columns} == {16}


@pytest.mark.parametrize(
    ("arguments", "passwords", "says"),
    [
        (["CORP", "alice"], ("one", "two"), "the two passwords differ"),
        (["CORP", "alice"], ("", ""), "the password is empty"),
        (["CORP", "al:ice"], ("x", "x"), "the user can't be used"),
        (["CORP", "alice"], ("\udcff", "\udcff"), "the password isn't text"),
    ],
)
def test_what_makes_no_line_is_said_in_one(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    passwords: tuple[str, str],
    says: str,
) -> None:
    asked(monkeypatch, *passwords)

    status = main(["ntlm-hash", *arguments])

    shown = capsys.readouterr()
    assert status == 1
    assert shown.out == ""
    assert shown.err.startswith(f"negotiate-mw: {says}")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["ntlm-hash"], ["ntlm-hash", "CORP", "alice", "password"]])
def test_wrong_words_are_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage: negotiate-mw" in capsys.readouterr().err


def test_missing_library_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "negotiate_mw.backends.ntlmv2")
    monkeypatch.setitem(sys.modules, "spnego._ntlm_raw.md4", None)

    assert main(["ntlm-hash", "CORP", "alice", "-"]) == 1

    assert "pip install 'pyspnego>=" in capsys.readouterr().err


def test_command_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "negotiate_mw.cli", "ntlm-hash", "CORP", "alice", "-"],
        input="secret\n", text=True, capture_output=True, check=True,
    )  # fmt: skip

    assert done.stdout.startswith("CORP\\alice:0:")
    assert done.stderr == ""
