"""A user's tickets end with the request that brought them, whatever else remembers the user."""

import ssl
from typing import Any, cast

import pytest

import negotiate_mw.middleware as middleware_module
from negotiate_mw import Acceptor, ConfigurationError, CookieSessions, Identity, NegotiateMiddleware
from negotiate_mw.delegation import Delegated, ServiceTickets
from negotiate_mw.errors import DelegationError
from negotiate_mw.sessions.sealing import make_key
from negotiate_mw.status import ContextFlag
from negotiate_mw.testing.scripted import ScriptedAcceptor, user
from tests.sessions.browsing import Browser
from tests.shell.driving import Client, Site, on_a_loop

TICKETS: dict[str, Any] = {"delegated": cast(Delegated, object()), "service_tickets": cast(ServiceTickets, object())}


def acceptor(**fields: Any) -> ScriptedAcceptor:
    return ScriptedAcceptor({b"Alice": (user("alice@EXAMPLE.COM", **TICKETS | fields), None)})


def tickets(site: Site) -> list[tuple[object, object]]:
    """What the app had at each request."""
    users: list[Identity] = [scope["user"] for scope in site.scopes]
    return [(user.delegated, user.service_tickets) for user in users]


@on_a_loop
async def test_a_session_does_not_keep_them_and_says_so_where_an_app_insists() -> None:
    site = Site()
    browser = Browser(
        NegotiateMiddleware(site, acceptor=acceptor(), sessions=CookieSessions(keys=[make_key()]), groups=groups)
    )

    await browser.get(b"Alice")
    await browser.get()

    assert tickets(site) == [tuple(TICKETS.values()), (None, None)]
    with pytest.raises(DelegationError, match="a session doesn't keep it"):
        site.scopes[1]["user"].need_delegated()
    with pytest.raises(DelegationError, match="a session doesn't keep it"):
        site.scopes[1]["user"].need_service_tickets()


async def groups(user: Identity) -> list[str]:
    return ["HR"]


@on_a_loop
async def test_a_connection_does_not_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setattr(middleware_module, "tls_context", lambda receive, send: context)
    site = Site()
    proven = acceptor(channel_bound=True, attributes=ContextFlag.CHANNEL_BOUND)
    client = Client(NegotiateMiddleware(site, acceptor=proven, connection_bound=True))

    await client.get(b"Alice")
    await client.get()

    assert tickets(site) == [tuple(TICKETS.values()), (None, None)]


@on_a_loop
async def test_an_inner_middleware_of_the_same_request_hands_them_on() -> None:
    site = Site()
    inner = NegotiateMiddleware(site, acceptor=acceptor())
    client = Client(NegotiateMiddleware(inner, acceptor=acceptor()))

    await client.get(b"Alice")

    assert tickets(site) == [tuple(TICKETS.values())]


@pytest.mark.parametrize("option", ["delegation", "constrained_delegation"])
def test_a_wrong_option_says_what_is_allowed(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {option: "yes"}
    with pytest.raises(ConfigurationError, match="give True or False"):
        Acceptor(**options)

    options[option] = True
    with pytest.raises(ConfigurationError, match="takes Kerberos"):
        Acceptor(mechanisms=("ntlm",), ntlm_users="users.txt", **options)

    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ConfigurationError, match="Windows"):
        Acceptor(**options)
