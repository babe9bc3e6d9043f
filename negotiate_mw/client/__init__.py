"""The other half: HTTP Negotiate for httpx, ``httpx.Client(auth=NegotiateAuth())``, sync and async.

Law: names are loaded when first used; httpx, python-gssapi and pyspnego only by what needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negotiate_mw.client.auth import NegotiateAuth
    from negotiate_mw.client.errors import (
        AuthenticationError,
        BodySentError,
        ChannelError,
        CredentialError,
        MutualAuthenticationError,
    )
    from negotiate_mw.client.pinned import AsyncPinnedTransport, PinnedTransport

_HOME = {
    "AsyncPinnedTransport": "pinned",
    "AuthenticationError": "errors",
    "BodySentError": "errors",
    "ChannelError": "errors",
    "CredentialError": "errors",
    "MutualAuthenticationError": "errors",
    "NegotiateAuth": "auth",
    "PinnedTransport": "pinned",
}

__all__ = [  # what __getattr__ gives
    "AsyncPinnedTransport",
    "AuthenticationError",
    "BodySentError",
    "ChannelError",
    "CredentialError",
    "MutualAuthenticationError",
    "NegotiateAuth",
    "PinnedTransport",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_HOME[name]}")
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ModuleNotFoundError(
            f"{__name__}.{name} needs httpx: pip install 'negotiate-mw[client,kerberos]'", name="httpx"
        ) from error
    value = getattr(module, name)
    globals()[name] = value
    return value
