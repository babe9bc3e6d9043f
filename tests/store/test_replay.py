"""One log-in is accepted once by all nodes that share a Redis server; real tokens, a real library, a real server."""

import asyncio
import gc
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import pytest

from negotiate_mw import AcceptError, Acceptor, ConfigurationError, RedisReplayCache, SecStatus, redis_store
from negotiate_mw.backends import Context
from negotiate_mw.redis_store import RedisStore, StoreDown
from negotiate_mw.replay import authenticator_in
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire import spnego
from tests.core.building import KERBEROS, FakeBackend, finished, unfinished
from tests.integration.gss_client import Initiators
from tests.integration.tokens import neg_token_init, neg_token_resp

from .server import RedisServer

SERVICE = "HTTP/localhost"
TOKENS = 1000
PROCESSES = 4


class Nodes:
    """Acceptors with one keytab and a replay file each."""

    def __init__(self, realm: KerberosRealm, directory: Path) -> None:
        self.realm = realm
        self.keytab = realm.keytab(SERVICE)
        self._ccache = realm.kinit("alice")
        self._directories = (directory / f"node{number}" for number in count())

    def token(self, wrapping: str = "spnego") -> bytes:
        return self.realm.token(SERVICE, self._ccache, wrapping=wrapping)  # type: ignore[arg-type]

    def another(self, replay: RedisReplayCache) -> Acceptor:
        directory = next(self._directories)
        directory.mkdir()
        return Acceptor(keytab=self.keytab, rcache=directory, replay=replay)


@pytest.fixture
def nodes(kerberos_realm: KerberosRealm, tmp_path: Path) -> Nodes:
    return Nodes(kerberos_realm, tmp_path)


async def answer(acceptor: Acceptor, token: bytes) -> str:
    """Who a token logs in, or why not."""
    try:
        result = await acceptor.accept(None, token)
    except AcceptError as error:
        return error.reason
    return result.identity.principal if result.identity else "continue"


def answers(
    nodes: Nodes, token: bytes, url: str, *, when_down: str = "refuse", again: bytes | None = None
) -> list[str]:
    """What two nodes say, one after the other."""

    async def run() -> list[str]:
        caches = [RedisReplayCache(url, when_down=when_down) for _ in range(2)]  # type: ignore[arg-type]
        async with nodes.another(caches[0]) as first, nodes.another(caches[1]) as second:
            return [await answer(first, token), await answer(second, again or token)]

    return asyncio.run(run())


@pytest.mark.parametrize("wrapping", ["spnego", "kerberos"])
def test_a_token_that_one_node_accepted_is_a_replay_on_another(
    nodes: Nodes, redis_server: RedisServer, wrapping: str
) -> None:
    token = nodes.token(wrapping)

    assert answers(nodes, token, redis_server.url) == ["alice@TEST.EXAMPLE", "replay"]


def test_it_is_remembered_for_longer_than_an_authenticator_is_good(nodes: Nodes, redis_server: RedisServer) -> None:
    answers(nodes, nodes.token(), redis_server.url)

    (key,) = redis_server.cli("keys", "*").splitlines()
    assert 600 <= int(redis_server.cli("eval", "return redis.call('ttl', redis.call('keys', '*')[1])", "0")) <= 660
    assert "negotiate-mw:replay:" in key


def test_a_changed_copy_that_still_authenticates_is_a_replay(nodes: Nodes, redis_server: RedisServer) -> None:
    token = nodes.token()
    copies = [token[:at] + bytes([token[at] ^ 1 << bit]) + token[at + 1 :] for at in range(320) for bit in range(8)]

    async def run() -> tuple[list[str], list[str]]:
        guarded = RedisReplayCache(redis_server.url, when_down="refuse")
        loose = Acceptor(keytab=nodes.keytab, rcache="none")
        strict = Acceptor(keytab=nodes.keytab, rcache="none", replay=guarded)
        async with loose, strict:
            await answer(strict, token)
            alive = [copy for copy in copies if await answer(loose, copy) == "alice@TEST.EXAMPLE"]
            return [await answer(strict, copy) for copy in alive], [await answer(loose, copy) for copy in alive]

    guarded, unguarded = asyncio.run(run())

    assert len(unguarded) > 10
    assert set(guarded) <= {"replay", "malformed"}
    assert guarded.count("replay") > 10


def _flood(keytab: str, rcache: str, url: str, tokens: list[bytes]) -> list[int]:
    """In a process of its own: which of the tokens this node accepts."""
    redis_store.SECONDS = 20.0  # with more processes than cores, waiting is no sign of a server that is down

    async def run() -> list[int]:
        replay = RedisReplayCache(url, when_down="refuse")
        async with Acceptor(keytab=keytab, rcache=rcache, replay=replay) as acceptor:
            limit = asyncio.Semaphore(8)

            async def one(number: int) -> str:
                async with limit:
                    return await answer(acceptor, tokens[number])

            said = await asyncio.gather(*(one(number) for number in range(len(tokens))))
        strange = set(said) - {"alice@TEST.EXAMPLE", "replay"}
        assert not strange, strange
        return [number for number, what in enumerate(said) if what != "replay"]

    return asyncio.run(run())


def test_a_thousand_tokens_over_four_processes_on_two_nodes_are_accepted_once_each(
    nodes: Nodes, redis_server: RedisServer, tmp_path: Path
) -> None:
    tokens = [nodes.realm.initiator(SERVICE, nodes._ccache).step() or b"" for _ in range(TOKENS)]
    rcaches = []
    for node in range(2):
        (tmp_path / f"rcache{node}").mkdir()
        rcaches.append(str(tmp_path / f"rcache{node}"))

    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as processes:
        jobs = [
            processes.submit(_flood, str(nodes.keytab), rcaches[n % 2], redis_server.url, tokens)
            for n in range(PROCESSES)
        ]
        accepted = [number for job in jobs for number in job.result()]

    assert sorted(accepted) == list(range(TOKENS))


@pytest.mark.parametrize("trouble", ["stopped", "hangs", "wrong password", "full"])
def test_with_the_store_out_of_order_refuse_refuses_and_local_asks_its_own_file(
    nodes: Nodes, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--maxmemory", "1", "--maxmemory-policy", "noeviction") if trouble == "full" else ()
    with RedisServer(*options) as server:
        url = server.url.replace("//", "//:wrong@") if trouble == "wrong password" else server.url
        if trouble == "stopped":
            server.stop()
        if trouble == "hangs":
            server.hang()
        token, second = nodes.token(), nodes.token()

        async def run() -> list[str]:
            cache = RedisReplayCache(url, when_down="local")
            async with nodes.another(cache) as node:
                return [await answer(node, each) for each in (token, token, second)]

        begun = time.monotonic()
        local = asyncio.run(run())
        taken = time.monotonic() - begun
        refused = answers(nodes, nodes.token(), url)

    assert local == ["alice@TEST.EXAMPLE", "replay", "alice@TEST.EXAMPLE"]
    assert refused == ["replay-store", "replay-store"]
    assert taken < 5
    assert caplog.text.count("replay cache alone") == 1


def test_a_store_out_of_order_is_ours_and_never_the_clients_fault(nodes: Nodes) -> None:
    async def run() -> SecStatus:
        async with nodes.another(RedisReplayCache("redis://127.0.0.1:1", when_down="refuse")) as node:
            with pytest.raises(AcceptError) as refused:
                await node.accept(None, nodes.token())
            return refused.value.status

    assert asyncio.run(run()) is SecStatus.NO_AUTHENTICATING_AUTHORITY


def test_an_answer_that_comes_late_lets_nobody_in(nodes: Nodes, redis_server: RedisServer) -> None:
    token, other = nodes.token(), nodes.token()

    async def run() -> list[str]:
        caches = [RedisReplayCache(redis_server.url, when_down="refuse") for _ in range(3)]
        async with nodes.another(caches[0]) as a, nodes.another(caches[1]) as b, nodes.another(caches[2]) as c:
            said = [await answer(b, other)]
            redis_server.hang()
            said.append(await answer(a, token))
            redis_server.go_on()
            await asyncio.sleep(0.1)
            # the late answer of `token` waits on no connection that anybody still reads
            said += [await answer(node, token) for node in (b, c)]
            said += [await answer(node, other) for node in (a, c)]
            return said

    assert asyncio.run(run()) == ["alice@TEST.EXAMPLE", "replay-store", "replay", "replay", "replay", "replay"]


def test_it_recovers_by_itself(nodes: Nodes) -> None:
    with RedisServer() as server:

        async def run() -> list[str]:
            cache = RedisReplayCache(server.url, when_down="refuse")
            async with nodes.another(cache) as node:
                said = [await answer(node, nodes.token())]
                server.stop()
                said.append(await answer(node, nodes.token()))
                server.start()
                said.append(await answer(node, nodes.token()))
                server.hang()
                said.append(await answer(node, nodes.token()))
                server.go_on()
                said.append(await answer(node, nodes.token()))
                return said

        said = asyncio.run(run())

    assert said == ["alice@TEST.EXAMPLE", "replay-store"] * 2 + ["alice@TEST.EXAMPLE"]


def test_one_cache_serves_one_event_loop_after_another_and_the_child_of_a_fork(
    nodes: Nodes, redis_server: RedisServer
) -> None:
    cache = RedisReplayCache(redis_server.url, when_down="refuse")
    acceptor = nodes.another(cache)

    async def log_in() -> str:
        async with acceptor:
            return await answer(acceptor, nodes.token())

    async def log_in_around_a_fork() -> tuple[str, int]:
        async with acceptor:
            await answer(acceptor, nodes.token())
            code = await asyncio.to_thread(_exit_code_of_child)
            return await answer(acceptor, nodes.token()), code

    def _exit_code_of_child() -> int:
        child = get_context("fork").Process(target=_log_in_child)
        child.start()
        child.join(60)
        return child.exitcode if child.exitcode is not None else -1

    def _log_in_child() -> None:
        os._exit(0 if asyncio.run(log_in()) == "alice@TEST.EXAMPLE" else 1)

    assert asyncio.run(log_in()) == asyncio.run(log_in()) == "alice@TEST.EXAMPLE"
    assert asyncio.run(log_in_around_a_fork()) == ("alice@TEST.EXAMPLE", 0)


def test_the_choice_for_when_it_is_down_has_no_default() -> None:
    with pytest.raises(ConfigurationError) as raised:
        RedisReplayCache("redis://127.0.0.1")

    assert '"refuse" answers every log-in with 503' in str(raised.value)
    assert '"local" accepts what is new to this node' in str(raised.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [("http://:secret@x", {}), ("redis://x", {"clockskew": 0}), ("redis://:secret@x:port", {}), (None, {})],
)
def test_a_wrong_option_says_what_to_type_and_never_the_password(url: str, options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="give") as raised:
        RedisReplayCache(url, when_down="refuse", **options)

    assert "secret" not in str(raised.value)


def test_a_node_without_its_own_replay_file_has_nothing_to_fall_back_on(redis_server: RedisServer) -> None:
    local = RedisReplayCache(redis_server.url, when_down="local")

    with pytest.raises(ConfigurationError, match="own replay cache"):
        Acceptor(rcache="none", replay=local)


def test_nor_has_one_whose_environment_turns_the_file_off(
    nodes: Nodes, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KRB5RCACHENAME", "none:")
    local, refuse = (
        RedisReplayCache(redis_server.url, when_down="local"),
        RedisReplayCache(redis_server.url, when_down="refuse"),
    )
    off = Acceptor(keytab=nodes.keytab, replay=local)
    on = Acceptor(keytab=nodes.keytab, rcache=tmp_path, replay=local)
    strict = Acceptor(keytab=nodes.keytab, replay=refuse)

    async def run() -> None:
        with pytest.raises(ConfigurationError, match=r"KRB5RCACHENAME=none:.* own replay cache"):
            await off.acquire()
        for acceptor in (on, strict):
            await acceptor.acquire()
            await acceptor.aclose()

    asyncio.run(run())


def test_a_node_whose_environment_names_its_own_replay_file_has_something_to_fall_back_on(
    nodes: Nodes, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KRB5RCACHENAME", f"file2:{tmp_path}/own.rcache2")
    acceptor = Acceptor(keytab=nodes.keytab, replay=RedisReplayCache(redis_server.url, when_down="local"))

    async def run() -> bool:
        async with acceptor:
            return acceptor.ready()

    assert asyncio.run(run())
    assert (tmp_path / "own.rcache2").exists()


def test_a_handshake_of_three_legs_is_asked_for_the_leg_that_has_the_authenticator(
    nodes: Nodes, redis_server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "users").write_text("TEST:alice:a-password\n")
    env = {**nodes.realm.environ(nodes._ccache), "NTLM_USER_FILE": str(tmp_path / "users")}
    copied: list[bytes] = []

    async def handshake(acceptor: Acceptor, step: Callable[[bytes | None], bytes | None]) -> tuple[str, list[int]]:
        context, keys, token = None, [], step(None)
        while token is not None:
            copied.append(token)
            result = await acceptor.accept(context, token)
            keys.append(int(redis_server.cli("dbsize")))
            if result.identity is not None:
                return result.identity.principal, keys
            context, token = result.context, step(result.token)
        raise AssertionError("the client gave up")

    async def run() -> tuple[str, list[int], str]:
        caches = [RedisReplayCache(redis_server.url, when_down="refuse") for _ in range(2)]
        async with nodes.another(caches[0]) as first, nodes.another(caches[1]) as second:
            with Initiators(env) as initiators:
                client = initiators.begin("HTTP@localhost", ["ntlm", "kerberos"])
                principal, keys = await handshake(first, client.step)
            half_open = await second.accept(None, copied[0])
            with pytest.raises(AcceptError) as refused:
                await second.accept(half_open.context, copied[1])
            return principal, keys, refused.value.reason

    assert asyncio.run(run()) == ("alice@TEST.EXAMPLE", [0, 1, 1], "replay")


class Counting:
    """A store that takes everything, and counts."""

    def __init__(self, *, hold: bool = False) -> None:
        self.spent: list[bytes] = []
        self.go_on = asyncio.Event()
        self._hold = hold

    async def spend(self, authenticator: bytes) -> None:
        if self._hold:
            await self.go_on.wait()
        self.spent.append(authenticator)

    async def aclose(self) -> None:
        """Nothing to give back."""


DECOY = neg_token_init([spnego.NTLM, spnego.KRB5], b"a token for the other mechanism")


@pytest.mark.parametrize(
    "legs",
    [
        [KERBEROS],  # no token at all
        [neg_token_init([spnego.KRB5], b"no AP-REQ")],
        [DECOY],
        [DECOY, neg_token_resp()],
        [DECOY, neg_token_resp(b"no AP-REQ")],
        [DECOY, b"\xa1\x00"],
    ],
)
def test_what_has_no_authenticator_that_can_be_read_logs_nobody_in_whatever_the_library_says(legs: list[bytes]) -> None:
    backend = FakeBackend(*[unfinished()] * (len(legs) - 1), finished())
    store = Counting()
    acceptor = Acceptor(replay=store, rcache="none", offload="never")
    acceptor._kerberos = backend
    acceptor.acquired = True

    async def run() -> str:
        context = None
        for leg in legs[:-1]:
            context = (await acceptor.accept(context, leg)).context
        with pytest.raises(AcceptError) as refused:
            await acceptor.accept(context, legs[-1])
        return refused.value.reason

    assert asyncio.run(run()) == "malformed"
    assert not store.spent
    assert len(backend.deleted) == 1


def test_a_request_that_is_cancelled_while_the_store_is_asked_leaves_no_context(nodes: Nodes) -> None:
    async def run() -> tuple[object, str]:
        store = Counting(hold=True)
        acceptor = Acceptor(keytab=nodes.keytab, rcache="none", replay=store)
        async with acceptor:
            task = asyncio.create_task(acceptor.accept(None, nodes.token()))
            await asyncio.sleep(0.05)
            (context,) = [each for each in gc.get_objects() if type(each) is Context and each.lock.locked()]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return context.handle, "open" if context.open or context.lock.locked() else "ended"

    assert asyncio.run(run()) == (None, "ended")


def test_ntlm_is_not_asked_for(redis_server: RedisServer) -> None:
    assert authenticator_in(b"NTLMSSP\0\x01\0\0\0" + bytes(28)) is None
    assert authenticator_in(neg_token_resp(b"NTLMSSP\0\x03\0\0\0" + bytes(60))) is None


def test_a_question_is_never_broken_off_by_whoever_stops_waiting(redis_server: RedisServer) -> None:
    async def run() -> bool:
        store = RedisStore(redis_server.url, option="test")
        ended = asyncio.Event()

        async def question(client: object) -> None:
            await asyncio.sleep(0.3)
            ended.set()

        asking = asyncio.create_task(store.ask(question))
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(StoreDown):
            await store.ask(question)
        await asyncio.wait_for(ended.wait(), 5)
        await store.aclose()
        return asking.cancelled()

    assert asyncio.run(run())


def test_the_child_of_a_fork_has_no_part_in_its_parents_questions(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, option="test")
    store._is_slow = store._is_asking = True  # as in the middle of one

    def ask() -> None:
        async def run() -> None:
            await store.ask(lambda client: client.ping())
            await store.aclose()

        asyncio.run(run())

    child = get_context("fork").Process(target=ask)
    child.start()
    child.join(60)

    assert child.exitcode == 0


def test_while_the_server_is_slow_one_question_at_a_time_waits_for_it(redis_server: RedisServer) -> None:
    async def run() -> tuple[int, list[str]]:
        store, asked = RedisStore(redis_server.url, option="test"), 0

        async def question(client: object) -> None:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0.3)

        with pytest.raises(StoreDown):
            await store.ask(question)
        said = await asyncio.gather(*(store.ask(question) for _ in range(20)), return_exceptions=True)
        await store.aclose()
        return asked, sorted({str(error) for error in said})

    assert asyncio.run(run()) == (2, ["it was too slow a moment ago", "no answer within 250 ms"])
