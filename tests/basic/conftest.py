"""A certificate and a domain, as the integration tests have them; and no thread that outlives its test."""

from collections.abc import Iterator
from typing import Any

import pytest

from negotiate_mw import basic
from negotiate_mw.pool import StepPool
from tests.integration.conftest import samba_ad
from tests.integration.test_tls import certificate

__all__ = ["certificate", "samba_ad"]


@pytest.fixture(autouse=True)
def threads_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every pool's threads, as at the end of a lifespan, which these tests don't have."""
    pools: list[StepPool] = []

    def pool(*arguments: Any, **named: Any) -> StepPool:
        pools.append(StepPool(*arguments, **named))
        return pools[-1]

    monkeypatch.setattr(basic, "StepPool", pool)
    yield
    for used in pools:
        used.close()
