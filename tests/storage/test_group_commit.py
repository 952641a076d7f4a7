"""What comes together is committed together, and what was accepted is finished."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from portero.adapters.storage.group_commit import GroupCommit, Job
from portero.core.errors import Unavailable
from portero.core.transitions import Decision, ReplayKey
from portero.core.types import NumericDate
from portero.testing.store_samples import digest

KEY = ReplayKey(digest("k"))


class Batches:
    """An executor that notes the sizes of its batches and the thread it runs in."""

    polled = False

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.closed = False

    def execute(self, jobs: list[Job]) -> list[Job]:
        self.sizes.append(len(jobs))
        self.threads.add(threading.get_ident())
        for job in jobs:
            job.result = job.decide(None).result
        return []

    def poll(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def told(number: int) -> Any:
    return lambda _: Decision(number, ())


def test_requests_that_come_together_are_one_commit() -> None:
    """Everything that is ready in one turn of the loop is one batch, so load makes commits larger and not more."""
    batches = Batches()

    async def run() -> list[int]:
        commit = GroupCommit(batches, name="test")
        results = await asyncio.gather(*(commit.submit(KEY, told(n), now=NumericDate(0)) for n in range(50)))
        await commit.close()
        return results

    assert list(range(50)) == asyncio.run(run())
    assert batches.sizes == [50]
    assert batches.threads != {threading.get_ident()}


def test_what_was_accepted_is_finished_before_the_end() -> None:
    """A store that closes carries out what was submitted a moment before, then refuses."""
    batches = Batches()

    async def run() -> int:
        commit = GroupCommit(batches, name="test")
        waiting = asyncio.ensure_future(commit.submit(KEY, told(7), now=NumericDate(0)))
        await asyncio.sleep(0)  # submitted, not yet handed over
        await commit.close()
        with pytest.raises(Unavailable):
            await commit.submit(KEY, told(8), now=NumericDate(0))
        return await waiting

    assert asyncio.run(run()) == 7
    assert batches.sizes == [1]
    assert batches.closed
