"""Everything that users may name is documented: each function, method, parameter and attribute."""

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

# what is public beside the names in __all__
MORE = {
    "negotiate_mw.backends": ["Backend", "Context"],
    "negotiate_mw.connection": ["Connection"],
    "negotiate_mw.delegation": ["Delegated", "ServiceTickets"],
    "negotiate_mw.forward_auth": ["ForwardAuth"],
    "negotiate_mw.groups": ["Groups"],
    "negotiate_mw.local_names": ["local_name"],
    "negotiate_mw.servers.gunicorn": ["Worker"],
    "negotiate_mw.servers.hypercorn": ["install"],
    "negotiate_mw.servers.uvicorn": ["Auto", "H11", "HttpTools"],
    "negotiate_mw.sessions": ["Session", "Sessions"],
    "negotiate_mw.testing.plugin": ["kerberos_realm"],
}
LISTED = ["negotiate_mw", "negotiate_mw.accept", "negotiate_mw.client", "negotiate_mw.testing"]
PUBLIC = sorted(
    {(module, name) for module in LISTED for name in import_module(module).__all__}
    | {(module, name) for module, names in MORE.items() for name in names}
)


def named(text: str) -> set[str]:
    """The names that a docstring may have something to say of."""
    return set(re.findall(r"\w+", text))


def options(function: Any) -> set[str]:
    """The parameters that may be left out, so that one has to know of them."""
    found = inspect.signature(function).parameters.values()
    return {one.name for one in found if one.default is not one.empty}


def ours(value: type) -> Iterator[type]:
    return (one for one in value.__mro__ if one.__module__.startswith("negotiate_mw"))


def attributes(value: type) -> set[str]:
    """The public attributes of a class's objects: its fields, and what ``__init__`` sets."""
    found: set[str] = set()
    for one in ours(value):
        found |= set(vars(one).get("__annotations__", ()))
        if "__init__" in vars(one) and (source := source_of(one.__init__)):  # type: ignore[misc]
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
    return {name for name in found if not name.startswith("_")}


def source_of(function: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except OSError:  # made by dataclasses
        return ""


def undocumented(value: Any, name: str) -> Iterator[str]:
    """What is missing, each as ``name.member``."""
    said = inspect.getdoc(value) or ""
    if not said:
        yield name
    if inspect.isclass(value):
        yield from undocumented_members(value, name, said)
    elif callable(value):
        yield from (f"{name}({parameter})" for parameter in options(value) - named(said))


def undocumented_members(value: type, name: str, said: str) -> Iterator[str]:
    known = set.union(named(said), *(named(one.__doc__ or "") for one in ours(value)))
    members = {key: member for one in ours(value) for key, member in vars(one).items() if not key.startswith("_")}
    if issubclass(value, enum.Enum):  # its members are winerror.h's and sspi.h's own
        members = {key: member for key, member in members.items() if key not in value.__members__}
    for key, member in members.items():
        function = getattr(member, "__func__", member)
        if isinstance(member, property) or inspect.isfunction(function):
            text = inspect.getdoc(getattr(value, key)) or ""
            if not text:
                yield f"{name}.{key}"
            if inspect.isfunction(function):
                yield from (f"{name}.{key}({one})" for one in options(function) - named(text) - known)
    yield from (f"{name}.{key}" for key in attributes(value) - members.keys() - known)
    if "__init__" in vars(value):
        yield from (f"{name}({one})" for one in options(value.__init__) - known)  # type: ignore[misc]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda value: str(value))
def test_a_public_name_says_what_it_is(module: str, name: str) -> None:
    value = getattr(import_module(module), name)

    missing = sorted(undocumented(value, name))

    assert missing == []
