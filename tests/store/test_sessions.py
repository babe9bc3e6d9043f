"""Sessions that a real redis-server keeps, seen by several nodes; the logins are scripted."""

import asyncio
import re
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from negotiate_mw import AcceptError, ConfigurationError, NegotiateMiddleware, Policy, RedisSessions, SecStatus
from negotiate_mw.redis_store import StoreDown
from negotiate_mw.sessions import redis as redis_sessions
from negotiate_mw.testing import ScriptedAcceptor, user
from tests.shell.driving import Answer, Client, Site, on_a_loop
from tests.shell.test_groups import Answering

from .server import RedisServer

KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
OLD_KEY = "fedcba9876543210zyxwvutsrqponmlkjihgfedXYZ"
ALICE = user("alice@EXAMPLE.COM", sid="S-1-5-21-1-2-3-1106", groups=frozenset({"S-1-5-21-1-2-3-513"}))
BOB = user("bob@EXAMPLE.COM")
TOKENS = {b"Alice": (ALICE, None), b"Bob": (BOB, None)}
COOKIE = re.compile(r"^(?:__Host-)?negotiate-mw=([^;]*);")


class Node:
    """One process of the service, as far as sessions go: a middleware with sessions of its own."""

    def __init__(self, url: Any, *, policy: Policy | None = None, **options: Any) -> None:
        self.sessions = RedisSessions(url, **{"keys": [KEY]} | options)
        self.site = Site()
        acceptor = ScriptedAcceptor(TOKENS)
        self.app = NegotiateMiddleware(self.site, acceptor=acceptor, sessions=self.sessions, policy=policy)

    async def log_in(self, token: bytes = b"Alice", cookie: str | None = None) -> str:
        """The cookie that a log-in gives."""
        answer = await Client(self.app).get(token, headers=with_cookie(cookie))
        assert answer.status == 200
        return cookie_of(answer)

    async def get(self, cookie: str | None, token: bytes | None = None) -> Answer:
        return await Client(self.app).get(token, headers=with_cookie(cookie))

    async def who(self, cookie: str | None) -> str:
        """Who a request with this cookie is served as, without a token."""
        answer = await self.get(cookie)
        assert answer.status in (200, 401)
        return answer.text if answer.status == 200 else "nobody"


def with_cookie(cookie: str | None) -> list[tuple[bytes, bytes]]:
    return [] if cookie is None else [(b"cookie", b"negotiate-mw=" + cookie.encode())]


def cookie_of(answer: Answer) -> str:
    (line,) = answer.all("set-cookie")
    found = COOKIE.match(line)
    assert found is not None, line
    return found.group(1)


def is_cleared(answer: Answer) -> bool:
    return any(line.startswith("negotiate-mw=;") and "Max-Age=0" in line for line in answer.all("set-cookie"))


async def stop(*nodes: Node) -> None:
    for node in nodes:
        await node.sessions.stop()


@on_a_loop
async def test_a_session_made_on_one_node_is_good_on_another_and_tells_all_of_the_identity(
    redis_server: RedisServer,
) -> None:
    first, second = Node(redis_server.url), Node(redis_server.url)

    cookie = await first.log_in()
    name = await second.who(cookie)

    assert name == "alice"
    assert second.site.scopes[-1]["user"] == first.site.scopes[-1]["user"]
    assert second.site.scopes[-1]["user"].groups == ALICE.groups
    await stop(first, second)


@on_a_loop
async def test_neither_the_id_nor_the_name_is_in_redis(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)

    cookie = await node.log_in()

    dump = redis_server.cli("eval", "local all = '' for _, k in ipairs(redis.call('keys', '*')) do "
                            "all = all .. k .. redis.call('get', k) end return all", "0")  # fmt: skip
    assert "negotiate-mw:session:" in dump
    for secret in (cookie, cookie[16:], "alice", "EXAMPLE", "1106"):
        assert secret not in dump
    await stop(node)


@on_a_loop
async def test_a_cached_session_costs_no_round_trip_and_any_other_one(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    cookie = await node.log_in()
    await asyncio.sleep(1)

    redis_server.cli("config", "resetstat")
    names = [await node.who(cookie) for _ in range(50)]
    calls = redis_server.calls()

    assert names == ["alice"] * 50
    # one pipeline of three reads; what opening a connection takes isn't counted
    assert {name: calls.get(name, 0) for name in ("get", "getex", "mget", "set", "expire")} == {
        "get": 3, "getex": 0, "mget": 0, "set": 0, "expire": 0,
    }  # fmt: skip
    await stop(node)


@pytest.mark.parametrize("how", ["logout", "revoke", "revoke_account", "revoke_all"])
@on_a_loop
async def test_an_end_counts_on_every_node_within_a_second(redis_server: RedisServer, how: str) -> None:
    first, second = Node(redis_server.url), Node(redis_server.url)
    cookie = await first.log_in()
    others = await first.log_in(b"Bob")
    assert [await second.who(cookie), await second.who(others)] == ["alice", "bob"]

    await end(first, how, cookie)
    here = await first.who(cookie)
    await asyncio.sleep(0.95)
    there = await second.get(cookie)

    assert here == "nobody"
    assert there.status == 401
    assert is_cleared(there)
    assert await second.who(others) == ("nobody" if how == "revoke_all" else "bob")
    assert await second.who(await second.log_in()) == "alice"
    await stop(first, second)


async def end(node: Node, how: str, cookie: str) -> None:
    """End Alice's session in one of the ways that there are."""
    if how == "logout":
        await node.who(cookie)
        await node.sessions.logout(node.site.scopes[-1])
    elif how == "revoke":
        (record,) = [one async for one in node.sessions.active() if one.identity.principal == "alice@EXAMPLE.COM"]
        assert await node.sessions.revoke(record.id)
    elif how == "revoke_account":
        await node.sessions.revoke_account(ALICE.account_id)
    else:
        await node.sessions.revoke_all()


@pytest.mark.parametrize("how", ["logout", "revoke", "revoke_account", "revoke_all"])
@on_a_loop
async def test_an_open_websocket_hears_of_an_end_on_another_node_within_a_second(
    redis_server: RedisServer, how: str
) -> None:
    first, second = Node(redis_server.url), Node(redis_server.url)
    cookie, others = await first.log_in(), await first.log_in(b"Bob")
    sockets = []
    for value in (cookie, cookie, others):
        session = second.sessions.session({"headers": with_cookie(value)}, is_tls=False)
        assert await session.open() is not None
        sockets.append(asyncio.create_task(session.ended()))
    await asyncio.sleep(0.3)

    await end(first, how, cookie)
    begun = time.monotonic()
    await asyncio.wait_for(asyncio.gather(*sockets[:2]), 5)
    taken = time.monotonic() - begun
    await asyncio.sleep(0.7)

    assert taken < 1.2  # one second, and what this machine is slow by
    assert sockets[2].done() is (how == "revoke_all")
    for socket in sockets:
        socket.cancel()
    await stop(first, second)


@on_a_loop
async def test_a_hundred_websockets_are_one_question(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    cookies = [await node.log_in() for _ in range(100)]
    sockets = []
    for cookie in cookies:
        session = node.sessions.session({"headers": with_cookie(cookie)}, is_tls=False)
        await session.open()
        sockets.append(asyncio.create_task(session.ended()))
    await asyncio.sleep(0.1)

    redis_server.cli("config", "resetstat")
    await asyncio.sleep(2)
    calls = redis_server.calls()

    assert 1 <= calls["exists"] <= 5
    assert calls["mget"] == calls["exists"]
    for socket in sockets:
        socket.cancel()
    await stop(node)


@on_a_loop
async def test_a_websocket_survives_a_restart_of_redis_only_if_its_session_does(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    session = node.sessions.session({"headers": with_cookie(await node.log_in())}, is_tls=False)
    await session.open()
    socket = asyncio.create_task(session.ended())

    redis_server.hang()
    await asyncio.sleep(1.5)
    during = socket.done()
    redis_server.go_on()
    await asyncio.sleep(1)
    after = socket.done()
    redis_server.cli("flushall")
    await asyncio.wait_for(socket, 5)

    assert (during, after) == (False, False)
    await stop(node)


@on_a_loop
async def test_nothing_in_flight_brings_back_a_session_that_was_ended(redis_server: RedisServer) -> None:
    first, second = Node(redis_server.url, idle=60), Node(redis_server.url, idle=60)
    cookie = await first.log_in()

    stopping = asyncio.Event()

    async def hammer() -> None:
        while not stopping.is_set():
            second.sessions._cache.clear()
            await second.who(cookie)

    requests = [asyncio.create_task(hammer()) for _ in range(8)]
    await asyncio.sleep(0.1)
    await end(first, "logout", cookie)
    await asyncio.sleep(0.2)
    stopping.set()
    await asyncio.gather(*requests)

    assert not [one async for one in first.sessions.active()]
    assert await second.who(cookie) == "nobody"
    await stop(first, second)


@on_a_loop
async def test_each_log_in_has_a_new_id_and_the_old_one_is_over(redis_server: RedisServer) -> None:
    node, other = Node(redis_server.url), Node(redis_server.url)
    planted = await node.log_in(b"Bob")

    cookie = await node.log_in(b"Alice", cookie=planted)

    assert cookie != planted
    assert cookie[16:] != planted[16:]
    assert [await other.who(cookie), await other.who(planted)] == ["alice", "nobody"]
    await stop(node, other)


@on_a_loop
async def test_a_session_ends_unused_and_use_puts_its_end_off(redis_server: RedisServer) -> None:
    node = Node(redis_server.url, idle=60, max_age=3600)
    cookie = await node.log_in()
    (key,) = redis_server.cli("keys", "negotiate-mw:session:*").split()

    at_first = int(redis_server.cli("ttl", key))
    redis_server.cli("expire", key, "5")
    node.sessions._cache.clear()
    await node.who(cookie)
    used = int(redis_server.cli("ttl", key))
    redis_server.cli("pexpire", key, "1")
    await asyncio.sleep(1)

    assert 55 <= at_first <= 60
    assert 55 <= used <= 60
    assert await node.who(cookie) == "nobody"
    await stop(node)


@on_a_loop
async def test_a_session_ends_with_its_ticket_whatever_redis_says(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    monkeypatch.setitem(TOKENS, b"Short", (user("alice@EXAMPLE.COM", expires_at=soon), None))
    node = Node(redis_server.url)
    cookie = await node.log_in(b"Short")
    (key,) = redis_server.cli("keys", "negotiate-mw:session:*").split()
    redis_server.cli("persist", key)

    before = await node.who(cookie)
    view = node.sessions.session({"headers": with_cookie(cookie)}, is_tls=False)
    assert view.peek(dict(with_cookie(cookie)), soon.timestamp() - 1) is not None
    assert view.peek(dict(with_cookie(cookie)), soon.timestamp()) is None
    await asyncio.sleep(2.1)

    assert [before, await node.who(cookie)] == ["alice", "nobody"]
    await stop(node)


@on_a_loop
async def test_sealed_values_that_are_exchanged_or_made_up_are_nobodys(redis_server: RedisServer) -> None:
    node, forger = Node(redis_server.url), Node(redis_server.url, keys=[OLD_KEY])
    alice, bob, again = await node.log_in(), await node.log_in(b"Bob"), await node.log_in()
    forged = await forger.log_in()
    keys = redis_server.cli("keys", "negotiate-mw:session:*").split()
    redis_server.cli(
        "eval",
        "local values = redis.call('mget', unpack(KEYS)) "
        "for i, key in ipairs(KEYS) do redis.call('set', key, values[i % #KEYS + 1]) end",
        str(len(keys)),
        *keys,
    )
    node.sessions._cache.clear()

    assert [await node.who(cookie) for cookie in (alice, bob, again, forged)] == ["nobody"] * 4
    await stop(node, forger)


@pytest.mark.parametrize("what", ["garbage", "empty", "list", "short", "mark"])
@on_a_loop
async def test_garbage_in_redis_is_a_log_in_and_never_an_error(redis_server: RedisServer, what: str) -> None:
    node = Node(redis_server.url)
    cookie = await node.log_in()
    (key,) = redis_server.cli("keys", "negotiate-mw:session:*").split()
    if what == "list":
        redis_server.cli("del", key)
        redis_server.cli("rpush", key, "x")
    elif what == "mark":
        redis_server.cli("set", "negotiate-mw:sessions", "somebody else's")
    else:
        redis_server.cli("set", key, {"garbage": "\x80\x04pickle" * 50, "empty": "", "short": "x"}[what])
    node.sessions._cache.clear()

    refused = await node.get(cookie)
    logged_in = await node.get(cookie, b"Alice")

    assert refused.status == 401
    assert (logged_in.status, logged_in.text) == (200, "alice")
    await stop(node)


@pytest.mark.parametrize("trouble", ["stopped", "hangs", "wrong password", "flushed"])
@on_a_loop
async def test_with_redis_out_of_order_everybody_logs_in_and_it_recovers_by_itself(
    trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer() as server:
        node = Node(server.url)
        cookie = await node.log_in()
        if trouble == "stopped":
            server.stop()
        elif trouble == "hangs":
            server.hang()
        elif trouble == "flushed":
            server.cli("flushall")
        else:
            server.cli("acl", "setuser", "default", "resetpass", ">other")
            server.cli("-a", "other", "client", "kill", "type", "normal")
        node.sessions._cache.clear()

        begun = time.monotonic()
        without = await node.get(cookie)
        logged_in = await node.get(cookie, b"Bob")
        again = await node.get(cookie)
        taken = time.monotonic() - begun

        assert (without.status, logged_in.status, logged_in.text, again.status) == (401, 200, "bob", 401)
        if trouble != "flushed":
            assert taken < 3
            assert is_cleared(logged_in)
            assert not is_cleared(without)
            assert caplog.text.count("there are no sessions") == 1
        if trouble == "stopped":
            server.start()
        elif trouble == "hangs":
            server.go_on()
        elif trouble == "wrong password":
            server.cli("-a", "other", "acl", "setuser", "default", "nopass")
        await asyncio.sleep(0.1)
        assert await node.who(await node.log_in()) == "alice"
        await stop(node)


@on_a_loop
async def test_a_hanging_redis_holds_up_one_request_at_a_time() -> None:
    with RedisServer() as server:
        node = Node(server.url)
        cookie = await node.log_in()
        node.sessions._cache.clear()
        server.hang()
        await node.get(cookie)

        begun = time.monotonic()
        answers = await asyncio.gather(*(node.get(cookie) for _ in range(50)))
        for _ in range(3):
            answers.append(await node.get(cookie))
        taken = time.monotonic() - begun

        assert {answer.status for answer in answers} == {401}
        assert taken < 3
        server.go_on()
        await stop(node)


@on_a_loop
async def test_logging_out_while_redis_is_down_ends_the_session_once_it_is_back(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*session_ids: str) -> bool:
        raise StoreDown("for this test")

    node, other = Node(redis_server.url), Node(redis_server.url)
    cookie, bobs = await node.log_in(), await node.log_in(b"Bob")
    await node.who(cookie)

    with monkeypatch.context() as patch:
        patch.setattr(node.sessions._ledger, "revoke", down)
        await node.sessions.logout(node.site.scopes[-1])
    still = await other.who(cookie)
    node.sessions._cache.clear()
    await node.who(bobs)  # the next question that Redis answers
    await asyncio.sleep(0.95)

    assert [still, await other.who(cookie)] == ["alice", "nobody"]
    await stop(node, other)


def stranger() -> str:
    """A cookie of nobody's session, as anybody can make it."""
    return urlsafe_b64encode(secrets.token_bytes(36)).decode()


async def log_out(node: Node, cookie: str) -> None:
    await node.sessions.session({"headers": with_cookie(cookie)}, is_tls=False).end()


@on_a_loop
async def test_strangers_log_outs_cost_one_question_each_and_are_not_remembered(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    await node.sessions.start()
    redis_server.cli("config", "resetstat")

    await asyncio.gather(*(log_out(node, stranger()) for _ in range(100)))

    assert redis_server.calls()["unlink"] == 100
    assert len(node.sessions._unended) == 0
    await stop(node)


@on_a_loop
async def test_strangers_log_outs_while_redis_hangs_do_not_push_a_real_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sessions, "_MOST_UNENDED", 20)
    with RedisServer() as server:
        node, other = Node(server.url), Node(server.url)
        cookie, bobs = await node.log_in(), await node.log_in(b"Bob")
        assert await node.who(cookie) == "alice"
        server.hang()
        await log_out(node, stranger())  # is found to be slow: from now on one question at a time waits

        await asyncio.gather(*(log_out(node, stranger()) for _ in range(100)), log_out(node, cookie))
        remembered = len(node.sessions._unended)
        server.go_on()
        server.cli("config", "resetstat")
        deadline = time.monotonic() + 10
        while node.sessions._unended and time.monotonic() < deadline:
            node.sessions._cache.clear()
            await asyncio.gather(*(node.get(bobs) for _ in range(5)))  # questions that Redis answers again
        ended = await other.get(cookie)

        assert remembered == 21
        assert ended.status == 401
        assert await node.who(bobs) == "bob"
        await stop(node, other)


@on_a_loop
async def test_a_crowd_that_finds_redis_back_ends_each_session_once(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(session_id: str) -> bool:
        raise StoreDown("for this test")

    node = Node(redis_server.url)
    bobs = await node.log_in(b"Bob")
    with monkeypatch.context() as patch:
        patch.setattr(node.sessions._ledger, "revoke", down)
        for _ in range(30):
            await log_out(node, stranger())
    node.sessions._cache.clear()
    redis_server.cli("config", "resetstat")

    await asyncio.gather(*(node.get(bobs) for _ in range(20)))

    assert redis_server.calls()["unlink"] == 1  # of all thirty
    assert len(node.sessions._unended) == 0
    await stop(node)


@on_a_loop
async def test_who_gets_no_session_for_want_of_groups_is_nobody_and_not_whoever_was_here_before(
    redis_server: RedisServer,
) -> None:
    groups = Answering([])
    node, other = Node(redis_server.url), Node(redis_server.url)
    acceptor, policy = ScriptedAcceptor(TOKENS), Policy(groups_optional=True)
    node.app = NegotiateMiddleware(Site(), acceptor=acceptor, groups=groups, sessions=node.sessions, policy=policy)
    bobs = await node.log_in(b"Bob")

    groups.answer = AcceptError(SecStatus.NO_AUTHENTICATING_AUTHORITY, "directory-down", detail="ldap://dc is down")
    alices = await node.get(bobs, b"Alice")

    assert alices.text == "alice"
    assert is_cleared(alices)
    assert [await node.who(bobs), await other.who(bobs)] == ["nobody", "nobody"]
    await stop(node, other)


@on_a_loop
async def test_revoking_while_redis_is_down_says_so() -> None:
    sessions = RedisSessions("redis://127.0.0.1:1", keys=[KEY])

    for revoking in (sessions.revoke("x"), sessions.revoke_account("x"), sessions.revoke_all()):
        with pytest.raises(StoreDown):
            await revoking
    await sessions.stop()


@on_a_loop
async def test_keys_rotate_without_logging_anyone_out(redis_server: RedisServer) -> None:
    before = Node(redis_server.url, keys=[OLD_KEY])
    during = Node(redis_server.url, keys=[KEY, OLD_KEY])
    after = Node(redis_server.url)

    old, new = await before.log_in(), await during.log_in()

    assert [await during.who(old), await during.who(new), await after.who(new)] == ["alice"] * 3
    assert await after.who(old) == "nobody"
    await stop(before, during, after)


@on_a_loop
async def test_a_session_of_another_audience_scheme_or_policy_opens_nothing(redis_server: RedisServer) -> None:
    weak = Node(redis_server.url)
    wiki = Node(redis_server.url, audience="wiki")
    strict = Node(redis_server.url, policy=Policy(realms=["OTHER.EXAMPLE"]))
    cookie = await weak.log_in()

    names = [b"negotiate-mw", wiki.sessions._cookies[0].name]
    said = [(await Client(wiki.app).get(headers=[(b"cookie", name + b"=" + cookie.encode())])).status for name in names]
    over_tls = weak.sessions.session({"headers": [(b"cookie", b"__Host-negotiate-mw=" + cookie.encode())]}, is_tls=True)

    wiki.sessions._cookies = weak.sessions._cookies  # were their names ever the same

    assert said == [401, 401]
    assert await wiki.who(cookie) == "nobody"
    assert await over_tls.open() is None
    assert (await strict.get(cookie)).status == 401
    await stop(weak, wiki, strict)


@on_a_loop
async def test_a_log_out_clears_the_cookie_of_a_session_that_was_open_here(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    cookie = await node.log_in()
    assert await node.who(cookie) == "alice"

    async def leaving(scope: Any, receive: Any, send: Any) -> None:
        await node.sessions.logout(scope)
        await node.site(scope, receive, send)

    node.app.app = leaving
    answer = await node.get(cookie)

    assert (answer.status, answer.text, is_cleared(answer)) == (200, "alice", True)
    assert await node.who(cookie) == "nobody"
    await stop(node)


@on_a_loop
async def test_two_cookies_are_nobodys_session_also_where_both_are_open_here(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    lines = [(b"cookie", b"negotiate-mw=" + (await node.log_in(token)).encode()) for token in (b"Alice", b"Bob")]
    assert [(await Client(node.app).get(headers=[line])).text for line in lines] == ["alice", "bob"]

    answers = [await Client(node.app).get(headers=both) for both in (lines, lines[::-1])]

    assert [(answer.status, is_cleared(answer)) for answer in answers] == [(401, True)] * 2
    await stop(node)


@on_a_loop
async def test_a_broken_cookie_is_cleared_without_asking_redis(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    cookie = await node.log_in()
    redis_server.cli("config", "resetstat")

    answers = [
        await node.get(bad) for bad in ("x", cookie[:-1], cookie + "A", "!" * 48, "é" * 24, cookie + "; negotiate-mw=x")
    ]

    assert [answer.status for answer in answers] == [401] * 6
    assert all(map(is_cleared, answers))
    assert redis_server.calls().get("get", 0) == 0
    await stop(node)


@on_a_loop
async def test_every_flipped_bit_of_a_cookie_is_nobody(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    raw = urlsafe_b64decode(await node.log_in())

    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        assert await node.who(urlsafe_b64encode(changed).decode()) == "nobody"

    await stop(node)


@pytest.mark.parametrize(
    "options",
    [{"keys": []}, {"keys": ["short"]}, {"max_age": 0}, {"max_age": 8 * 86400}, {"idle": 1}, {"idle": 4000},
     {"audience": 7}, {"domain": "x"}],
)  # fmt: skip
def test_a_wrong_option_says_what_to_type(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"give|make"):
        RedisSessions("redis://127.0.0.1", **{"keys": [KEY]} | options)


@on_a_loop
async def test_logging_out_of_a_scope_without_a_session_of_ours_says_what_to_do() -> None:
    sessions = RedisSessions("redis://127.0.0.1:1", keys=[KEY])

    with pytest.raises(ConfigurationError, match="outermost"):
        await sessions.logout({"type": "http"})


@on_a_loop
async def test_a_start_without_redis_is_a_start_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    sessions = RedisSessions("redis://127.0.0.1:1", keys=[KEY])

    await sessions.start()

    assert "there are no sessions" in caplog.text
    await sessions.stop()


@on_a_loop
async def test_who_cannot_be_remembered_ends_the_session_of_whoever_was_here_before(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*arguments: object, **options: object) -> None:
        raise StoreDown("for this test")

    node = Node(redis_server.url)
    bobs = await node.log_in(b"Bob")
    with monkeypatch.context() as patch:
        patch.setattr(node.sessions._ledger, "write", down)
        answer = await node.get(bobs, b"Alice")

    assert answer.text == "alice"
    assert (await node.get(bobs)).status == 401
    await stop(node)


@on_a_loop
async def test_a_log_out_ends_each_session_whose_cookie_is_there(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    cookie = await node.log_in()

    await log_out(node, f"{cookie}; negotiate-mw=planted")
    node.sessions._cache.clear()

    assert (await node.get(cookie)).status == 401
    await stop(node)


@on_a_loop
async def test_what_was_read_too_long_ago_takes_up_no_memory(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_sessions, "CACHED_SECONDS", 0.0)
    node = Node(redis_server.url)
    for _ in range(3):
        await node.get(await node.log_in())

    assert len(node.sessions._cache) == 1
    await stop(node)


@on_a_loop
async def test_other_keys_of_the_same_server_are_passed_by_in_many_small_steps(redis_server: RedisServer) -> None:
    node = Node(redis_server.url)
    await node.log_in()
    redis_server.cli("eval", "for i = 1, 3000 do redis.call('set', 'other.' .. i, '') end", "0")
    redis_server.cli("config", "resetstat")

    found = [record.identity.principal async for record in node.sessions.active()]

    assert "alice@EXAMPLE.COM" in found
    assert redis_server.calls()["scan"] >= 3000 / 500
    await stop(node)
