"""Threads for accept steps that may block: a bounded number, a bounded queue, and nothing lost on cancellation.

Law: a job's outcome is delivered on the event loop exactly once, to the caller who still waits or to ``abandoned``;
a thread that hangs holds nobody but itself, and doesn't keep the process from ending.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PoolFull(Exception):
    """Every thread is busy and the queue is full."""


class _Job(Generic[T]):
    """One call: what to run, who waits for it, and what to do if nobody does any more."""

    def __init__(self, call: Callable[[], T], abandoned: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[T] = loop.create_future()
        self._call = call
        self._abandoned = abandoned
        self._loop = loop

    def run(self) -> Callable[[], None]:
        """Run the call, in the thread; what is returned tells the loop of its outcome."""
        value: Any = None
        problem: BaseException | None = None
        if not self.future.cancelled():  # given up while it waited for a thread
            try:
                value = self._call()
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits, as concurrent.futures does
                # a future doesn't take StopIteration, and whoever waits would wait for ever
                problem = RuntimeError("a step raised StopIteration") if isinstance(error, StopIteration) else error
        return partial(self._tell, value, problem)

    def _tell(self, value: Any, problem: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, value, problem)
        except RuntimeError:  # the loop has ended, and its tasks with it
            self._abandoned()

    def _deliver(self, value: Any, problem: BaseException | None) -> None:
        if self.future.done():
            self._abandoned()
        elif problem is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(problem)


class StepPool:
    """Daemon threads, started when first needed, that run accept steps.

    Args:
        threads: most threads.
        queue: most jobs that may wait for one.
        name: of the threads, for whoever looks at the process.
    """

    def __init__(self, threads: int, queue: int, name: str = "negotiate-mw") -> None:
        self._name = name
        self._threads = threads
        self._capacity = threads + queue
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._started = 0
        self.load: int = 0  # jobs queued or running

    async def run(self, call: Callable[[], T], *, seconds: float, abandoned: Callable[[], None]) -> T:
        """Run ``call`` in a thread and return what it returns.

        Args:
            call: what may block.
            seconds: the deadline; the wait for a thread counts.
            abandoned: called instead, once ``call`` has really ended (or will never begin), if the deadline
                passed or the waiting task was cancelled.

        Raises:
            PoolFull: at once; ``abandoned`` isn't called.
            TimeoutError: the deadline passed.
        """
        job = _Job(call, abandoned, asyncio.get_running_loop())
        self._submit(job)
        try:
            async with asyncio.timeout(seconds):
                return await job.future
        except (asyncio.CancelledError, TimeoutError):
            if job.future.done() and not job.future.cancelled():
                job.future.exception()  # it came in the same turn of the loop, and nobody will ask for it
                abandoned()
            raise

    def close(self) -> None:
        """Let the threads end after the jobs they have."""
        jobs, self._jobs = self._jobs, SimpleQueue()  # whoever comes later gets threads of their own
        for _ in range(self._started):
            jobs.put(None)
        self._started = 0

    def _submit(self, job: _Job[T]) -> None:
        if self._pid != os.getpid():
            self._reset()  # threads don't survive a fork
        with self._lock:
            if self.load >= self._capacity:
                raise PoolFull
            self.load += 1
            if self._started < min(self.load, self._threads):
                self._start_thread()
        self._jobs.put(job)  # type: ignore[arg-type]

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, args=(self._jobs,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has none to give; those that there are will do
            if self._started:
                return
            self.load -= 1
            raise PoolFull from None
        self._started += 1

    def _work(self, jobs: "SimpleQueue[_Job[object] | None]") -> None:
        while (job := jobs.get()) is not None:
            tell = job.run()
            with self._lock:
                self.load -= 1  # first, so that whoever hears of the outcome finds the place free
            tell()
            del job, tell
