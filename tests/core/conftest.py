"""What each of these tests begins with."""

import pytest

from .building import forget_threads


@pytest.fixture(autouse=True)
def _threads_of_their_own() -> None:
    forget_threads()
