"""Realms of these tests' own: what an administrator does to them isn't for others to find."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .domain import AdministeredAD


@pytest.fixture(scope="module")
def domain() -> Iterator[AdministeredAD]:
    """A domain to administer, one for a module."""
    with AdministeredAD() as domain:
        yield domain


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader types: an empty directory."""
    return tmp_path
