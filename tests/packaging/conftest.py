"""What is built once for all of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .building import ROOT, Environment, build


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A new environment with the wheel in it, and no more than the wheel requires."""
    return Environment(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture(scope="session")
def tested(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """A new environment with the wheel and what its tests need."""
    environment = Environment(tmp_path_factory.mktemp("tested"), wheel)
    with environment.having("dev"):
        yield environment
