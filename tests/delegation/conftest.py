"""A domain in which services act for users, and where credential caches go in these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import alice, bob, service_env  # noqa: F401 - fixtures
from tests.integration.samba_ad import SambaAD

TRUSTED_TO_AUTH_FOR_DELEGATION = 0x1000000  # [MS-ADTS] 2.2.16; 0x200 is a plain account
ACCOUNTS: dict[str, dict[str, str | list[str]]] = {
    # may come as anybody to HTTP/back
    "svc-any": {
        "servicePrincipalName": ["HTTP/any.test.example"],
        "userAccountControl": str(0x200 | TRUSTED_TO_AUTH_FOR_DELEGATION),
        "msDS-AllowedToDelegateTo": ["HTTP/back.test.example", "HTTP/localhost"],
        "msDS-SupportedEncryptionTypes": "24",
    },
    # may come to HTTP/back as whoever came to it, by Kerberos; its own name is its service's
    "svc-front": {
        "userPrincipalName": "HTTP/front.test.example@AD.TEST.EXAMPLE",
        "servicePrincipalName": ["HTTP/front.test.example"],
        "msDS-AllowedToDelegateTo": ["HTTP/back.test.example"],
        "msDS-SupportedEncryptionTypes": "24",
    },
    "svc-back": {"servicePrincipalName": ["HTTP/back.test.example"], "msDS-SupportedEncryptionTypes": "24"},
    "secret": {"userAccountControl": str(0x200 | 0x100000)},  # NOT_DELEGATED
}


@pytest.fixture(scope="session")
def domain() -> Iterator[SambaAD]:
    with SambaAD() as ad:
        ad.add(ACCOUNTS)
        yield ad


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where credential caches go."""
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(path))
    return path
