"""What tests and laptops need in place of the real thing; loaded when first used, and never with pytest.

Law: importing this package imports nothing but itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negotiate_mw.testing.dev import DevAcceptor
    from negotiate_mw.testing.realm import KerberosRealm, RealmUnavailable
    from negotiate_mw.testing.scripted import ScriptedAcceptor, user
    from negotiate_mw.testing.tickets import RealmError

_HOME = {
    "DevAcceptor": "dev",
    "KerberosRealm": "realm",
    "RealmError": "tickets",
    "RealmUnavailable": "realm",
    "ScriptedAcceptor": "scripted",
    "user": "scripted",
}

__all__ = ["DevAcceptor", "KerberosRealm", "RealmError", "RealmUnavailable", "ScriptedAcceptor", "user"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
