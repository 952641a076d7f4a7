"""Drivers of the key cache: the same rules (`core.keys.key_cache`) for an event loop and for threads.

Who is told `Fetch` fetches for everybody; who is told `Wait` waits for that one fetch; a
fetch survives the request that started it. A keeper beside the requests refreshes ahead of
need, so that in quiet times no request waits at all.
"""

from __future__ import annotations

import asyncio
import random
import threading

from portero.adapters.fetch.http import AsyncFetcher, Fetcher
from portero.core.keys.key_cache import Fetch, NoKeys
from portero.ports import Clock
from portero.resource_server.trust import KeysWanted, Trust

REQUEST_PATIENCE = 5.0
"""Seconds a request waits for keys at most, then it is refused with 503."""
_LONGEST_REST = 30.0
"""Seconds the keeper sleeps at most."""
_SHORTEST_REST = 0.05


class AsyncKeys:
    """One issuer's keys on an event loop."""

    def __init__(self, trust: Trust, *, fetcher: AsyncFetcher, clock: Clock) -> None:
        self._trust = trust
        self._fetcher = fetcher
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._flight: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closed = False
        trust.driven_by(self._refresh)

    async def obtain(self, wanted: KeysWanted) -> None:
        """Do what the cache asks, so that it is worth asking again.

        Raises:
            KeysWanted: there is nothing to do but to come back later.
        """
        if self._closed or isinstance(wanted.action, NoKeys):
            raise wanted
        # Who is told to wait flies, too, where nobody does: an adapter that asked without this driver was told to
        # fetch before, and could not.
        flight = self._start_flight()
        # Not awaited by itself: who gives up waiting does not take the fetch away from the others.
        await asyncio.wait({flight}, timeout=REQUEST_PATIENCE)

    async def keep(self) -> None:
        """Refresh ahead of need, for ever. Also the first fetch, and the retries while the issuer is away."""
        trust = self._trust
        while True:
            now = self._clock.monotonic()
            with trust.lock:
                due = trust.keys.refresh_due(now=now)
                rest = trust.keys.next_due() - now
            if due:
                self._start_flight()
            if self._flight is not None:
                await asyncio.wait({self._flight})
                continue
            self._wake.clear()
            try:
                async with asyncio.timeout(min(max(rest, _SHORTEST_REST), _LONGEST_REST)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def aclose(self) -> None:
        """Leave nothing running, and nobody waiting for it."""
        self._closed = True
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait({self._flight})
        self.forget()

    def forget(self) -> None:
        """Be asked no more, where the event loop has ended before this did."""
        self._trust.left_by(self._refresh)

    def _refresh(self) -> bool:
        if self._closed or not self._loop.is_running():
            return False
        try:
            self._loop.call_soon_threadsafe(self._start_flight)
        except RuntimeError:  # closed a moment ago
            return False
        return True

    def _start_flight(self) -> asyncio.Task[None]:
        if self._flight is None:
            self._flight = self._loop.create_task(self._fetch(), name=f"keys of {self._trust.issuer}")
            # Not in the task itself: one that is cancelled before its first step never runs.
            self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flight = None
        self._wake.set()
        if flight.cancelled():
            self._trust.gave_up_fetch()

    async def _fetch(self) -> None:
        trust = self._trust
        try:
            trust.took_keys(await self._fetcher.drive(trust.obtain_keys()), monotonic=self._clock.monotonic())
        except Exception as error:
            trust.lost_keys(error, monotonic=self._clock.monotonic(), jitter=random.random())  # noqa: S311 - no secret


class SyncKeys:
    """One issuer's keys in a program with threads."""

    def __init__(self, trust: Trust, *, fetcher: Fetcher, clock: Clock) -> None:
        self._trust = trust
        self._fetcher = fetcher
        self._clock = clock
        self._landed = threading.Condition()
        self._flying = False
        self._claimed = False
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._keep, name=f"keys of {trust.issuer}", daemon=True)
        trust.driven_by(self._refresh)

    def start(self) -> None:
        """Begin to refresh ahead of need."""
        self._thread.start()

    def obtain(self, wanted: KeysWanted) -> None:
        """Do what the cache asks; as `AsyncKeys.obtain`."""
        action = wanted.action
        if isinstance(action, NoKeys):
            raise wanted
        with self._landed:
            if self._stopped:
                raise wanted
            if isinstance(action, Fetch) or not self._flying:
                # Not in this thread: the request's patience may be shorter than the fetch. Also where nobody
                # fetches although somebody was told to, who asked without this driver.
                self._claimed = True
                self._wake.set()
            self._landed.wait(REQUEST_PATIENCE)

    def close(self) -> None:
        """Leave nothing running, and nobody waiting for it."""
        with self._landed:
            self._stopped = True
            self._landed.notify_all()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(REQUEST_PATIENCE)
        self._trust.left_by(self._refresh)

    def _refresh(self) -> bool:
        with self._landed:
            if self._stopped or not self._thread.is_alive():
                return False
            self._claimed = True
        self._wake.set()
        return True

    def _keep(self) -> None:
        trust = self._trust
        while not self._stopped:
            self._wake.clear()
            now = self._clock.monotonic()
            with trust.lock, self._landed:
                due = self._claimed or trust.keys.refresh_due(now=now)
                rest = trust.keys.next_due() - now
                self._claimed, self._flying = False, due
            if not due:
                self._wake.wait(min(max(rest, _SHORTEST_REST), _LONGEST_REST))
                continue
            try:
                trust.took_keys(self._fetcher.drive(trust.obtain_keys()), monotonic=self._clock.monotonic())
            except Exception as error:
                if not self._stopped:  # else the failure is the closing's, and somebody else may fetch by now
                    trust.lost_keys(
                        error,
                        monotonic=self._clock.monotonic(),
                        jitter=random.random(),  # noqa: S311 - no secret
                    )
            finally:
                with self._landed:
                    self._flying = False
                    self._landed.notify_all()
