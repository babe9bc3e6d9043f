"""A user file and its acceptor."""

from collections.abc import Callable
from pathlib import Path

import pytest

from negotiate_mw.backends.ntlmv2 import nt_hash
from negotiate_mw.backends.pyspnego import PyspnegoBackend
from negotiate_mw.ntlm_users import hash_line

USERS = "CORP:alice:secret\n" + hash_line("CORP", "Bob", nt_hash("hunter2"), bytes(range(16))) + "\n"

WriteUsers = Callable[[str], Path]


@pytest.fixture
def write_users(tmp_path: Path) -> WriteUsers:
    def write(text: str) -> Path:
        path = tmp_path / "users"
        path.touch(0o600)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def users(write_users: WriteUsers) -> Path:
    return write_users(USERS)


@pytest.fixture
def backend(users: Path) -> PyspnegoBackend:
    backend = PyspnegoBackend(users=users)
    backend.acquire()
    return backend
