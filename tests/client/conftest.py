"""Users of all kinds, and servers to log in to: ours, over http and TLS; Apache and lighttpd."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.serving import Server, serve
from tests.parity.conftest import alice, certificates, service_env

__all__ = ["alice", "certificates", "ours", "ours_over_tls", "service_env"]


@pytest.fixture(scope="session")
def ours(service_env: dict[str, str]) -> Iterator[Server]:
    """Both mechanisms, over http."""
    with serve("tests.client.apps:app", env=service_env) as server:
        yield server


@pytest.fixture(scope="session")
def ours_over_tls(service_env: dict[str, str], certificates: tuple[Path, Path]) -> Iterator[Server]:
    """Both mechanisms, over TLS; who isn't bound to this channel stays out."""
    files = ("--ssl-certfile", str(certificates[0]), "--ssl-keyfile", str(certificates[0].with_suffix(".key")))
    with serve("tests.client.apps:over_tls", *files, env=service_env) as server:
        yield server
