import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from negotiate_mw import accept
from negotiate_mw.accept import Acceptor
from negotiate_mw.backends import Context
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult
from negotiate_mw.policy import Limits
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.wire import der, spnego

from .building import KERBEROS, RAW_KERBEROS, FakeBackend, denied, finished, negotiate, threads, unfinished, user

LATER = b"\xa1\x00"


def acceptor_of(backend: FakeBackend, **options: Any) -> Acceptor:
    acceptor = Acceptor(**options)
    acceptor._kerberos = backend
    acceptor.acquired = True
    return acceptor


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not claim():
            await asyncio.sleep(0.001)


def run(test: Callable[[], Awaitable[None]], acceptor: Acceptor) -> None:
    async def main() -> None:
        try:
            await test()
        finally:  # what a failed test left hanging would fail the next ones as well
            if isinstance(acceptor._kerberos, FakeBackend):
                acceptor._kerberos.go_on.set()
            await acceptor.aclose()
        await until(lambda: not threads())

    asyncio.run(main())


async def failing(step: Awaitable[AcceptResult]) -> tuple[SecStatus, str]:
    with pytest.raises(AcceptError) as caught:
        await step
    return caught.value.status, caught.value.reason


def of(result: AcceptResult) -> Context:
    assert isinstance(result.context, Context)
    return result.context


ANYWHERE = pytest.mark.parametrize("offload", ["never", "always"])


# what every way of running a step does


@ANYWHERE
@pytest.mark.parametrize("token", [KERBEROS, RAW_KERBEROS, negotiate(spnego.NTLM, spnego.MS_KRB5)])
def test_a_handshake_of_one_leg_gives_an_identity(offload: str, token: bytes) -> None:
    backend = FakeBackend(finished())
    acceptor = acceptor_of(backend, offload=offload)

    async def test() -> None:
        result = await acceptor.accept(None, token, bindings=b"tls-server-end-point:x")

        assert (result.status, result.identity, result.token) == (SecStatus.OK, user(), b"last")
        assert backend.steps == [(result.context, token, b"tls-server-end-point:x")]
        assert not of(result).lock.locked()

    run(test, acceptor)


@ANYWHERE
def test_a_handshake_of_two_legs_steps_one_context_twice(offload: str) -> None:
    backend = FakeBackend(unfinished(), finished())
    acceptor = acceptor_of(backend, offload=offload)

    async def test() -> None:
        first = await acceptor.accept(None, KERBEROS)
        second = await acceptor.accept(first.context, LATER)

        assert (first.status, first.token) == (SecStatus.CONTINUE_NEEDED, b"more")
        assert second.status is SecStatus.OK
        assert [context for context, _, _ in backend.steps] == [first.context, first.context]

    run(test, acceptor)


@ANYWHERE
def test_a_finished_context_is_deleted_once_and_takes_no_further_leg(offload: str) -> None:
    backend = FakeBackend(finished())
    acceptor = acceptor_of(backend, offload=offload)

    async def test() -> None:
        result = await acceptor.accept(None, KERBEROS)

        assert len(backend.deleted) == 1
        assert not of(result).lock.locked()
        assert await failing(acceptor.accept(result.context, LATER)) == (SecStatus.INVALID_HANDLE, "context-deleted")
        await acceptor.delete(result.context)
        assert len(backend.deleted) == 1

    run(test, acceptor)


@ANYWHERE
def test_an_error_deletes_the_context_once_and_frees_its_lock(offload: str) -> None:
    backend = FakeBackend(unfinished(), denied("replay"))
    acceptor = acceptor_of(backend, offload=offload)

    async def test() -> None:
        first = await acceptor.accept(None, KERBEROS)

        assert await failing(acceptor.accept(first.context, LATER)) == (SecStatus.LOGON_DENIED, "replay")
        assert len(backend.deleted) == 1
        assert not of(first).lock.locked()
        assert await failing(acceptor.accept(first.context, LATER)) == (SecStatus.INVALID_HANDLE, "context-deleted")
        await acceptor.delete(first.context)
        assert len(backend.deleted) == 1

    run(test, acceptor)


@ANYWHERE
def test_deleting_is_idempotent_and_final(offload: str) -> None:
    backend = FakeBackend(unfinished())
    acceptor = acceptor_of(backend, offload=offload)

    async def test() -> None:
        first = await acceptor.accept(None, KERBEROS)

        await acceptor.delete(first.context)
        await acceptor.delete(first.context)
        acceptor.discard(first.context)

        assert len(backend.deleted) == 1
        assert await failing(acceptor.accept(first.context, LATER)) == (SecStatus.INVALID_HANDLE, "context-deleted")
        assert len(backend.steps) == 1

    run(test, acceptor)


@ANYWHERE
@pytest.mark.parametrize(
    ("has", "required", "met"),
    [
        (ContextFlag.MUTUAL_AUTH, ContextFlag.MUTUAL_AUTH, True),
        (ContextFlag.MUTUAL_AUTH | ContextFlag.INTEGRITY, ContextFlag.MUTUAL_AUTH, True),
        (ContextFlag.INTEGRITY, ContextFlag.MUTUAL_AUTH, False),
        (ContextFlag.MUTUAL_AUTH, ContextFlag.MUTUAL_AUTH | ContextFlag.INTEGRITY, False),
    ],
)
def test_required_attributes_are_held_against_the_finished_context(
    offload: str, has: ContextFlag, required: ContextFlag, met: bool
) -> None:
    backend = FakeBackend(unfinished(), finished(user(attributes=has)))
    acceptor = acceptor_of(backend, offload=offload)

    async def test() -> None:
        first = await acceptor.accept(None, KERBEROS, required=required)
        last = acceptor.accept(first.context, LATER, required=required)

        if met:
            assert (await last).attributes == has
        else:
            assert await failing(last) == (SecStatus.UNSUPPORTED_FUNCTION, "flags-missing")
        assert len(backend.deleted) == 1
        assert not of(first).lock.locked()

    run(test, acceptor)


# first tokens


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        (b"", SecStatus.INVALID_TOKEN, "malformed"),
        (b"junk", SecStatus.INVALID_TOKEN, "malformed"),
        (KERBEROS + b"x", SecStatus.INVALID_TOKEN, "malformed"),
        (KERBEROS[:-1], SecStatus.INCOMPLETE_MESSAGE, "incomplete"),
        (b"NTLMSSP\0", SecStatus.INCOMPLETE_MESSAGE, "incomplete"),
        (spnego.response(state=0), SecStatus.INVALID_TOKEN, "no-handshake"),
        (negotiate(spnego.NTLM), SecStatus.UNSUPPORTED_FUNCTION, "mechanism-not-allowed"),
        (negotiate(spnego.NEGOEX, spnego.KRB5_U2U), SecStatus.UNSUPPORTED_FUNCTION, "mechanism-not-allowed"),
        (b"NTLMSSP\0\x01\0\0\0" + bytes(20), SecStatus.UNSUPPORTED_FUNCTION, "mechanism-not-allowed"),
        (der.encode(0x60, der.encode(der.OID, der.encode_oid(spnego.NTLM))), SecStatus.INVALID_TOKEN, "malformed"),
    ],
)
def test_a_first_token_that_is_no_offer_of_kerberos_never_reaches_the_library(
    token: bytes, status: SecStatus, reason: str
) -> None:
    backend = FakeBackend(finished())

    assert asyncio.run(failing(acceptor_of(backend).accept(None, token))) == (status, reason)
    assert backend.steps == []


def test_a_step_before_acquiring_is_no_credentials() -> None:
    assert asyncio.run(failing(Acceptor().accept(None, KERBEROS))) == (SecStatus.NO_CREDENTIALS, "not-acquired")


@pytest.mark.parametrize("context", [object(), "context", 0, b""])
def test_what_is_no_context_of_ours_is_an_invalid_handle(context: object) -> None:
    acceptor = acceptor_of(FakeBackend(finished()))

    assert asyncio.run(failing(acceptor.accept(context, LATER))) == (SecStatus.INVALID_HANDLE, "not-a-context")
    with pytest.raises(AcceptError, match="not-a-context"):
        acceptor.discard(context)


# where steps run


@pytest.mark.parametrize(
    ("offload", "may_block", "inline"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("always", False, False),
        ("always", True, False),
        ("never", False, True),
        ("never", True, True),
    ],
)
def test_a_step_runs_on_the_loop_unless_it_may_block_or_is_told_to(offload: str, may_block: bool, inline: bool) -> None:
    backend = FakeBackend(finished())
    backend.may_block = may_block
    acceptor = acceptor_of(backend, offload=offload)

    async def test() -> None:
        await acceptor.accept(None, KERBEROS)

    run(test, acceptor)
    assert backend.threads == ["MainThread" if inline else "negotiate-mw"]


@pytest.mark.parametrize("fails", [False, True])
def test_auto_moves_to_the_pool_after_three_slow_steps_of_eight_and_back(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    clock = [0.0]
    monkeypatch.setattr(accept, "perf_counter", lambda: clock[0])
    slow = [0.0]

    def takes_its_time() -> AcceptResult:
        clock[0] += slow[0]
        if fails:
            raise denied()
        return finished()

    backend = FakeBackend(takes_its_time)
    acceptor = acceptor_of(backend)

    async def steps(count: int, seconds: float) -> list[str]:
        slow[0] = seconds
        backend.threads.clear()
        for _ in range(count):
            try:
                await acceptor.accept(None, KERBEROS)
            except AcceptError:
                assert fails
        return ["loop" if name == "MainThread" else "pool" for name in backend.threads]

    async def test() -> None:
        assert await steps(20, 0.004) == ["loop"] * 20
        assert await steps(2, 0.006) == ["loop"] * 2
        assert await steps(6, 0.001) == ["loop"] * 6  # two of eight may be the scheduler's doing
        assert await steps(4, 0.006) == ["loop"] * 3 + ["pool"]
        assert await steps(8, 0.001) == ["pool"] * 6 + ["loop"] * 2

    run(test, acceptor)


# the pool: queue, deadline, cancellation

ALWAYS = {"offload": "always"}


def test_a_step_that_finds_the_queue_full_is_busy_and_deletes_its_context() -> None:
    backend = FakeBackend(unfinished())
    acceptor = acceptor_of(backend, **ALWAYS, limits=Limits(threads=1, queue=1))

    async def test() -> None:
        half_open = await acceptor.accept(None, KERBEROS)
        await until(lambda: acceptor._pool.load == 0)
        backend.go_on.clear()
        tasks = [asyncio.create_task(acceptor.accept(None, KERBEROS)) for _ in range(2)]
        await asyncio.sleep(0)

        assert await failing(acceptor.accept(half_open.context, LATER)) == (SecStatus.BUSY, "busy")
        assert len(backend.deleted) == 1
        assert not of(half_open).lock.locked()

        backend.go_on.set()
        results = await asyncio.gather(*tasks)
        assert {result.status for result in results} == {SecStatus.CONTINUE_NEEDED}

    run(test, acceptor)


def test_a_step_that_hangs_times_out_and_its_context_is_deleted_once_it_has_ended() -> None:
    backend = FakeBackend(unfinished())
    acceptor = acceptor_of(backend, **ALWAYS, limits=Limits(step_seconds=0.05))

    async def test() -> None:
        half_open = await acceptor.accept(None, KERBEROS)
        backend.go_on.clear()

        assert await failing(acceptor.accept(half_open.context, LATER)) == (SecStatus.TIMEOUT, "timeout")
        assert backend.deleted == []
        assert of(half_open).lock.locked()
        assert await failing(acceptor.accept(half_open.context, LATER)) == (SecStatus.INVALID_HANDLE, "context-in-use")

        backend.go_on.set()
        await until(lambda: len(backend.deleted) == 1)
        assert not of(half_open).lock.locked()

    run(test, acceptor)


def test_the_wait_for_a_thread_counts_towards_the_deadline() -> None:
    backend = FakeBackend(unfinished())
    backend.go_on.clear()
    acceptor = acceptor_of(backend, **ALWAYS, limits=Limits(threads=1, step_seconds=0.05))

    async def test() -> None:
        tasks = [asyncio.create_task(failing(acceptor.accept(None, KERBEROS))) for _ in range(3)]
        assert await asyncio.gather(*tasks) == [(SecStatus.TIMEOUT, "timeout")] * 3

        backend.go_on.set()
        await until(lambda: len(backend.deleted) == 1)
        assert len(backend.steps) == 1  # the others' turn came too late

    run(test, acceptor)


@pytest.mark.parametrize("outcome", [finished(), unfinished(), denied()])
@pytest.mark.parametrize("when", ["before it runs", "while it runs", "in the turn of its delivery"])
def test_a_cancelled_step_deletes_its_context_exactly_once(when: str, outcome: AcceptResult | AcceptError) -> None:
    backend = FakeBackend(unfinished(), unfinished(), outcome)
    acceptor = acceptor_of(backend, **ALWAYS, limits=Limits(threads=1))

    async def test() -> None:
        half_open, other = await acceptor.accept(None, KERBEROS), await acceptor.accept(None, KERBEROS)
        backend.go_on.clear()
        backend.began.clear()
        ahead = [other.context] if when == "before it runs" else []
        blocking = [asyncio.create_task(acceptor.accept(context, LATER)) for context in ahead]
        task = asyncio.create_task(acceptor.accept(half_open.context, LATER))
        await until(backend.began.is_set)

        if when == "in the turn of its delivery":
            backend.go_on.set()
            while acceptor._pool.load:
                time.sleep(0.001)  # on the loop: what the thread delivers has to wait
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        backend.go_on.set()
        await asyncio.gather(*blocking, return_exceptions=True)

        await until(lambda: not of(half_open).lock.locked())
        await asyncio.sleep(0.005)
        ours = [context for context, _, _ in backend.steps].count(of(half_open))
        assert ours == (1 if when == "before it runs" else 2)
        assert of(half_open).handle is None
        assert await failing(acceptor.accept(half_open.context, LATER)) == (SecStatus.INVALID_HANDLE, "context-deleted")
        acceptor.discard(half_open.context)

    run(test, acceptor)


def test_of_two_legs_at_once_on_one_context_one_goes_on_and_the_other_is_refused() -> None:
    backend = FakeBackend(unfinished(), finished())
    acceptor = acceptor_of(backend, **ALWAYS)

    async def test() -> None:
        half_open = await acceptor.accept(None, KERBEROS)
        backend.go_on.clear()
        task = asyncio.create_task(acceptor.accept(half_open.context, LATER))
        await until(lambda: len(backend.steps) == 2)

        losers = await asyncio.gather(*(failing(acceptor.accept(half_open.context, LATER)) for _ in range(5)))

        assert losers == [(SecStatus.INVALID_HANDLE, "context-in-use")] * 5
        backend.go_on.set()
        assert (await task).status is SecStatus.OK
        assert len(backend.steps) == 2
        assert len(backend.deleted) == 1

    run(test, acceptor)


@pytest.mark.parametrize("outcome", [finished(), unfinished(), denied()])
def test_a_context_discarded_during_its_step_is_deleted_once_after_it(outcome: AcceptResult | AcceptError) -> None:
    backend = FakeBackend(unfinished(), outcome)
    acceptor = acceptor_of(backend, **ALWAYS)

    async def test() -> None:
        half_open = await acceptor.accept(None, KERBEROS)
        backend.go_on.clear()
        task = asyncio.create_task(acceptor.accept(half_open.context, LATER))
        await until(lambda: len(backend.steps) == 2)

        acceptor.discard(half_open.context)
        await acceptor.delete(half_open.context)
        assert backend.deleted == []
        backend.go_on.set()

        with pytest.raises(AcceptError):
            await task
        assert len(backend.deleted) == 1
        assert not of(half_open).lock.locked()

    run(test, acceptor)


def test_closing_lets_steps_under_way_end_and_leaves_no_thread() -> None:
    backend = FakeBackend(finished())
    backend.go_on.clear()
    acceptor = acceptor_of(backend, **ALWAYS)

    async def test() -> None:
        tasks = [asyncio.create_task(acceptor.accept(None, KERBEROS)) for _ in range(4)]
        await until(lambda: len(backend.steps) == 4)
        assert len(threads()) == 4

        await acceptor.aclose()
        await acceptor.aclose()
        backend.go_on.set()

        assert {(await task).status for task in tasks} == {SecStatus.OK}
        await until(lambda: not threads())

    run(test, acceptor)
    assert not acceptor.acquired


def test_many_handshakes_cancelled_at_random_leave_nothing_behind() -> None:
    backend = FakeBackend(unfinished())
    acceptor = acceptor_of(backend, **ALWAYS, limits=Limits(threads=3, queue=10_000))

    async def test() -> None:
        tasks = [asyncio.create_task(acceptor.accept(None, KERBEROS)) for _ in range(300)]
        for turn, task in enumerate(tasks):
            if turn % 2:
                await asyncio.sleep(0)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: acceptor._pool.load == 0)
        await asyncio.sleep(0.01)

        kept = {of(result) for result in results if isinstance(result, AcceptResult)}
        for context in {context for context, _, _ in backend.steps}:
            assert not context.lock.locked()
            assert (context.handle is not None) is (context in kept)

    run(test, acceptor)


# the rest of its life


def test_it_is_ready_between_acquiring_and_closing_while_its_files_are_usable() -> None:
    backend = FakeBackend(finished())
    acceptor = Acceptor()
    assert (acceptor.ready(), acceptor.acquired, not acceptor.realms) == (False, False, True)

    acceptor._kerberos = backend
    acceptor.acquired = True
    acceptor.look()
    assert (acceptor.ready(), acceptor.acquired, acceptor.realms) == (True, True, {"EXAMPLE.COM"})

    backend.ill = "the keytab is gone"
    assert not acceptor.ready()
    asyncio.run(acceptor.aclose())
    assert not acceptor.acquired
    assert (acceptor.realms, acceptor.ntlm_domains) == (None, None)


def test_acquiring_without_the_kerberos_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "negotiate_mw.backends.gssapi", raising=False)
    monkeypatch.setitem(sys.modules, "gssapi", None)

    with pytest.raises(ConfigurationError, match=r"libkrb5-dev.*dnf install.*brew install.*negotiate-mw\[kerberos\]"):
        asyncio.run(Acceptor().acquire())


def test_it_is_acquired_once_and_closed_at_the_end_of_its_block() -> None:
    acceptor = acceptor_of(FakeBackend(finished()))
    backend = acceptor._kerberos

    async def test() -> None:
        async with acceptor as entered:
            assert entered is acceptor
            assert acceptor._kerberos is backend

    asyncio.run(test())
    assert not acceptor.acquired


@pytest.mark.parametrize(
    ("options", "to_type"),
    [
        ({"mechanisms": "kerberos"}, "kerberos"),
        ({"mechanisms": ()}, "kerberos"),
        ({"mechanisms": ("digest",)}, "kerberos"),
        ({"service": ""}, '"HTTP"'),
        ({"service": "HTTP/www"}, '"HTTP"'),
        ({"service": "HTTP@www"}, '"HTTP"'),
        ({"service": 5}, '"HTTP"'),
        ({"offload": "sometimes"}, '"auto", "always" or "never"'),
        ({"offload": True}, '"auto", "always" or "never"'),
        ({"hostname": "HTTP/www.corp.example"}, '"www.corp.example"'),
        ({"hostname": ["www.corp.example", ""]}, '"www.corp.example"'),
        ({"hostname": "www.corp.example:443"}, '"www.corp.example"'),
        ({"hostname": [5]}, '"www.corp.example"'),
        ({"limits": {"legs": 3}}, "Limits("),
        ({"replay": "redis://redis.corp.example"}, "RedisReplayCache("),
    ],
)
def test_a_wrong_option_says_its_name_and_what_to_type(options: dict[str, Any], to_type: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Acceptor(**options)

    assert f"Acceptor({next(iter(options))}=" in str(caught.value)
    assert to_type in str(caught.value)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError):
        Acceptor(key_tab="http.keytab")  # type: ignore[call-arg]


def python(script: str) -> subprocess.CompletedProcess[str]:
    preamble = (
        "import asyncio, os, sys, threading, time\n"
        "from negotiate_mw.accept import Acceptor, AcceptError, Limits\n"
        f"from {__package__}.building import *\n"
    )
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", preamble + script],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""},
    )


def test_a_process_ends_though_a_step_hangs() -> None:
    done = python(
        "backend = FakeBackend(lambda: time.sleep(3600))\n"
        "acceptor = Acceptor(offload='always', limits=Limits(step_seconds=0.05))\n"
        "acceptor._kerberos = backend\n"
        "acceptor.acquired = True\n"
        "try:\n"
        "    asyncio.run(acceptor.accept(None, KERBEROS))\n"
        "except AcceptError as error:\n"
        "    print(error.reason)\n"
    )

    assert (done.returncode, done.stdout) == (0, "timeout\n"), done.stderr


def test_an_acceptor_goes_on_in_a_fork_of_its_process() -> None:
    done = python(
        "acceptor = Acceptor(offload='always', limits=Limits(step_seconds=5, threads=1))\n"
        "acceptor._kerberos = FakeBackend(finished())\n"
        "acceptor.acquired = True\n"
        "asyncio.run(acceptor.accept(None, KERBEROS))\n"
        "child = os.fork()\n"
        "result = asyncio.run(acceptor.accept(None, KERBEROS))\n"
        "print('child' if not child else 'parent', result.status.name, flush=True)\n"
        "if child:\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
    )

    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["child OK", "parent OK"]
