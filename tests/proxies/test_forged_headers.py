"""What a client says about proxies makes it neither local nor one over TLS, through a proxy or not."""

import json
from collections.abc import Iterator

import pytest

from tests.integration.serving import Answer, Wire, serve
from tests.servers.clients import ONE_LEG, User

from .running import free_ports, haproxy, nginx

FORGED = {
    "nothing": [],
    "proto": [("X-Forwarded-Proto", "https")],
    "for": [("X-Forwarded-For", "127.0.0.1")],
    "host": [("X-Forwarded-Host", "localhost")],
    "real-ip": [("X-Real-IP", "127.0.0.1")],
    "forwarded": [("Forwarded", 'for=127.0.0.1;proto=https;host="localhost"')],
    "ssl": [("X-Forwarded-Ssl", "on"), ("Front-End-Https", "on"), ("X-Forwarded-Scheme", "https")],
    "all": [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "localhost"),
        ("X-Forwarded-Port", "443"),
        ("Forwarded", "for=127.0.0.1;proto=https;host=localhost"),
        ("Via", "1.1 localhost"),
    ],
}
WAYS = (
    "direct",
    "HAProxy",
    "HAProxy, option http-server-close",
    "nginx, HTTP/1.0",
    "nginx, HTTP/1.1",
    "nginx, the client's Host",
    "nginx, named upstream",
)
LOCAL_HOST, OTHER_HOST = "localhost", "www.test.example"
Ways = dict[str, int]


@pytest.fixture(scope="module")
def ways(service_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """Where to connect to, for each way to the app; all as little configured as can be."""
    env = service_env | {"NEGOTIATE_MW_DEV": "1"}
    ports = dict(zip(WAYS[1:], free_ports(len(WAYS) - 1), strict=True))
    a, b, c, d, e, f = ports.values()
    places = [tmp_path_factory.mktemp(name) for name in ("haproxy", "nginx")]
    with serve("tests.proxies.apps:app", env=env) as server:
        app = f"127.0.0.1:{server.port}"
        sections = f"""
listen a
  bind 127.0.0.1:{a}
  server app {app}
listen b
  bind 127.0.0.1:{b}
  option http-server-close
  server app {app}
"""
        http = f"""
upstream app {{ server {app}; keepalive 4; }}
server {{ listen 127.0.0.1:{c}; location / {{ proxy_pass http://{app}; }} }}
server {{ listen 127.0.0.1:{d}; location / {{ proxy_pass http://{app}; proxy_http_version 1.1; }} }}
server {{ listen 127.0.0.1:{e}; location / {{
  proxy_pass http://{app}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
}} }}
server {{ listen 127.0.0.1:{f}; location / {{
  proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
}} }}
"""
        with haproxy(places[0], [a, b], sections), nginx(places[1], [c, d, e, f], http=http):
            yield ports | {"direct": server.port}


def ask(port: int, target: str, token: bytes | None = None, **options: object) -> Answer:
    with Wire(port) as wire:
        return wire.get(target, token, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("way", WAYS)
def test_no_header_makes_a_request_one_over_tls(ways: Ways, alice: User, way: str, forged: str) -> None:
    token = ONE_LEG.begin(alice).step()

    answer = ask(ways[way], "/tls", token, host=OTHER_HOST, headers=FORGED[forged])

    assert (answer.status, answer.challenges) == (403, [])


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("way", WAYS)
def test_no_header_makes_a_request_one_from_this_machine(ways: Ways, way: str, forged: str) -> None:
    answer = ask(ways[way], "/dev", host=OTHER_HOST, headers=FORGED[forged])

    assert answer.status == 401


@pytest.mark.parametrize("forged", FORGED.keys() - {"nothing"})
def test_not_even_on_this_machine(ways: Ways, alice: User, forged: str) -> None:
    """Whoever hands on such a header is a proxy, or lies."""
    token = ONE_LEG.begin(alice).step()

    over_plain_http = ask(ways["direct"], "/tls", token, host=LOCAL_HOST, headers=FORGED[forged])
    developer = ask(ways["direct"], "/dev", host=LOCAL_HOST, headers=FORGED[forged])

    assert (over_plain_http.status, developer.status) == (403, 401)


@pytest.mark.parametrize("way", ["nginx, HTTP/1.0", "nginx, HTTP/1.1", "HAProxy, option http-server-close"])
def test_through_a_proxy_that_was_told_nothing_nobody_is_local_though_it_says_so(
    ways: Ways, alice: User, way: str
) -> None:
    """nginx asks for its own name for the app, which is 127.0.0.1, whatever its client asked for."""
    token = ONE_LEG.begin(alice).step()

    over_plain_http = ask(ways[way], "/tls", token, host=LOCAL_HOST)
    developer = ask(ways[way], "/dev", host=LOCAL_HOST)

    assert (over_plain_http.status, developer.status) == (403, 401)


def test_this_machine_itself_is_local(ways: Ways, alice: User) -> None:
    """So that the refusals above are refusals."""
    token = ONE_LEG.begin(alice).step()

    over_plain_http = ask(ways["direct"], "/tls", token, host=LOCAL_HOST)
    developer = ask(ways["direct"], "/dev", host=LOCAL_HOST)

    assert json.loads(over_plain_http.body)[0] == alice.principal
    assert json.loads(developer.body)[0] == "dev@DEV"


def test_the_server_itself_believes_such_headers(ways: Ways, alice: User) -> None:
    """So that there is something to be forged."""
    token = ONE_LEG.begin(alice).step()
    headers = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.1")]

    answer = ask(ways["HAProxy"], "/page", token, headers=headers)

    assert json.loads(answer.body) == [alice.principal, "https", "192.0.2.1"]
