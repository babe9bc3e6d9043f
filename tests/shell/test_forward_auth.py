"""``ForwardAuth``: what a proxy's question means, and what it is answered."""

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from negotiate_mw import CookieSessions, RedisSessions
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.forward_auth import HEADERS, ForwardAuth, _only, command
from negotiate_mw.policy import Policy
from negotiate_mw.sessions.command import URL_VARIABLE
from negotiate_mw.sessions.sealing import make_key
from negotiate_mw.testing import DevAcceptor
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


class Name(bytes):
    """A header's name that counts how often it is compared or hashed."""

    work = 0

    def __eq__(self, other: object) -> bool:
        Name.work += 1
        return bytes.__eq__(self, other)

    def __hash__(self) -> int:
        Name.work += 1
        return bytes.__hash__(self)


@pytest.mark.parametrize("proxy", ["nginx", "traefik"])
def test_what_a_request_costs_grows_with_its_headers_and_no_faster(proxy: str) -> None:
    work = []

    for count in (500, 2000):
        before = Name.work
        said = _only([(Name(b"%x" % number), b"") for number in range(count)] + asking(proxy))
        assert said[asking(proxy)[0][0]] == "GET"
        work.append(Name.work - before)

    assert 0 < work[1] < 8 * work[0]  # four times the headers


@pytest.mark.parametrize("uri", ["//[", "//[::1", "http://[x]/", "//a\u2100b", "%", "?", ""])
@pytest.mark.parametrize("proxy", ["nginx", "traefik"])
@on_a_loop
async def test_an_odd_target_is_no_error_of_the_server(proxy: str, uri: str) -> None:
    headers = [(name, value.replace(b"/page?q=1", uri.encode())) for name, value in asking(proxy)]

    stranger = await client(proxy).get(headers=headers)
    alice = await client(proxy).get(b"Alice", headers=headers)

    assert (stranger.status, stranger.error) == (401, None)
    assert (alice.status, alice.all("remote-user")) == (200, ["alice"])


def behind_a_proxy_here(**options: Any) -> Client:
    """A stranger's connection, as it comes from a proxy on this machine that says nothing of itself."""
    return Client(ForwardAuth("nginx", **options), peer=("127.0.0.1", 50000), host="localhost")


@on_a_loop
async def test_a_host_that_a_stranger_chose_is_no_way_around_tls() -> None:
    stranger = behind_a_proxy_here(acceptor=scripted(), policy=Policy(require_tls=True))

    answer = await stranger.get(b"Alice", headers=asking("nginx"))

    assert answer.status == 403


@on_a_loop
async def test_the_proxys_clients_are_not_the_developer_at_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGOTIATE_MW_DEV", "1")
    stranger = behind_a_proxy_here(acceptor=DevAcceptor("alice@DEV.EXAMPLE"))

    answer = await stranger.get(headers=asking("nginx"))

    assert answer.status == 401


@pytest.mark.parametrize(
    ("group", "written"),
    [("admins ", "admins%20"), (" admins", "%20admins"), ("  ", "%20%20"), ("a b", "a b"), (" a ,b ", "%20a %2Cb%20")],
)
@on_a_loop
async def test_a_space_at_an_end_is_not_lost_on_the_way(group: str, written: str) -> None:
    async def groups(_: object) -> list[str]:
        return [group]

    answer = await client("envoy", groups=groups).get(b"Alice")

    assert answer.all("remote-groups") == [written]
    assert [unquote(name) for name in written.strip(" ").split(",")] == [group]  # what HTTP leaves of it


@on_a_loop
async def test_a_websocket_to_the_service_itself_is_closed() -> None:
    answer = await client("envoy").websocket(b"Alice")

    assert not answer.accepted


@pytest.mark.parametrize("options", [{"exempt": ("/a",)}, {"required": False}, {"connection_bound": True}])
def test_what_is_the_proxys_business_is_a_mistake(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="in the proxy"):
        ForwardAuth("nginx", **options)


@pytest.mark.parametrize("by", ["option", "environment", "neither"])
def test_the_commands_redis_may_come_from_the_environment(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, url = tmp_path / "keys", "redis://nmw:password@127.0.0.1:1"
    keys.write_text(make_key())
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    if by == "environment":
        monkeypatch.setenv(URL_VARIABLE, url)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["--proxy", "nginx", "--session-keys", str(keys), *(["--redis", url] if by == "option" else [])]

    app = command.make_app(parser.parse_args(words))

    assert isinstance(app._app._sessions, CookieSessions if by == "neither" else RedisSessions)


def test_an_unknown_proxy_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="'nginx'"):
        ForwardAuth("apache")
