"""What tests and laptops need in place of the real thing; loaded when first used, and never with pytest.

Law: importing this package imports nothing but itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negotiate_mw.testing.dev import DevAcceptor
    from negotiate_mw.testing.memory import Answer, MemoryConnection, connection
    from negotiate_mw.testing.realm import KerberosRealm, RealmUnavailable
    from negotiate_mw.testing.scripted import LATER, ScriptedAcceptor, user
    from negotiate_mw.testing.tickets import RealmError
    from negotiate_mw.testing.users import as_user

_HOME = {
    "LATER": "scripted",
    "Answer": "memory",
    "DevAcceptor": "dev",
    "KerberosRealm": "realm",
    "MemoryConnection": "memory",
    "RealmError": "tickets",
    "RealmUnavailable": "realm",
    "ScriptedAcceptor": "scripted",
    "as_user": "users",
    "connection": "memory",
    "user": "scripted",
}

__all__ = [
    "LATER",
    "Answer",
    "DevAcceptor",
    "KerberosRealm",
    "MemoryConnection",
    "RealmError",
    "RealmUnavailable",
    "ScriptedAcceptor",
    "as_user",
    "connection",
    "user",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
