"""HTTP Negotiate (Kerberos, NTLM) single sign-on for any ASGI app, in one line of middleware.

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negotiate_mw.accept import Acceptor
    from negotiate_mw.errors import AcceptError, ConfigurationError, DelegationError, NegotiateError
    from negotiate_mw.groups import PacGroups
    from negotiate_mw.identity import AcceptResult, Anonymous, Identity
    from negotiate_mw.ldap import LdapDirectory, LdapGroups
    from negotiate_mw.middleware import NegotiateMiddleware
    from negotiate_mw.policy import ChannelBinding, Limits, Policy
    from negotiate_mw.refusal import Refusal
    from negotiate_mw.refusal_page import helpful_page
    from negotiate_mw.replay import RedisReplayCache
    from negotiate_mw.sessions.cookie import CookieSessions
    from negotiate_mw.sessions.redis import RedisSessions
    from negotiate_mw.status import ContextFlag, SecStatus

__version__ = "0.1.0"

_HOME = {
    "AcceptError": "errors",
    "AcceptResult": "identity",
    "Acceptor": "accept",
    "Anonymous": "identity",
    "ChannelBinding": "policy",
    "ConfigurationError": "errors",
    "ContextFlag": "status",
    "CookieSessions": "sessions.cookie",
    "DelegationError": "errors",
    "Identity": "identity",
    "LdapDirectory": "ldap",
    "LdapGroups": "ldap",
    "Limits": "policy",
    "NegotiateError": "errors",
    "NegotiateMiddleware": "middleware",
    "PacGroups": "groups",
    "Policy": "policy",
    "RedisReplayCache": "replay",
    "RedisSessions": "sessions.redis",
    "Refusal": "refusal",
    "SecStatus": "status",
    "helpful_page": "refusal_page",
}

__all__ = [  # what __getattr__ gives
    "AcceptError",
    "AcceptResult",
    "Acceptor",
    "Anonymous",
    "ChannelBinding",
    "ConfigurationError",
    "ContextFlag",
    "CookieSessions",
    "DelegationError",
    "Identity",
    "LdapDirectory",
    "LdapGroups",
    "Limits",
    "NegotiateError",
    "NegotiateMiddleware",
    "PacGroups",
    "Policy",
    "RedisReplayCache",
    "RedisSessions",
    "Refusal",
    "SecStatus",
    "helpful_page",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
