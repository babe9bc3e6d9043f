"""The examples are served like everything else that runs for real."""

from tests.integration.conftest import alice, service_env

__all__ = ["alice", "service_env"]
