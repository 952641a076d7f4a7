"""Giving out indexes of the status list: blocks taken from the store, handed out in random order.

A block is taken by one transition and serves many sessions, so that opening a session costs no second one. What a
server has left when it stops is never given out: an index is used once or not at all. Random order, so that two
indexes say nothing of who signed in when.
"""

from __future__ import annotations

import asyncio

from portero.authorization_server.context import Context
from portero.core.outbox_records import Counter
from portero.core.revocation.status_list import COUNTER
from portero.core.transitions import CounterKey, Decision, Put

BLOCK = 256


class StatusIndexes:
    """The indexes this server may give out."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._free: list[int] = []
        self._lock = asyncio.Lock()

    async def take(self) -> int:
        """Return an index nobody ever had.

        Raises:
            Unavailable: the store cannot be reached.
        """
        async with self._lock:
            if not self._free:
                await self._refill()
            return self._free.pop()

    def give_back(self, index: int) -> None:
        """Take back an index that was certainly not stored: no session was opened."""
        self._free.append(index)

    async def _refill(self) -> None:
        context = self._context

        def decide(first: int) -> Decision[int]:
            return Decision(first, (Put(Counter(COUNTER, first + BLOCK)),))

        first = await context.commit(CounterKey(COUNTER), decide, now=context.now())
        draws = context.random.bytes(8 * BLOCK)
        order = [(draws[8 * i : 8 * i + 8], first + i) for i in range(BLOCK)]
        self._free = [index for _, index in sorted(order)]
