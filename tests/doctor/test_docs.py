"""``docs/check.md`` says what the command does, and its blocks run."""

import asyncio
import re
from pathlib import Path

import pytest

from negotiate_mw.causes import CAUSES
from negotiate_mw.doctor.checks import _THEMES
from negotiate_mw.doctor.report import Level
from tests.shell.driving import Client

PAGE = Path(__file__).resolve().parents[2] / "docs" / "check.md"
TEXT = PAGE.read_text()
BLOCKS = dict(re.findall(r"<!-- test: (\S+) -->\n```\w+\n(.*?)```", TEXT, re.DOTALL))


def test_every_theme_and_level_is_told_and_every_cause_is_one() -> None:
    table = TEXT.partition("## What it looks at")[2].partition("\n## ")[0]

    assert tuple(re.findall(r"^\| `(\S+)` \|", table, re.MULTILINE)) == _THEMES
    assert all(f"`{level}`" in TEXT for level in Level)
    assert set(re.findall(r"\[([a-z-]+)\]$", TEXT, re.MULTILINE)) <= CAUSES.keys()


def test_readiness_follows_the_keytab_and_liveness_does_not(
    keytab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KRB5RCACHEDIR", str(tmp_path))
    space: dict[str, object] = {}
    exec(BLOCKS["probes.py"], space)
    app, acceptor = space["app"], space["acceptor"]

    async def probe() -> list[int]:
        client = Client(app)  # type: ignore[arg-type]
        paths = ("/livez", "/readyz")
        before = [(await client.get(None, path)).status for path in paths]
        await acceptor.acquire()  # type: ignore[attr-defined]
        acquired = [(await client.get(None, path)).status for path in paths]
        keytab.unlink()
        await asyncio.sleep(1.1)  # the file is looked at once a second
        gone = [(await client.get(None, path)).status for path in paths]
        await acceptor.aclose()  # type: ignore[attr-defined]
        return before + acquired + gone

    assert asyncio.run(probe()) == [200, 503, 200, 200, 200, 503]
