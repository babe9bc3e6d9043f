"""A redis-server for tests that don't mind what others left in it."""

import os
import shutil
from collections.abc import Iterator

import pytest

from .server import RedisServer


@pytest.fixture(scope="session")
def _one_server() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None and not os.environ.get("NEGOTIATE_MW_REQUIRE_REALM"):
        pytest.skip("redis-server is not installed; scripts/setup installs it")
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_one_server: RedisServer) -> RedisServer:
    """It is empty, and answers."""
    _one_server.go_on()
    _one_server.cli("flushall")
    _one_server.cli("config", "resetstat")
    return _one_server
