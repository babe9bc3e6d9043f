"""Who asks, said by a test: the app's own middleware decides by its own policy, as if that user had logged in.

Law: nothing that a request carries can do this, and nothing in the library outside of this module knows of it. It takes
somebody who wraps the app in Python, in a process that pytest or ``NEGOTIATE_MW_DEV=1`` marks as no production.
"""

import os
from base64 import b64encode
from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from typing import Any

from negotiate_mw.bindings import EndPoint
from negotiate_mw.connection import Receive, Scope, Send
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import Identity, account_of
from negotiate_mw.middleware import NegotiateMiddleware
from negotiate_mw.policy import ChannelBinding
from negotiate_mw.respond import ASGIApp
from negotiate_mw.testing.dev import SWITCH
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

_KEY = "negotiate_mw.testing.as_user"
_TOKEN = b"as_user"
_HEADER = (b"authorization", b"Negotiate " + b64encode(_TOKEN))
_PYTEST = ("PYTEST_VERSION", "PYTEST_CURRENT_TEST")  # the first since pytest 8.2, the second while a test runs


def as_user(app: ASGIApp, who: str | Identity | None, *, groups: Iterable[str] = (), **fields: Any) -> ASGIApp:
    """The app as one user sees it: for unit tests, without a realm, a keytab or a change to the app.

    ::

        client = TestClient(as_user(app, "alice@EXAMPLE.COM", groups=["HR"]))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(as_user(app, None)), base_url="http://testserver")

    The app's own NegotiateMiddleware is given the log-in, so its ``policy``, ``exempt`` paths, origin checks and
    ``sessions`` hold as they do in production. Its acceptor isn't asked, nor is its ``groups=``: the groups named here
    stand. Each request without an ``Authorization`` header logs in anew; one that has such a header keeps it, and is
    refused for what it is.

    Args:
        app: any ASGI app with a NegotiateMiddleware somewhere inside; an app without one notices nothing.
        who: the principal, ``"alice@EXAMPLE.COM"`` or ``"CORP\\\\alice"`` (which logged in by NTLM); an ``Identity``
            to be taken as it is; None: nobody, who has no ticket to answer a challenge with.
        groups: the user's groups, in the names that the app knows them by.
        fields: any other of ``Identity``: ``sid="S-1-5-21-…"``, ``channel_bound=True``, ``attributes=…``.

    Raises:
        ConfigurationError: this is neither pytest nor ``NEGOTIATE_MW_DEV=1``; or that can be nobody's name.
    """
    if os.environ.get(SWITCH) != "1" and not any(name in os.environ for name in _PYTEST):
        raise ConfigurationError(
            f"as_user({who!r}) logs everyone in without any proof, and this is no run of pytest; "
            f"in tests by another tool, and nowhere else, set {SWITCH}=1"
        )
    if isinstance(groups, str):
        raise ConfigurationError(f'as_user(groups={groups!r}): give a list, groups=["{groups}"]')
    if who is None or isinstance(who, Identity):
        if groups or fields:
            raise ConfigurationError(f"as_user({who!r}): give groups and other fields with a principal alone")
        identity = who
    else:
        identity = replace(_user(who), groups=frozenset(groups), **fields)
    NegotiateMiddleware.__call__ = _call  # type: ignore[method-assign] # here alone, so production has no such line
    said = _Said(identity)

    async def as_said(scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, _KEY: said}
        if said.identity is not None and scope["type"] in ("http", "websocket"):
            has_own = any(name == b"authorization" for name, _ in scope["headers"])
            scope["headers"] = [*scope["headers"], *([] if has_own else [_HEADER])]
        await app(scope, receive, send)

    return as_said


def _user(principal: str) -> Identity:
    domain, backslash, name = principal.partition("\\")
    if backslash and domain and name and "@" not in principal:
        return user(principal, mechanism="ntlm", realm=domain)
    try:
        return user(principal, is_service=account_of(principal, None).is_service)
    except AcceptError as error:
        raise ConfigurationError(
            f'as_user({principal!r}): that can be nobody\'s name; give one with its realm, as in "alice@EXAMPLE.COM"'
        ) from error


class _Said:
    """Recognised by this class, which no server's scope holds."""

    def __init__(self, identity: Identity | None) -> None:
        self.identity = identity
        self._acceptor = ScriptedAcceptor({} if identity is None else {_TOKEN: (identity, None)})
        if identity is not None:
            is_ntlm, realm = identity.mechanism == "ntlm", frozenset({identity.realm})
            self._acceptor.realms = None if is_ntlm else realm
            self._acceptor.ntlm_domains = realm if is_ntlm else None

    def instead_of(self, middleware: NegotiateMiddleware) -> NegotiateMiddleware:
        """The same middleware, but for whom it asks."""
        own = copy(middleware)
        own._acceptor, own._rules, own._groups = self._acceptor, None, None
        # there is no TLS in memory: what was proven of it, ``channel_bound=`` says
        own._end_point = EndPoint(ChannelBinding.off())
        return own


_production_call = NegotiateMiddleware.__call__


async def _call(self: NegotiateMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
    said = scope.get(_KEY)
    await _production_call(said.instead_of(self) if isinstance(said, _Said) else self, scope, receive, send)
