"""Telling whoever follows the feed that it may have grown: from any thread, to any event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref


class Subscription:
    """One follower: an asynchronous iterator that yields after each wake-up.

    Wake-ups that arrive while the follower is busy are one wake-up. It counts from the
    moment it was made, not from the first `anext`, so a snapshot read in between misses nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, closed: bool) -> None:
        self.loop = loop
        self.closed = closed
        self._event = asyncio.Event()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> None:
        if not self.closed:
            await self._event.wait()
        if self.closed:
            raise StopAsyncIteration
        self._event.clear()

    def ring(self) -> None:
        self._event.set()


class Wakeups:
    """The followers of one store. Those that are forgotten by their owner are forgotten here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._closed = False

    def subscribe(self) -> Subscription:
        """Begin to follow, from the running event loop."""
        subscription = Subscription(asyncio.get_running_loop(), closed=self._closed)
        with self._lock:
            self._subscriptions.add(subscription)
        return subscription

    @property
    def followed(self) -> bool:
        """Whether anybody follows: where nobody does, nothing needs to be polled."""
        return len(self._subscriptions) > 0

    def wake(self) -> None:
        """Wake every follower. Safe from any thread."""
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            # A follower whose loop is closed will never ask again.
            with contextlib.suppress(RuntimeError):
                subscription.loop.call_soon_threadsafe(subscription.ring)

    def close(self) -> None:
        """End every iteration."""
        self._closed = True
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.closed = True
        self.wake()
