"""A store that remembers what each committed transition wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from portero.adapters.storage.memory import MemoryStore
from portero.core.revocation.entry import Revocation
from portero.core.sessions.records import DeviceSession, SessionStatus
from portero.core.transitions import Decision, Key, Put, Revoke, Write
from portero.core.types import NumericDate
from portero.ports import Store
from portero.testing.clock import SeededRandom

A = TypeVar("A")
R = TypeVar("R")


class Watched:
    """Every commit of a store, in order."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or MemoryStore(random=SeededRandom(3))
        self.commits: list[tuple[Write, ...]] = []

    async def read(self, key: Key[A]) -> A:
        return await self.store.read(key)

    async def transition(self, key: Key[A], decide: Callable[[A], Decision[R]], *, now: NumericDate) -> R:
        writes: tuple[Write, ...] = ()

        def watched(aggregate: A) -> Decision[R]:
            nonlocal writes
            decision = decide(aggregate)
            writes = decision.writes
            return decision

        result = await self.store.transition(key, watched, now=now)
        self.commits.append(writes)
        return result

    def changes(self) -> AsyncIterator[None]:
        return self.store.changes()

    async def aclose(self) -> None:
        """Stays open: the test reads it afterwards."""

    def taken_back(self) -> tuple[tuple[Write, ...], list[Revocation]]:
        """The one commit that revoked anything, and what it revoked."""
        (commit,) = [writes for writes in self.commits if any(isinstance(write, Revoke) for write in writes)]
        return commit, [write.revocation for write in commit if isinstance(write, Revoke)]


def ended_in(commit: tuple[Write, ...]) -> list[DeviceSession]:
    """The device sessions a commit ended."""
    records: list[Any] = [write.record for write in commit if isinstance(write, Put)]
    return [r for r in records if isinstance(r, DeviceSession) and r.status is SessionStatus.ENDED]
