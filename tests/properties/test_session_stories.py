"""Random lives of a device session against the store in memory, each decision run twice."""

from __future__ import annotations

from portero.adapters.storage.memory import MemoryStore
from portero.core.sessions.records import Profile
from portero.ports import Store
from portero.testing.clock import SeededRandom
from portero.testing.session_machine import session_machine


async def _open() -> Store:
    return MemoryStore(random=SeededRandom(), decide_twice=True)


TestBound = session_machine(_open, profile=Profile.BOUND)
TestAttempt = session_machine(_open, profile=Profile.ATTEMPT)
TestPlain = session_machine(_open, profile=Profile.PLAIN)
