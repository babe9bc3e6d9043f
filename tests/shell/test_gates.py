"""What is decided before a token is read: where a page came from, whether the socket is TLS, who is on this machine."""

import logging
from typing import Any

import pytest

from negotiate_mw import NegotiateMiddleware, Policy
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.testing.dev import SWITCH, DevAcceptor
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

from .driving import Client, Site, on_a_loop

TRUSTED = b"https://portal.example"
SAME_SITE = [(b"sec-fetch-site", b"same-site"), (b"origin", b"https://evil.example")]
FROM_PORTAL = [(b"sec-fetch-site", b"same-site"), (b"origin", TRUSTED)]
ASKS = (b"access-control-request-method", b"POST")


def scripted() -> ScriptedAcceptor:
    return ScriptedAcceptor({b"OneLeg": (user("alice@EXAMPLE.COM"), None), b"ClientBlob1": b"ServerBlob1"})


def site_of(acceptor: Any = None, **options: Any) -> tuple[NegotiateMiddleware, Site]:
    site = Site()
    return NegotiateMiddleware(site, acceptor=acceptor or scripted(), **options), site


# origins


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@on_a_loop
async def test_a_page_of_another_origin_does_not_get_to_use_the_users_ticket(
    caplog: pytest.LogCaptureFixture, method: str
) -> None:
    acceptor = scripted()
    app, site = site_of(acceptor)

    answer = await Client(app).get(b"OneLeg", method=method, headers=SAME_SITE)

    assert (answer.status, answer.challenge) == (403, None)
    assert (site.asked, acceptor.contexts) == (0, [])
    assert "trusted_origins=['https://evil.example']" in caplog.text


@on_a_loop
async def test_a_websocket_of_another_origin_does_not_get_to_use_the_users_ticket() -> None:
    app, site = site_of()

    answer = await Client(app).websocket(b"OneLeg", headers=[(b"origin", b"https://evil.example")])

    assert (answer.status, answer.accepted, site.asked) == (403, False, 0)
    same = await Client(app).websocket(b"OneLeg", headers=[(b"origin", b"http://www.example.com")])
    assert same.accepted


@on_a_loop
async def test_a_page_that_is_trusted_does() -> None:
    app, _ = site_of(policy=Policy(trusted_origins=[TRUSTED.decode()]))

    assert (await Client(app).get(b"OneLeg", method="POST", headers=list(FROM_PORTAL))).text == "alice"
    assert (await Client(app).websocket(b"OneLeg", headers=[(b"origin", TRUSTED)])).accepted


@on_a_loop
async def test_a_link_from_another_origin_works() -> None:
    app, _ = site_of()

    assert (await Client(app).get(b"OneLeg", headers=list(SAME_SITE))).text == "alice"


@on_a_loop
async def test_an_exempt_path_is_nobodys_and_may_be_posted_to_from_anywhere() -> None:
    app, _ = site_of(exempt=("/hook",))

    answer = await Client(app).get(b"OneLeg", "/hook", method="POST", headers=list(SAME_SITE))

    assert (answer.status, answer.text) == (200, "nobody")


@pytest.mark.parametrize("required", [True, False])
@on_a_loop
async def test_origins_are_checked_where_no_log_in_is_required_as_well(required: bool) -> None:
    app, site = site_of(required=required)

    assert (await Client(app).get(None, method="POST", headers=list(SAME_SITE))).status == 403
    assert site.asked == 0


@on_a_loop
async def test_a_preflight_of_a_trusted_page_passes_as_nobody_and_any_other_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, site = site_of(policy=Policy(trusted_origins=[TRUSTED.decode()]))

    passes = await Client(app).get(method="OPTIONS", headers=[*FROM_PORTAL, ASKS])
    assert (passes.status, passes.text) == (200, "nobody")

    refused = await Client(app).get(method="OPTIONS", headers=[*SAME_SITE, ASKS])
    assert (refused.status, site.asked) == (403, 1)
    assert "a preflight came from a page of 'https://evil.example'" in caplog.text


@on_a_loop
async def test_a_preflight_with_a_token_is_still_nobodys() -> None:
    app, _ = site_of(policy=Policy(trusted_origins=[TRUSTED.decode()]))

    assert (await Client(app).get(b"OneLeg", method="OPTIONS", headers=[*FROM_PORTAL, ASKS])).text == "nobody"


@on_a_loop
async def test_options_without_a_preflights_header_needs_a_log_in() -> None:
    app, _ = site_of(policy=Policy(trusted_origins=[TRUSTED.decode()]))

    assert (await Client(app).get(method="OPTIONS", headers=list(FROM_PORTAL))).status == 401


@on_a_loop
async def test_a_request_refused_for_its_origin_in_mid_handshake_leaves_it_alone() -> None:
    acceptor = scripted()
    app, _ = site_of(acceptor)
    client = Client(app)
    await client.get(b"ClientBlob1")

    assert (await client.get(method="POST", headers=list(SAME_SITE))).status == 403
    assert len(acceptor.open) == 1
    client.close()
    assert not acceptor.open


# TLS

NEEDS_TLS = Policy(require_tls=True)


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ({}, [], 403),
        ({"scheme": "https"}, [], 200),
        ({"scheme": "http"}, [(b"x-forwarded-proto", b"https")], 403),
        ({"scheme": "https"}, [(b"x-forwarded-proto", b"https")], 403),
        ({"peer": ("127.0.0.1", 1), "host": "localhost"}, [], 200),
        ({"peer": ("127.0.0.1", 1), "host": "www.example.com"}, [], 403),
        ({"peer": ("127.0.0.1", 1), "host": "localhost"}, [(b"x-forwarded-for", b"127.0.0.1")], 403),
        ({"peer": None, "host": "localhost"}, [], 403),
    ],
)
@on_a_loop
async def test_plain_http_is_refused_before_a_token_is_read(
    client: dict[str, Any], headers: list[tuple[bytes, bytes]], status: int
) -> None:
    acceptor = scripted()
    app, _ = site_of(acceptor, policy=NEEDS_TLS)

    answer = await Client(app, **client).get(b"OneLeg", headers=list(headers))

    assert answer.status == status
    assert len(acceptor.contexts) == (1 if status == 200 else 0)
    assert answer.challenge is None


@on_a_loop
async def test_tls_is_required_of_websockets_too() -> None:
    app, _ = site_of(policy=NEEDS_TLS)

    assert (await Client(app).websocket(b"OneLeg")).status == 403
    assert (await Client(app).websocket(b"OneLeg", scheme="wss")).accepted


@on_a_loop
async def test_behind_a_proxy_that_ends_tls_every_request_counts_as_tls(caplog: pytest.LogCaptureFixture) -> None:
    app, _ = site_of(policy=Policy(require_tls=True, tls_terminated_by_proxy=True))
    assert (await Client(app).get(b"OneLeg")).text == "alice"

    told, _ = site_of(policy=NEEDS_TLS)
    await Client(told).get(b"OneLeg")
    assert "Policy(tls_terminated_by_proxy=True)" in caplog.text


# DevAcceptor

HERE: dict[str, Any] = {"peer": ("127.0.0.1", 50000), "host": "localhost:8000"}


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch) -> DevAcceptor:
    monkeypatch.setenv(SWITCH, "1")
    return DevAcceptor("alice@DEV", groups=["HR"])


@pytest.mark.parametrize("value", [None, "", "0", "true", "yes", "2", " 1"])
def test_it_is_made_only_where_its_variable_says_so(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(SWITCH, raising=False)
    else:
        monkeypatch.setenv(SWITCH, value)

    with pytest.raises(ConfigurationError, match="set NEGOTIATE_MW_DEV=1"):
        DevAcceptor("alice@DEV")


@pytest.mark.parametrize("principal", ["alice", "alice@", "@DEV", ""])
def test_it_needs_a_name_and_a_realm(monkeypatch: pytest.MonkeyPatch, principal: str) -> None:
    monkeypatch.setenv(SWITCH, "1")

    with pytest.raises(ConfigurationError, match='"alice@DEV"'):
        DevAcceptor(principal)


def test_groups_without_their_list_say_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "1")

    with pytest.raises(ConfigurationError, match=r'groups=\["HR"\]'):
        DevAcceptor("alice@DEV", groups="HR")


@on_a_loop
async def test_everyone_on_this_machine_is_the_user_it_names(dev: DevAcceptor) -> None:
    app, site = site_of(dev)

    answer = await Client(app, **HERE).get()

    assert (answer.status, answer.text) == (200, "alice")
    assert "group:HR" in site.scopes[0]["auth"].scopes


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ({"peer": ("192.0.2.7", 1), "host": "localhost"}, []),
        ({"peer": None, "host": "localhost"}, []),
        ({"peer": ("127.0.0.1", 1), "host": "www.example.com"}, []),
        ({"peer": ("127.0.0.1", 1), "host": "localhost"}, [(b"x-forwarded-for", b"127.0.0.1")]),
        ({"peer": ("127.0.0.1", 1), "host": "localhost"}, [(b"forwarded", b"for=127.0.0.1")]),
        ({"peer": ("127.0.0.1", 1), "host": "localhost"}, [(b"via", b"1.1 proxy")]),
        ({"peer": ("127.0.0.1", 1), "host": "localhost"}, [(b"host", b"localhost")]),
    ],
)
@on_a_loop
async def test_anyone_else_is_nobody(
    dev: DevAcceptor, client: dict[str, Any], headers: list[tuple[bytes, bytes]]
) -> None:
    app, site = site_of(dev)

    answer = await Client(app, **client).get(headers=list(headers))

    assert (answer.status, site.asked) == (401, 0)


@on_a_loop
async def test_a_token_is_refused_though_it_comes_from_this_machine(dev: DevAcceptor) -> None:
    app, site = site_of(dev, required=False)

    assert (await Client(app, **HERE).get(b"OneLeg")).status == 401
    assert site.asked == 0


@on_a_loop
async def test_a_page_of_another_origin_is_refused_though_it_comes_from_this_machine(dev: DevAcceptor) -> None:
    app, _ = site_of(dev)

    assert (await Client(app, **HERE).get(method="POST", headers=list(SAME_SITE))).status == 403


@on_a_loop
async def test_it_is_loud_in_the_log_at_every_start(dev: DevAcceptor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "negotiate_mw")

    await dev.acquire()

    (record,) = caplog.records
    assert record.getMessage().startswith("DEVELOPMENT ONLY")
    assert "alice@DEV" in record.getMessage()
    assert dev.ready()
    await dev.aclose()
    assert not dev.ready()
