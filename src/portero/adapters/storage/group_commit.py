"""The writer: one thread that carries out transitions in batches, each batch one commit.

While a batch is being made durable the next one gathers, so the number of commits a
second bounds latency, not throughput. What a batch means is the database's
(`execute`); here is the queue, the thread, and bringing results back to event loops with
one wake-up per batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from portero.core.errors import Unavailable
from portero.core.transitions import Decision, Key
from portero.core.types import NumericDate

_LARGEST_BATCH: Final = 256
_POLL: Final = 0.05
"""Seconds between looks at what other processes wrote."""


class Job:
    """One accepted transition, and what became of it."""

    __slots__ = ("decide", "error", "future", "key", "loop", "now", "result")

    def __init__(
        self,
        key: Key[Any],
        decide: Callable[[Any], Decision[Any]],
        *,
        now: NumericDate,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.key = key
        self.decide = decide
        self.now = now
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None


class Executor(Protocol):
    """A database, as seen by the writer's thread."""

    def execute(self, jobs: list[Job]) -> list[Job]:
        """Carry out and commit; set each job's `result` or `error`. Return those to be taken up again."""
        ...

    def poll(self) -> None:
        """Look for changes by others; called about every 50 ms while `polled` says so."""
        ...

    @property
    def polled(self) -> bool: ...

    def close(self) -> None:
        """Let go of the connection, from the writer's thread."""
        ...


class GroupCommit:
    """Accepts transitions from any event loop and hands batches to an `Executor` in its own thread."""

    def __init__(self, executor: Executor, *, name: str) -> None:
        self._executor = executor
        self._queue: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        self._gathering: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        """What each loop's callbacks submitted since its last turn: handed over together, with one wake-up."""
        self._accepting = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def submit(self, key: Key[Any], decide: Callable[[Any], Decision[Any]], *, now: NumericDate) -> Any:
        """Queue a transition and await what became of it. Cancelling the wait does not undo the transition."""
        loop = asyncio.get_running_loop()
        job = Job(key, decide, now=now, loop=loop)
        with self._lock:
            if not self._accepting:
                raise Unavailable("the store is closed")
            gathering = self._gathering.get(loop)
            if gathering is None:
                self._gathering[loop] = [job]
                # After everything that is ready now: requests that came together are committed together.
                loop.call_soon(self._hand_over, loop)
            else:
                gathering.append(job)
        return await job.future

    def nudge(self) -> None:
        """Let the thread look again whether it should poll."""
        self._queue.put([])

    async def close(self) -> None:
        """Accept nothing more, finish what was accepted, end the thread."""
        with self._lock:
            self._accepting = False
            for jobs in self._gathering.values():
                self._queue.put(jobs)
            self._gathering.clear()
        self._queue.put([])
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            jobs = self._gathering.pop(loop, None)
        if jobs is not None:
            self._queue.put(jobs)

    def _run(self) -> None:
        again: list[Job] = []
        try:
            while self._accepting or again or not self._queue.empty():
                jobs = again + self._gathered(wait=not again)
                again = []
                if jobs:
                    again = self._executed(jobs)
                elif self._executor.polled:
                    self._executor.poll()
        finally:
            self._executor.close()

    def _gathered(self, *, wait: bool) -> list[Job]:
        """What is queued; where nothing is and `wait`, the next to come (none after a poll's time)."""
        jobs: list[Job] = []
        try:
            if wait:
                jobs += self._queue.get(timeout=_POLL if self._executor.polled else None)
                if not jobs:
                    return jobs
            while len(jobs) < _LARGEST_BATCH:
                jobs += self._queue.get_nowait()
        except queue.Empty:
            pass
        return jobs

    def _executed(self, jobs: list[Job]) -> list[Job]:
        try:
            again = self._executor.execute(jobs)
        except BaseException as bug:  # whatever it is belongs to those who wait; the thread goes on
            again = []
            for job in jobs:
                job.error = bug
        waiting = set(map(id, again))
        _deliver([job for job in jobs if id(job) not in waiting] if again else jobs)
        return again


def _deliver(jobs: list[Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, its_jobs in by_loop.items():
        # A loop that was closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, its_jobs)


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        if job.future.done():  # cancelled meanwhile
            continue
        if isinstance(job.error, StopIteration):
            job.future.set_exception(RuntimeError("decide raised StopIteration, which no future carries"))
        elif job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
