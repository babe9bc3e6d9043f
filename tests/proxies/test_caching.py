"""What a cache in front of us keeps: never a page or a token of somebody's, whatever the app says of it."""

import itertools
import json
from collections.abc import Iterator

import pytest

from tests.integration.serving import Answer, Wire, serve
from tests.servers.clients import ONE_LEG, User

from .running import free_ports, nginx

LONG = "600"
FOREVER = "Thu, 31 Dec 2037 23:55:55 GMT"
Pairs = list[tuple[str, str]]

SAID: dict[str, Pairs] = {
    "nothing": [],
    "max-age": [("cache-control", f"max-age={LONG}")],
    "public": [("cache-control", "public")],
    "public, max-age": [("cache-control", f"public, max-age={LONG}")],
    "s-maxage": [("cache-control", f"s-maxage={LONG}")],
    "no-cache for browsers, s-maxage": [("cache-control", f"max-age=0, s-maxage={LONG}")],
    "must-revalidate": [("cache-control", f"must-revalidate, max-age={LONG}")],
    "private fields": [("cache-control", f'private="set-cookie", max-age={LONG}')],
    "in two fields": [("cache-control", "public"), ("Cache-Control", f"s-maxage={LONG}")],
    "immutable": [("cache-control", f"public, max-age={LONG}, immutable"), ("etag", '"1"')],
    "stale": [("cache-control", f"max-age={LONG}, stale-while-revalidate={LONG}, stale-if-error={LONG}")],
    "Expires": [("expires", FOREVER)],
    "Expires, public": [("expires", FOREVER), ("cache-control", "public")],
    "Last-Modified": [("last-modified", "Thu, 01 Jan 2015 00:00:00 GMT")],
    "X-Accel-Expires": [("x-accel-expires", LONG)],
    "X-Accel-Expires, by the clock": [("X-Accel-Expires", "@2145916555")],
    "X-Accel-Expires first": [("x-accel-expires", LONG), ("cache-control", "private")],
    "X-Accel-Expires last": [("cache-control", "no-store"), ("x-accel-expires", LONG)],
    "other caches": [("cdn-cache-control", f"max-age={LONG}"), ("surrogate-control", f"max-age={LONG}")],
    "Vary: *": [("vary", "*"), ("cache-control", f"public, max-age={LONG}")],
    "Vary: Accept": [("vary", "Accept"), ("vary", "Accept-Encoding"), ("cache-control", f"public, max-age={LONG}")],
    "Vary: Authorization": [("vary", "authorization"), ("cache-control", f"public, max-age={LONG}")],
    "Set-Cookie": [("set-cookie", "a=b"), ("cache-control", f"public, max-age={LONG}")],
    "Pragma": [("pragma", "cache"), ("expires", FOREVER)],
}
CACHES = {
    "as it comes": "",
    "a time for every status": "proxy_cache_valid any 10m;",
    "one key for a page": "proxy_cache_valid 10m; proxy_cache_key $uri;",
    "stale pages too": "proxy_cache_valid 10m; proxy_cache_lock on; proxy_cache_background_update on; "
    "proxy_cache_use_stale error timeout updating http_500 http_503 http_403;",
    "HTTP/1.1": 'proxy_cache_valid 10m; proxy_http_version 1.1; proxy_set_header Connection "";',
    "posts too": "proxy_cache_valid 10m; proxy_cache_methods GET HEAD POST;",
    "Vary disregarded": "proxy_cache_valid 10m; proxy_ignore_headers Vary;",
    "Set-Cookie and Expires disregarded": "proxy_cache_valid 10m; proxy_ignore_headers Set-Cookie Expires;",
    "Cache-Control disregarded": "proxy_cache_valid 10m; proxy_ignore_headers Cache-Control Expires X-Accel-Expires;",
}
Caches = dict[str, int]
_pages = itertools.count(1)


@pytest.fixture(scope="module")
def caches(service_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caches]:
    """Where each cache listens: one nginx in front of one server."""
    ports = dict(zip(CACHES, free_ports(len(CACHES)), strict=True))
    place = tmp_path_factory.mktemp("nginx")
    with serve("tests.proxies.apps:app", env=service_env) as server:
        http = f"""
upstream app {{ server 127.0.0.1:{server.port}; keepalive 4; }}
add_header X-Cache $upstream_cache_status always;
"""
        for number, (name, port) in enumerate(ports.items()):
            http += f"""
proxy_cache_path {place}/cache{number} keys_zone=cache{number}:1m;
server {{ listen 127.0.0.1:{port}; location / {{
  proxy_pass http://app; proxy_set_header Host $host; proxy_cache cache{number}; {CACHES[name]}
}} }}
"""
        with nginx(place, list(ports.values()), http=http):
            yield ports


@pytest.fixture
def page() -> str:
    """A page that nobody has asked for yet."""
    return f"/page/{next(_pages)}"


def ask(port: int, page: str, user: User | None, said: Pairs, method: str = "GET") -> Answer:
    token = None if user is None else ONE_LEG.begin(user).step()
    with Wire(port) as wire:
        wanted = [("X-Wanted-Headers", json.dumps(said)), ("Content-Length", "0")]
        return wire.get(page, token, method=method, headers=wanted)


def assert_own(answer: Answer, user: User) -> None:
    """It came from the server, for this user."""
    assert answer.status == 200
    assert json.loads(answer.body)[0] == user.principal
    assert answer.headers["x-cache"] != "HIT"


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("cache", CACHES)
def test_alices_page_and_last_token_come_out_for_nobody_else(
    caches: Caches, alice: User, bob: User, page: str, cache: str, said: str
) -> None:
    method = "POST" if cache == "posts too" else "GET"

    hers = ask(caches[cache], page, alice, SAID[said], method)
    his = ask(caches[cache], page, bob, SAID[said], method)
    nobodys = ask(caches[cache], page, None, SAID[said], method)
    again = ask(caches[cache], page, alice, SAID[said], method)

    assert_own(hers, alice)
    assert_own(his, bob)
    assert (nobodys.status, nobodys.challenges) == (401, ["Negotiate"])
    assert_own(again, alice)
    assert len({hers.token, his.token, again.token}) == 3


@pytest.mark.parametrize("said", ["public, max-age", "X-Accel-Expires", "Expires"])
def test_where_it_is_optional_nobody_gets_alices_page_either(caches: Caches, alice: User, bob: User, said: str) -> None:
    page = f"/optional/{next(_pages)}"

    hers = ask(caches["as it comes"], page, alice, SAID[said])
    nobodys = ask(caches["as it comes"], page, None, SAID[said])

    assert_own(hers, alice)
    assert nobodys.status == 200
    assert json.loads(nobodys.body)[0] is None


@pytest.mark.parametrize("said", ["max-age", "public, max-age", "s-maxage", "Expires", "X-Accel-Expires"])
def test_what_belongs_to_nobody_is_cached_as_the_app_says(caches: Caches, said: str) -> None:
    """So that there is a cache, and these headers fill it."""
    page = f"/optional/{next(_pages)}"

    answers = [ask(caches["as it comes"], page, None, SAID[said]) for _ in range(2)]

    assert [answer.headers["x-cache"] for answer in answers] == ["MISS", "HIT"]


@pytest.mark.parametrize("cache", CACHES)
def test_a_challenge_is_for_one_client_alone(caches: Caches, alice: User, page: str, cache: str) -> None:
    challenged = ask(caches[cache], page, None, [])
    hers = ask(caches[cache], page, alice, [])

    assert challenged.status == 401
    assert_own(hers, alice)
