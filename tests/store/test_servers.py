"""Servers as operators run them: with TLS, with a user of few rights, watched by a Sentinel, as a cluster."""

import asyncio
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import RedisCluster, Sentinel

from negotiate_mw import AcceptError, RedisReplayCache, RedisSessions, redis_store
from negotiate_mw.redis_store import StoreDown
from negotiate_mw.replay import ReplayCache
from tests.shell.driving import Site

from .server import SECONDS, RedisServer
from .test_sessions import ALICE, KEY, Node, stop

DOCS = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
BLOCKS = dict(re.findall(r"<!-- test: (\S+) -->\n```\w+\n(.*?)```", DOCS, re.DOTALL))


async def use_all(url: str | Callable[[], Any]) -> None:
    """Everything that asks the server."""
    first, second = Node(url, idle=60), Node(url, idle=60)
    for node in (first, second):
        await until_it_answers(node)
    cookies = [await first.log_in() for _ in range(10)]
    assert {await second.who(cookie) for cookie in cookies} == {"alice"}
    assert len([one async for one in second.sessions.active()]) == 10
    session = second.sessions.session({"headers": [(b"cookie", b"negotiate-mw=" + cookies[0].encode())]}, is_tls=False)
    await session.open()
    socket = asyncio.create_task(session.ended())
    await asyncio.sleep(0.2)

    (one, *_) = [one async for one in first.sessions.active()]
    await first.sessions.revoke(one.id)
    await first.sessions.revoke_account(ALICE.account_id)
    await asyncio.wait_for(socket, 5)
    await first.sessions.revoke_all()

    second.sessions._cache.clear()
    assert {await second.who(cookie) for cookie in cookies} == {"nobody"}
    cache = RedisReplayCache(url, when_down="refuse")
    while await use_replay(cache, close=False) == ["replay-store"] * 2:
        await asyncio.sleep(0.1)
    assert await use_replay(cache) == ["replay", "replay"]
    await stop(first, second)


async def until_it_answers(node: Node) -> None:
    """A cluster's client asks for all that the cluster can do, first."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            await node.sessions.revoke("none")
            return
        except StoreDown:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def use_replay(cache: ReplayCache, *, close: bool = True) -> list[str]:
    said = []
    for _ in range(2):
        try:
            await cache.spend(b"authenticator")
            said.append("new")
        except AcceptError as error:
            said.append(error.reason)
    if close:
        await cache.aclose()
    return said


def test_a_user_with_these_rights_alone_is_enough(redis_server: RedisServer) -> None:
    redis_server.cli(*BLOCKS["rights"].split())

    asyncio.run(use_all(f"redis://nmw:password@127.0.0.1:{redis_server.port}/0"))


def test_tls_with_a_certificate_that_is_verified(tmp_path: Path) -> None:
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(
        ["openssl", "req", *made, "-addext", "subjectAltName=DNS:localhost", *files], check=True, capture_output=True
    )
    probe = RedisServer()
    options = ["--port", "0", "--tls-port", str(probe.port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem")]
    with RedisServer(*options):
        trusted = f"rediss://localhost:{probe.port}/0?ssl_ca_certs={tmp_path / 'cert.pem'}"

        asyncio.run(use_all(trusted))
        stranger = asyncio.run(use_replay(RedisReplayCache(f"rediss://localhost:{probe.port}/0", when_down="refuse")))

    assert stranger == ["replay-store", "replay-store"]


def test_a_sentinel_names_the_master(tmp_path: Path, redis_server: RedisServer) -> None:
    conf = tmp_path / "sentinel.conf"
    conf.write_text(f"sentinel monitor main 127.0.0.1 {redis_server.port} 1\n")
    sentinel = RedisServer()
    process = subprocess.Popen(
        ["redis-server", str(conf), "--sentinel", "--port", str(sentinel.port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: "127.0.0.1" in sentinel.cli("sentinel", "get-master-addr-by-name", "main"))

        async def run() -> None:
            made: list[Sentinel] = []

            def master() -> Any:
                made.append(Sentinel([("127.0.0.1", sentinel.port)]))  # type: ignore[no-untyped-call]
                return made[-1].master_for("main")

            await use_all(master)
            for client in [client for each in made for client in each.sentinels]:
                await client.aclose()  # the master's client leaves them open

        asyncio.run(run())
    finally:
        process.terminate()
        process.wait()


def test_a_cluster_has_keys_in_several_places() -> None:
    with ExitStack() as stack:
        options = ["--cluster-enabled", "yes", "--cluster-port"]
        ports = [RedisServer().port for _ in range(3)]
        nodes = [stack.enter_context(RedisServer(*options, str(port))) for port in ports]
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        nodes[0].cli("--cluster", "create", *addresses, "--cluster-yes")
        until(lambda: all("cluster_state:ok" in node.cli("cluster", "info") for node in nodes))

        asyncio.run(use_all(lambda: RedisCluster.from_url(nodes[0].url)))

        assert sum(int(node.cli("dbsize")) > 0 for node in nodes) > 1


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("block", ["app", "clients"])
def test_the_documentations_code_makes_what_it_says(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://nmw:password@redis.corp.example:6379/0")
    monkeypatch.setenv("SESSION_KEY", KEY)

    exec(BLOCKS[block], {"app": Site(), "keys": [KEY], "RedisSessions": RedisSessions})


def test_the_documentations_clients_wait_no_longer_than_we_do() -> None:
    made: list[Callable[[], Any]] = []

    def sessions(source: Callable[[], Any], *, keys: object) -> None:
        made.append(source)

    async def time_outs() -> list[Any]:
        main, cluster = (make() for make in made)
        (sentinel, *_) = main.connection_pool.sentinel_manager.sentinels
        options = [
            main.connection_pool.connection_kwargs,
            sentinel.connection_pool.connection_kwargs,
            cluster.connection_kwargs,
        ]
        for client in (main, sentinel, cluster):
            await client.aclose()
        return [(kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) for kwargs in options]

    exec(BLOCKS["clients"], {"keys": [KEY], "RedisSessions": sessions})

    assert asyncio.run(time_outs()) == [(redis_store.SECONDS,) * 2] * 3


@pytest.mark.parametrize("source", [lambda: 1 / 0, lambda: None])
def test_a_function_that_makes_no_client_is_a_store_that_is_down(source: Callable[[], Any]) -> None:
    assert asyncio.run(use_replay(RedisReplayCache(source, when_down="refuse"))) == ["replay-store"] * 2
