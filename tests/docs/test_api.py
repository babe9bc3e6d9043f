"""The API reference has every public name, and every one of them is described."""

import importlib
import inspect
import re

import pytest
from starlette.authentication import BaseUser

from .pages import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()
TOLD = re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)


def public(path: str) -> object:
    module, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("package", ["negotiate_mw", "negotiate_mw.client", "negotiate_mw.testing"])
def test_every_public_name_is_in_the_reference(package: str) -> None:
    names: list[str] = importlib.import_module(package).__all__

    assert {f"{package}.{name}" for name in names} <= set(TOLD)


@pytest.mark.parametrize("path", TOLD)
def test_a_public_name_and_its_methods_say_what_they_do(path: str) -> None:
    described = public(path)
    members = vars(described) if inspect.isclass(described) else {}
    ours = {name: member for name, member in members.items() if not name.startswith("_") and _is_code(member)}
    ours = {name: member for name, member in ours.items() if name not in vars(BaseUser)}  # Starlette's to describe

    silent = [name for name, member in ours.items() if not inspect.getdoc(member)]

    assert isinstance(described, bytes) or inspect.getdoc(described)
    assert not silent


def _is_code(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
