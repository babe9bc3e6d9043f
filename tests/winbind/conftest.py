"""One domain with winbindd for the session; skipped where there can be none, as the realm is."""

import os
from collections.abc import Iterator

import pytest

from negotiate_mw.testing.plugin import REQUIRED
from negotiate_mw.testing.realm import RealmUnavailable

from .domain import WinbindDomain


@pytest.fixture(scope="session")
def domain() -> Iterator[WinbindDomain]:
    """The domain ADTEST."""
    domain = WinbindDomain(weak=True)
    try:
        domain.__enter__()
    except RealmUnavailable as error:
        if os.environ.get(REQUIRED) == "1":
            raise
        pytest.skip(str(error))
    try:
        yield domain
    finally:
        domain.close()
