"""A realm of these tests' own, for what others did to the shared one isn't theirs to find; and the command."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="package")
def kerberos_realm(kerberos_realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """Like the plugin's, and skipped where that is."""
    with KerberosRealm() as realm:
        realm.add_user("alice")
        realm.add_service("HTTP/localhost", "HTTP/www.test.example")
        yield realm


@pytest.fixture(scope="package")
def alice(kerberos_realm: KerberosRealm) -> Path:
    """Alice's credential cache."""
    return kerberos_realm.kinit("alice")


@pytest.fixture
def keytab(kerberos_realm: KerberosRealm, tmp_path: Path) -> Path:
    """The keys of HTTP/localhost."""
    return kerberos_realm.keytab("HTTP/localhost", path=tmp_path / "http.keytab")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``negotiate-mw …``, in a directory of its own."""

    def command(*words: str, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        whole = [sys.executable, "-m", "negotiate_mw.cli", *words]
        env = {**env, "COLUMNS": "200", "PYTHONPATH": os.getcwd()}
        return subprocess.run(whole, env=env, cwd=tmp_path, text=True, capture_output=True, timeout=60)

    return command
