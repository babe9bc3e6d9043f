import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from negotiate_mw.pool import PoolFull, StepPool

from .building import threads


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not claim():
            await asyncio.sleep(0.001)


def wait_on_the_loop_itself(claim: Callable[[], bool]) -> None:
    """Nothing else runs on the loop meanwhile, so that what threads deliver arrives all in its next turn."""
    end = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.001)


class Call:
    """What blocks until it is let go."""

    def __init__(self, problem: BaseException | None = None) -> None:
        self.began, self.let_go = threading.Event(), threading.Event()
        self.problem = problem
        self.ran = 0
        self.abandoned = 0

    def __call__(self) -> str:
        self.ran += 1
        self.began.set()
        assert self.let_go.wait(20)
        if self.problem is not None:
            raise self.problem
        return "done"

    def abandon(self) -> None:
        self.abandoned += 1

    def start(self, pool: StepPool, seconds: float = 20) -> "asyncio.Task[str]":
        return asyncio.create_task(pool.run(self, seconds=seconds, abandoned=self.abandon))


def on_a_loop(test: Callable[[StepPool], Awaitable[None]], pool: StepPool | None = None) -> None:
    pool = pool or StepPool(threads=1, queue=1)

    async def run() -> None:
        await test(pool)
        pool.close()
        await until(lambda: not threads())

    asyncio.run(run(), debug=False)
    assert pool.load == 0


def test_a_call_runs_in_a_thread_and_gives_what_it_returns() -> None:
    async def test(pool: StepPool) -> None:
        name = await pool.run(lambda: threading.current_thread().name, seconds=20, abandoned=pytest.fail)

        assert name == "negotiate-mw"

    on_a_loop(test)


@pytest.mark.parametrize("problem", [KeyError("k"), SystemExit(1), TimeoutError(), ValueError()])
def test_what_a_call_raises_is_raised_to_whoever_waits(problem: BaseException) -> None:
    async def test(pool: StepPool) -> None:
        call = Call(problem)
        call.let_go.set()

        with pytest.raises(type(problem)):
            await pool.run(call, seconds=20, abandoned=lambda: None)

    on_a_loop(test)


def test_a_stop_iteration_does_not_leave_anyone_waiting() -> None:
    async def test(pool: StepPool) -> None:
        call = Call(StopIteration())
        call.let_go.set()

        with pytest.raises(RuntimeError):
            await pool.run(call, seconds=20, abandoned=call.abandon)

        assert call.abandoned == 0

    on_a_loop(test)


def test_threads_are_as_few_as_the_load_and_as_many_as_the_limit() -> None:
    async def test(pool: StepPool) -> None:
        calls = [Call() for _ in range(5)]
        assert len(threads()) == 0
        tasks = []
        for call in calls:
            tasks.append(call.start(pool))
            await asyncio.sleep(0)
            assert len(threads()) == min(len(tasks), 3)

        for call in calls:
            call.let_go.set()

        assert await asyncio.gather(*tasks) == ["done"] * 5

    on_a_loop(test, StepPool(threads=3, queue=2))


def test_a_call_beyond_threads_and_queue_is_refused_at_once_and_not_abandoned() -> None:
    async def test(pool: StepPool) -> None:
        running, queued, refused = Call(), Call(), Call()
        tasks = [running.start(pool), queued.start(pool)]
        await asyncio.sleep(0)

        with pytest.raises(PoolFull):
            await pool.run(refused, seconds=20, abandoned=refused.abandon)

        assert (refused.ran, refused.abandoned) == (0, 0)
        running.let_go.set()
        queued.let_go.set()
        await asyncio.gather(*tasks)

    on_a_loop(test)


def test_the_deadline_counts_the_wait_for_a_thread() -> None:
    async def test(pool: StepPool) -> None:
        running, queued = Call(), Call()
        task = running.start(pool)
        await until(running.began.is_set)

        with pytest.raises(TimeoutError):
            await pool.run(queued, seconds=0.02, abandoned=queued.abandon)

        assert queued.abandoned == 0  # its turn comes, and then it is skipped
        running.let_go.set()
        await task
        await until(lambda: queued.abandoned == 1)
        assert queued.ran == 0

    on_a_loop(test)


@pytest.mark.parametrize("problem", [None, KeyError("k")])
def test_a_running_call_that_misses_its_deadline_is_abandoned_once_it_has_ended(problem: Exception | None) -> None:
    async def test(pool: StepPool) -> None:
        call = Call(problem)

        with pytest.raises(TimeoutError):
            await pool.run(call, seconds=0.02, abandoned=call.abandon)

        assert (call.ran, call.abandoned) == (1, 0)
        call.let_go.set()
        await until(lambda: call.abandoned == 1)

    on_a_loop(test)


def test_a_call_cancelled_before_its_start_never_runs_and_is_abandoned_once() -> None:
    async def test(pool: StepPool) -> None:
        running, queued = Call(), Call()
        tasks = [running.start(pool), queued.start(pool)]
        await until(running.began.is_set)

        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        running.let_go.set()
        await tasks[0]

        await until(lambda: queued.abandoned == 1)
        assert queued.ran == 0

    on_a_loop(test)


def test_a_call_cancelled_while_it_runs_is_abandoned_once_after_its_end() -> None:
    async def test(pool: StepPool) -> None:
        call = Call()
        task = call.start(pool)
        await until(call.began.is_set)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.abandoned == 0
        call.let_go.set()

        await until(lambda: call.abandoned == 1)

    on_a_loop(test)


@pytest.mark.parametrize("problem", [None, KeyError("k")])
@pytest.mark.parametrize("before_delivery", [True, False])
def test_a_call_cancelled_in_the_turn_of_its_delivery_is_abandoned_once(
    before_delivery: bool, problem: Exception | None
) -> None:
    async def test(pool: StepPool) -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        call = Call(problem)
        task = call.start(pool)
        await until(call.began.is_set)

        call.let_go.set()
        if before_delivery:
            task.cancel()
        wait_on_the_loop_itself(lambda: pool.load == 0)
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

        await until(lambda: call.abandoned == 1)
        await asyncio.sleep(0.01)
        del task
        assert call.abandoned == 1
        assert complaints == []

    on_a_loop(test)


def test_a_call_that_ends_in_the_turn_of_its_deadline_is_abandoned_once() -> None:
    async def test(pool: StepPool) -> None:
        call = Call()
        task = call.start(pool, seconds=0.05)
        await until(call.began.is_set)

        call.let_go.set()
        wait_on_the_loop_itself(lambda: pool.load == 0)
        time.sleep(0.06)
        try:
            delivered = await task == "done"
        except TimeoutError:
            delivered = False

        await asyncio.sleep(0.01)
        assert call.abandoned == (0 if delivered else 1)

    on_a_loop(test)


def test_a_call_that_outlives_its_loop_is_abandoned_once() -> None:
    call, pool = Call(), StepPool(threads=1, queue=1)

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await pool.run(call, seconds=0.01, abandoned=call.abandon)

    asyncio.run(leave())
    call.let_go.set()

    wait_on_the_loop_itself(lambda: call.abandoned == 1)
    pool.close()
    wait_on_the_loop_itself(lambda: not threads())


def test_closing_lets_what_runs_and_waits_come_to_its_end() -> None:
    async def test(pool: StepPool) -> None:
        calls = [Call(), Call()]
        tasks = [call.start(pool) for call in calls]
        await until(calls[0].began.is_set)

        pool.close()
        for call in calls:
            call.let_go.set()

        assert await asyncio.gather(*tasks) == ["done", "done"]

    on_a_loop(test)


def test_a_pool_that_is_used_again_after_closing_does_not_wait_for_a_call_that_hangs() -> None:
    async def test(pool: StepPool) -> None:
        hanging, later = Call(), Call()
        later.let_go.set()
        task = hanging.start(pool)
        await until(hanging.began.is_set)
        pool.close()

        assert await pool.run(later, seconds=5, abandoned=later.abandon) == "done"

        hanging.let_go.set()
        await task

    on_a_loop(test)


def test_a_system_without_threads_refuses_and_is_used_again_once_it_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> tuple[int, str]:
        pool = StepPool(2, 2)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            for _ in range(10):
                with pytest.raises(PoolFull):
                    await pool.run(lambda: "never", seconds=5, abandoned=lambda: None)
        load = pool.load
        value = await pool.run(lambda: "done", seconds=5, abandoned=lambda: None)
        pool.close()
        return load, value

    assert asyncio.run(run()) == (0, "done")
