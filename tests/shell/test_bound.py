"""``connection_bound=True``: who proved the TLS channel needs no second token on it, and nobody else does."""

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import negotiate_mw.middleware as middleware_module
from negotiate_mw import ChannelBinding, CookieSessions, NegotiateMiddleware, Policy
from negotiate_mw.connection import Connection
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.status import ContextFlag
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

from .driving import Answer, Client, Site, on_a_loop

BOUND = {"channel_bound": True, "attributes": ContextFlag.CHANNEL_BOUND}


def scripted(**fields: Any) -> ScriptedAcceptor:
    return ScriptedAcceptor(
        {
            b"Alice": (user("alice@EXAMPLE.COM", **BOUND | fields), b"Last"),
            b"Bob": (user("bob@EXAMPLE.COM", **BOUND | fields), None),
            b"Unbound": (user("carol@EXAMPLE.COM"), None),
            b"ClientBlob1": b"ServerBlob1",
        },
        realms=frozenset({"EXAMPLE.COM"}),
    )


@pytest.fixture(autouse=True)
def a_tls_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the driver in memory has no socket for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setattr(middleware_module, "tls_context", lambda receive, send: context)


def site_of(acceptor: Any = None, **options: Any) -> NegotiateMiddleware:
    return NegotiateMiddleware(Site(), acceptor=acceptor or scripted(), connection_bound=True, **options)


def persistent(answer: Answer) -> str:
    (value,) = answer.all("persistent-auth")
    return value


@on_a_loop
async def test_who_proved_the_channel_needs_no_second_token_on_it() -> None:
    client = Client(site_of())

    first = await client.get(b"Alice")
    second = await client.get()

    assert (first.status, first.text, persistent(first)) == (200, "alice", "true")
    assert (second.status, second.text, persistent(second)) == (200, "alice", "true")
    assert second.challenge is None


@on_a_loop
async def test_another_connection_is_nobodys() -> None:
    app = site_of()
    await Client(app).get(b"Alice")

    answer = await Client(app).get()

    assert answer.status == 401


@on_a_loop
async def test_who_proved_no_channel_sends_a_token_each_time() -> None:
    client = Client(site_of())

    first = await client.get(b"Unbound")
    second = await client.get()

    assert (first.text, persistent(first)) == ("carol", "false")
    assert second.status == 401


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer abc")],
        [(b"authorization", b"Negotiate !!!")],
        [(b"authorization", b"Negotiate " + b"QQ==")],
    ],
)
@on_a_loop
async def test_the_next_authorization_header_forgets_who_it_was_whatever_it_says(
    headers: list[tuple[bytes, bytes]],
) -> None:
    client = Client(site_of())
    await client.get(b"Alice")

    answer = await client.get(headers=headers)
    after = await client.get()

    assert answer.status in (400, 401)
    assert after.status == 401


@on_a_loop
async def test_a_new_handshake_forgets_who_it_was_at_its_first_leg() -> None:
    client = Client(site_of())
    await client.get(b"Alice")

    begun = await client.get(b"ClientBlob1")
    abandoned = await client.get()

    assert (begun.status, begun.token) == (401, b"ServerBlob1")
    assert abandoned.status == 401


@on_a_loop
async def test_the_next_log_in_takes_the_connection_over() -> None:
    client = Client(site_of())
    await client.get(b"Alice")

    await client.get(b"Bob")
    answer = await client.get()

    assert answer.text == "bob"


@on_a_loop
async def test_a_connection_on_which_a_proxy_shows_remembers_nobody() -> None:
    client = Client(site_of())
    via = [(b"via", b"1.1 proxy")]

    first = await client.get(b"Alice", headers=list(via))
    second = await client.get()

    assert (first.text, persistent(first)) == ("alice", "false")
    assert second.status == 401


@on_a_loop
async def test_a_proxy_that_shows_later_ends_it() -> None:
    client = Client(site_of())
    await client.get(b"Alice")

    shown = await client.get(headers=[(b"x-forwarded-for", b"192.0.2.9")])
    after = await client.get()

    assert (shown.status, after.status) == (401, 401)


@on_a_loop
async def test_a_socket_that_is_not_tls_remembers_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware_module, "tls_context", lambda receive, send: None)
    client = Client(site_of())

    first = await client.get(b"Alice")
    second = await client.get()

    assert persistent(first) == "false"
    assert second.status == 401


@pytest.mark.parametrize("version", ["1.0", "2", "3"])
@on_a_loop
async def test_other_protocols_than_http_1_1_remember_nobody(version: str) -> None:
    client = Client(site_of(), http_version=version)

    await client.get(b"Alice")
    answer = await client.get()

    assert answer.status == 401


@on_a_loop
async def test_a_server_that_does_not_tell_of_a_connections_end_remembers_nobody() -> None:
    client = Client(site_of(), native=False)

    await client.get(b"Alice")
    answer = await client.get()

    assert answer.status == 401


@on_a_loop
async def test_a_remembered_identity_ends_with_its_ticket() -> None:
    client = Client(site_of(scripted(expires_at=datetime.now(UTC) - timedelta(seconds=1))))

    await client.get(b"Alice")
    answer = await client.get()

    assert answer.status == 401


@on_a_loop
async def test_a_closed_connection_is_forgotten_and_its_place_is_nobodys() -> None:
    app = site_of()
    client = Client(app)
    await client.get(b"Alice")

    client.close()
    client.connection = Connection(native=True)  # the same address and port
    answer = await client.get()

    assert answer.status == 401
    assert not app._bound


@on_a_loop
async def test_the_policy_is_asked_at_every_use() -> None:
    acceptor = scripted()
    client = Client(site_of(acceptor))
    await client.get(b"Alice")

    acceptor.realms = frozenset({"OTHER.EXAMPLE"})  # the keytab was replaced
    answer = await client.get()

    assert answer.status == 401


@on_a_loop
async def test_a_websocket_on_the_connection_is_the_same_users() -> None:
    client = Client(site_of())
    await client.get(b"Alice")

    answer = await client.websocket()

    assert answer.accepted
    assert answer.all("x-user") == ["alice"]


@on_a_loop
async def test_a_page_of_another_origin_does_not_get_to_use_the_connections_identity() -> None:
    client = Client(site_of())
    await client.get(b"Alice")

    answer = await client.get(method="POST", headers=[(b"sec-fetch-site", b"same-site")])

    assert answer.status == 403


@on_a_loop
async def test_an_exempt_request_is_nobodys_and_leaves_the_connection_its_user() -> None:
    client = Client(site_of(exempt=("/healthz",)))
    await client.get(b"Alice")

    exempt = await client.get(path="/healthz")
    after = await client.get()

    assert (exempt.text, after.text) == ("nobody", "alice")


@on_a_loop
async def test_a_refused_user_is_not_remembered() -> None:
    client = Client(site_of(policy=Policy(realms=["OTHER.EXAMPLE"])))

    first = await client.get(b"Alice")
    second = await client.get()

    assert (first.status, second.status) == (403, 401)


@on_a_loop
async def test_without_the_option_nothing_is_remembered_or_said() -> None:
    client = Client(NegotiateMiddleware(Site(), acceptor=scripted()))

    first = await client.get(b"Alice")
    second = await client.get()

    assert first.all("persistent-auth") == []
    assert second.status == 401


@on_a_loop
async def test_groups_are_remembered_with_the_identity() -> None:
    async def groups(identity: object) -> list[str]:
        asked.append(identity)
        return ["HR"]

    asked: list[object] = []
    site = Site()
    client = Client(NegotiateMiddleware(site, acceptor=scripted(), connection_bound=True, groups=groups))

    await client.get(b"Alice")
    await client.get()

    assert [scope["user"].groups for scope in site.scopes] == [{"HR"}, {"HR"}]
    assert len(asked) == 1


@pytest.mark.parametrize(
    "policy",
    [
        Policy(channel_binding=ChannelBinding.off()),
        Policy(channel_binding=ChannelBinding.required(certfile="proxy.pem")),
        Policy(tls_terminated_by_proxy=True),
    ],
)
def test_where_our_own_channel_can_not_be_proven_the_option_is_a_mistake(policy: Policy) -> None:
    with pytest.raises(ConfigurationError, match="sessions=CookieSessions"):
        NegotiateMiddleware(Site(), connection_bound=True, policy=policy)


def test_the_option_is_true_or_false() -> None:
    with pytest.raises(ConfigurationError, match="connection_bound='yes'"):
        NegotiateMiddleware(Site(), connection_bound="yes")  # type: ignore[arg-type]


def test_together_with_sessions_it_is_a_mistake_since_a_log_out_would_not_reach_it() -> None:
    with pytest.raises(ConfigurationError, match="give one of them; a log-out"):
        site_of(sessions=CookieSessions())


@on_a_loop
async def test_a_token_ends_what_was_bound_also_where_nobody_can_log_in() -> None:
    acceptor = scripted()
    client = Client(site_of(acceptor))
    await client.get(b"Alice")

    acceptor.acquired = False
    await client.get(b"Forged")  # after which the acceptor is acquired again
    acceptor.acquired = True

    assert (await client.get()).status == 401


@on_a_loop
async def test_a_ticket_that_has_ended_already_is_not_said_to_be_remembered() -> None:
    client = Client(site_of(scripted(expires_at=datetime.now(UTC) - timedelta(seconds=1))))

    answer = await client.get(b"Alice")

    assert (answer.status, persistent(answer)) == (200, "false")


@pytest.mark.parametrize(
    ("headers", "token"),
    [([], b"Bob"), ([(b"x-forwarded-for", b"192.0.2.9")], None)],
    ids=["a token", "a sign of a proxy"],
)
@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/open"},
        {"method": "POST", "more": [(b"origin", b"https://evil.example")]},
    ],
    ids=["exempt", "of another origin"],
)
@on_a_loop
async def test_what_ends_it_does_so_though_the_request_is_not_authenticated(
    fields: dict[str, Any], headers: list[tuple[bytes, bytes]], token: bytes | None
) -> None:
    client = Client(site_of(exempt=("/open",)))
    await client.get(b"Alice")
    fields = dict(fields)

    await client.get(token, headers=headers + fields.pop("more", []), **fields)
    answer = await client.get()

    assert answer.status == 401
