"""What only the integration tests need; ``kerberos_realm`` comes from the package's own pytest plugin."""

from collections.abc import Iterator

import pytest

from .samba_ad import SambaAD


@pytest.fixture(scope="session")
def samba_ad() -> Iterator[SambaAD]:
    """A running Active Directory domain, one for the whole session."""
    with SambaAD() as ad:
        yield ad
