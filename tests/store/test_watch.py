"""What waits for the end of sessions, whatever goes wrong while it looks."""

import asyncio
from collections.abc import Collection

import pytest

from negotiate_mw.sessions import watch
from negotiate_mw.sessions.watch import Watch
from tests.shell.driving import on_a_loop


@on_a_loop
async def test_a_mistake_in_one_look_leaves_no_revoked_websocket_open(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def look(entries: Collection[str]) -> Collection[str]:
        nonlocal looks
        looks += 1
        if looks < 4:
            raise RuntimeError("anything")
        return entries

    monkeypatch.setattr(watch, "EVERY", 0.01)

    await asyncio.wait_for(Watch(look).until_ended("revoked", 60), 10)

    assert looks == 4
    assert caplog.text.count("can't be told: RuntimeError") == 1


@on_a_loop
async def test_what_can_never_be_told_again_counts_as_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(entries: Collection[str]) -> Collection[str]:
        raise RuntimeError("anything")

    monkeypatch.setattr(watch, "EVERY", 0.01)
    monkeypatch.setattr(watch, "GRACE", 0.1)

    await asyncio.wait_for(Watch(look).until_ended("unconfirmed", 60), 10)
