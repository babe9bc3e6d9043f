"""``negotiate-mw sessions``, against a real server."""

import asyncio
from pathlib import Path

import pytest

from negotiate_mw.cli import main

from .server import RedisServer
from .test_sessions import ALICE, KEY, Node


@pytest.fixture
def operator(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """The terminal knows server and keys."""
    monkeypatch.setenv("NEGOTIATE_MW_REDIS_URL", redis_server.url)
    monkeypatch.setenv("NEGOTIATE_MW_SESSION_KEYS", KEY)
    return redis_server


def log_in(server: RedisServer, *tokens: bytes) -> None:
    async def run() -> None:
        node = Node(server.url)
        for token in tokens:
            await node.log_in(token)
        await node.sessions.stop()

    asyncio.run(run())


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    assert main(["sessions", "list", *words]) == 0
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def test_list_prints_every_session_and_revoke_ends_the_one_it_names(
    operator: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    log_in(operator, b"Alice", b"Bob")

    rows = listed(capsys)
    (alice,) = [row for row in rows if row[3] == "alice@EXAMPLE.COM"]
    codes = [main(["sessions", "revoke", alice[0]]) for _ in range(2)]

    assert sorted(row[2] for row in rows) == sorted([ALICE.account_id, "bob@EXAMPLE.COM"])
    assert codes == [0, 1]
    assert [row[3] for row in listed(capsys)] == ["bob@EXAMPLE.COM"]


@pytest.mark.parametrize(("words", "left"), [(["--account", ALICE.account_id], ["bob"]), (["--all"], [])])
def test_an_account_or_all_are_revoked_at_once(
    operator: RedisServer, capsys: pytest.CaptureFixture[str], words: list[str], left: list[str]
) -> None:
    log_in(operator, b"Alice", b"Bob", b"Alice")
    assert len(listed(capsys, "--account", ALICE.account_id)) == 2

    code = main(["sessions", "revoke", *words])

    assert code == 0
    assert [row[3].partition("@")[0] for row in listed(capsys)] == left


def test_an_account_is_named_as_it_is_printed_or_nearly_so_and_what_was_done_is_said(
    operator: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["sessions", "revoke", "--account", "s-1-5-21-1-2-3-1106 "])

    assert code == 0
    assert "the account S-1-5-21-1-2-3-1106 had have ended" in capsys.readouterr().err


def test_what_is_missing_or_broken_is_said(
    operator: RedisServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands = [
        ["sessions", "--url", "redis://127.0.0.1:1", "revoke", "--all"],
        ["sessions", "list", "--keys", str(tmp_path / "none")],
    ]

    codes = [main(command) for command in commands]
    monkeypatch.delenv("NEGOTIATE_MW_REDIS_URL")
    codes.append(main(["sessions", "revoke", "--all"]))
    said = capsys.readouterr().err

    assert codes == [1, 1, 1]
    assert "Redis can't be asked" in said
    assert "can't be read" in said
    assert "NEGOTIATE_MW_REDIS_URL" in said
