"""A clock that stands still until a test moves it."""

import pytest

from .browsing import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)
