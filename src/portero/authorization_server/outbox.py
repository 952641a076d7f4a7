"""The worker that empties the outbox: one task per server, several servers on one database.

It wakes when the feed may have grown and every `POLL_SECONDS`: what a command line wrote, and what is due again, is
found then. A server that is killed leaves nothing undone: what it had taken up is due again after the lease.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import Final

from portero.authorization_server.context import Context
from portero.authorization_server.delivery import Courier
from portero.core.errors import Unavailable
from portero.core.outbox import expand, finish, take_up
from portero.core.outbox_records import Delivery
from portero.core.transitions import DeliveryKey, DueKey, OutboxKey
from portero.core.types import Issuer

POLL_SECONDS: Final = 1.0
AT_ONCE: Final = 20
"""Deliveries under way at once: a receiver that does not answer holds one of them for ten seconds."""
_PAGE: Final = 100

_log = logging.getLogger(__name__)


class Outbox:
    """Expands notices and attempts deliveries while it runs."""

    def __init__(self, context: Context, courier: Courier) -> None:
        self._context = context
        self._courier = courier
        self._under_way: set[asyncio.Task[None]] = set()
        self._wanted = asyncio.Event()
        self._expanded = asyncio.Event()

    async def news(self) -> None:
        """Wait until events were put on streams here, or for a second: another server may have done it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._expanded.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        listener = asyncio.create_task(self._listen(), name="outbox wake-ups")
        try:
            while True:
                self._wanted.clear()
                try:
                    while await self.begin():
                        pass
                except Unavailable as failure:
                    _log.warning("the outbox waits: %s", failure)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wanted.wait()
        finally:
            for task in (listener, *self._under_way):
                task.cancel()
            await asyncio.gather(listener, *self._under_way, return_exceptions=True)

    async def settle(self) -> None:
        """Do all there is to do now, and wait for it. For tests, and for emptying the outbox once.

        Raises:
            Unavailable: the store cannot be reached.
        """
        while await self.begin() or self._under_way:
            await asyncio.gather(*self._under_way)

    async def begin(self) -> bool:
        """Begin what there is to do now; False where there was nothing, or no more can be under way.

        Raises:
            Unavailable: the store cannot be reached.
        """
        context, now = self._context, self._context.now()
        noticed = 0
        # Looked at before it is taken: a server with nothing to tell writes nothing.
        if (await context.store.read(OutboxKey(limit=1))).notices:
            noticed = await context.commit(
                OutboxKey(limit=_PAGE), partial(expand, issuer=Issuer(context.config.issuer), now=now), now=now
            )
            expanded, self._expanded = self._expanded, asyncio.Event()
            expanded.set()
        free = AT_ONCE - len(self._under_way)
        if free <= 0 or not await context.store.read(DueKey(now, limit=1)):
            return noticed > 0
        taken = await context.commit(DueKey(now, limit=free), partial(take_up, now=now), now=now)
        for delivery in taken:
            task = asyncio.create_task(self._deliver(delivery), name=f"delivery {delivery.id}")
            self._under_way.add(task)
            task.add_done_callback(self._done)
        return bool(taken)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wanted.set()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except Unavailable as failure:
            _log.warning("a delivery waits for its lease: %s", failure)
        except Exception:  # one delivery that cannot be made must not end the others
            _log.exception("delivery %s failed", delivery.id)

    async def _attempt(self, delivery: Delivery) -> None:
        attempt = await self._courier.attempt(delivery)
        context, now = self._context, self._context.now()
        jitter = int.from_bytes(context.random.bytes(4), "big") / 2**32
        decide = partial(finish, taken=delivery, attempt=attempt, now=now, jitter=jitter)
        await context.commit(DeliveryKey(delivery.id), decide, now=now)

    async def _listen(self) -> None:
        while True:
            with suppress(Unavailable):
                async for _ in self._context.store.changes():
                    self._wanted.set()
            await asyncio.sleep(POLL_SECONDS)
