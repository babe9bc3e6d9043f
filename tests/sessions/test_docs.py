"""docs/sessions.md does what it says: every block in it is run."""

import asyncio
import re
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from negotiate_mw import NegotiateMiddleware
from negotiate_mw.sessions.sealing import MAKE_A_KEY
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

from .browsing import Browser

PAGE = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text()
BLOCKS = dict(re.findall(r"<!-- test: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture(autouse=True)
def a_key_and_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the blocks leave to the operator: the key, and here an acceptor that needs no keytab."""
    monkeypatch.setenv("SESSION_KEY", secrets.token_urlsafe(32))
    make = NegotiateMiddleware.__init__

    def with_a_script(self: NegotiateMiddleware, app: Any, **options: Any) -> None:
        make(self, app, acceptor=ScriptedAcceptor({b"Alice": (user("alice@EXAMPLE.COM"), None)}), **options)

    monkeypatch.setattr(NegotiateMiddleware, "__init__", with_a_script)


def run(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[block], f"docs/sessions.md {block}", "exec"), names)
    return names


def test_every_block_is_run() -> None:
    assert set(BLOCKS) == {"app.py", "key", "two.py"}
    assert PAGE.count("```") == 2 * len(BLOCKS)


def test_the_usage_block_remembers_a_log_in_and_logs_out() -> None:
    async def main() -> list[Any]:
        browser = Browser(run("app.py")["app"])
        answers = [await browser.get(b"Alice"), await browser.get()]
        out = await browser.get(path="/logout", method="POST")
        return [*(answer.text for answer in answers), out.text, browser.jar]

    assert asyncio.run(main()) == ["Hello alice", "Hello alice", "Good bye", {}]


def test_the_key_command_is_the_one_that_errors_name() -> None:
    assert BLOCKS["key"].strip() == MAKE_A_KEY

    words = shlex.split(BLOCKS["key"])
    done = subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True, text=True)

    assert len(done.stdout.strip()) >= 43


def test_the_two_mounts_have_a_session_each() -> None:
    async def main() -> tuple[int, int]:
        browser = Browser(run("two.py")["app"])
        await browser.get(b"Alice", path="/wiki/")
        wiki = len(browser.jar)
        await browser.get(b"Alice", path="/payroll/")
        return wiki, len(browser.jar)

    assert asyncio.run(main()) == (1, 2)
