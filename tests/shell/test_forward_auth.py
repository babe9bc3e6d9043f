"""``ForwardAuth``: what a proxy's question means, and what it is answered."""

from typing import Any
from urllib.parse import unquote

import pytest

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.forward_auth import HEADERS, ForwardAuth
from negotiate_mw.policy import Policy
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

from .driving import Client, Headers, on_a_loop

PORTAL = "https://portal.example"
SAME_SITE = (b"sec-fetch-site", b"same-site")


def scripted() -> ScriptedAcceptor:
    alice = user("alice@EXAMPLE.COM", account_id="S-1-5-21-1-2-3-1106", groups=frozenset({"HR", "Fire, brigade", "ä%"}))
    return ScriptedAcceptor(
        {
            b"Alice": (alice, b"Last"),
            b"Odd": (user("zoë doe@EXAMPLE.COM"), None),
            b"ClientBlob1": b"ServerBlob1",
        }
    )


def client(proxy: str, **options: Any) -> Client:
    return Client(ForwardAuth(proxy, acceptor=scripted(), **options), host="www.example.com")


def asking(proxy: str, method: str = "GET", uri: str = "/page?q=1") -> Headers:
    """What each proxy adds to its client's headers."""
    return {
        "nginx": [(b"x-original-method", method.encode()), (b"x-original-uri", uri.encode())],
        "traefik": [
            (b"x-forwarded-method", method.encode()),
            (b"x-forwarded-uri", uri.encode()),
            (b"x-forwarded-host", b"www.example.com"),
        ],
        "envoy": [],
    }[proxy]


def method_of(proxy: str, method: str) -> str:
    return method if proxy == "envoy" else "GET"


@pytest.mark.parametrize("proxy", ["nginx", "traefik", "envoy"])
@on_a_loop
async def test_a_users_request_gets_the_users_headers(proxy: str) -> None:
    answer = await client(proxy).get(b"Alice", headers=asking(proxy))

    assert answer.status == 200
    assert answer.all("remote-user") == ["alice"]
    assert answer.all("remote-account") == ["S-1-5-21-1-2-3-1106"]
    (groups,) = answer.all("remote-groups")
    assert {unquote(name) for name in groups.split(",")} == {"HR", "Fire, brigade", "ä%"}


@pytest.mark.parametrize("proxy", ["nginx", "traefik", "envoy"])
@on_a_loop
async def test_a_stranger_is_challenged(proxy: str) -> None:
    answer = await client(proxy).get(headers=[*asking(proxy), (b"remote-user", b"alice")])

    assert (answer.status, answer.challenge) == (401, "Negotiate")
    assert not any(answer.all(name) for name in HEADERS)


@on_a_loop
async def test_a_name_beyond_ascii_is_percent_encoded() -> None:
    answer = await client("envoy").get(b"Odd")

    assert answer.all("remote-user") == ["zo%C3%AB doe"]
    assert answer.all("remote-groups") == [""]


@pytest.mark.parametrize("proxy", ["nginx", "traefik", "envoy"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
@on_a_loop
async def test_a_page_of_another_origin_does_not_get_to_use_the_users_ticket(proxy: str, method: str) -> None:
    headers = [*asking(proxy, method), SAME_SITE]

    answer = await client(proxy).get(b"Alice", headers=headers, method=method_of(proxy, method))

    assert answer.status == 403


@pytest.mark.parametrize("proxy", ["nginx", "traefik"])
@pytest.mark.parametrize("times", [0, 2])
@on_a_loop
async def test_where_the_proxy_does_not_say_what_is_asked_it_may_change_something(proxy: str, times: int) -> None:
    name = asking(proxy)[0][0]
    headers = [pair for pair in asking(proxy) if pair[0] != name] + [(name, b"GET")] * times

    answer = await client(proxy).get(b"Alice", headers=[*headers, SAME_SITE])

    assert answer.status == 403


@pytest.mark.parametrize("proxy", ["nginx", "traefik", "envoy"])
@on_a_loop
async def test_opening_a_websocket_may_change_something(proxy: str) -> None:
    headers = [*asking(proxy), (b"sec-websocket-key", b"abc"), (b"origin", b"https://evil.example")]

    answer = await client(proxy).get(b"Alice", headers=headers)

    assert answer.status == 403


@on_a_loop
async def test_the_origin_is_held_against_the_host_that_the_client_asked_for() -> None:
    behind = Client(ForwardAuth("traefik", acceptor=scripted()), host="auth.internal")
    own = [*asking("traefik", "POST"), (b"origin", b"https://www.example.com")]
    internal = [*asking("traefik", "POST"), (b"origin", b"https://auth.internal")]

    assert (await behind.get(b"Alice", headers=own)).status == 200
    assert (await behind.get(b"Alice", headers=internal)).status == 403


@on_a_loop
async def test_a_trusted_pages_preflight_is_nobodys() -> None:
    policy = Policy(trusted_origins=[PORTAL])
    headers = [
        *asking("nginx", "OPTIONS"),
        (b"origin", PORTAL.encode()),
        (b"access-control-request-method", b"POST"),
    ]

    answer = await client("nginx", policy=policy).get(headers=headers)

    assert answer.status == 200
    assert [answer.all(name) for name in HEADERS] == [[""], [""], [""]]


@on_a_loop
async def test_a_connection_remembers_nothing_since_the_proxys_clients_share_it() -> None:
    acceptor = scripted()
    line = Client(ForwardAuth("envoy", acceptor=acceptor))

    answer = await line.get(b"ClientBlob1")

    assert (answer.status, answer.challenge) == (401, "Negotiate")
    assert acceptor.open == set()


@pytest.mark.parametrize(("proxy", "status"), [("nginx", 403), ("traefik", 400), ("envoy", 400)])
@on_a_loop
async def test_a_broken_header_is_no_error_of_the_proxy(proxy: str, status: int) -> None:
    headers = [*asking(proxy), (b"authorization", b"Negotiate !!!")]

    answer = await client(proxy).get(headers=headers)

    assert answer.status == status


@on_a_loop
async def test_a_websocket_to_the_service_itself_is_closed() -> None:
    answer = await client("envoy").websocket(b"Alice")

    assert not answer.accepted


@pytest.mark.parametrize("options", [{"exempt": ("/a",)}, {"required": False}, {"connection_bound": True}])
def test_what_is_the_proxys_business_is_a_mistake(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="in the proxy"):
        ForwardAuth("nginx", **options)


def test_an_unknown_proxy_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="'nginx'"):
        ForwardAuth("apache")
