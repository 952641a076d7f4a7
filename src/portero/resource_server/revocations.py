"""Drivers of the subscription: the same rules (`core.revocation.subscription`) for an event loop and for threads.

Where the host has a relay it is asked first (`feed_sources`); where it does not serve, the issuer is, at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Iterable

from portero.adapters.fetch.http import AsyncFetcher, Fetcher
from portero.adapters.fetch.requests import Conversation
from portero.core.errors import Unavailable
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.revocation.subscription import Follow, NotAFeed, Resnapshot, Subscription, TakeSnapshot
from portero.core.revocation.subscription_stream import EventReader, StreamTooLong
from portero.core.types import NumericDate
from portero.ports import Clock
from portero.resource_server.feed_sources import Direct, Source, ViaRelay
from portero.resource_server.relay_thread import RelayThread
from portero.resource_server.trust import Trust

MAX_SNAPSHOT_BYTES = 128 * 1024 * 1024
"""100,000 entries are about 20 MB."""

_ENDED = "the stream ended"
_log = logging.getLogger("portero.revocations")

OnRevoked = Callable[[Iterable[Revocation]], None]


class _Following:
    """What both drivers share: one connection's events, taken in as they come."""

    def __init__(
        self, trust: Trust, source: Source, subscription: Subscription, *, clock: Clock, on_revoked: OnRevoked
    ) -> None:
        self._trust = trust
        self._source = source
        self._subscription = subscription
        self._clock = clock
        self._on_revoked = on_revoked
        self._reader = EventReader()
        self._since = clock.monotonic()
        self._told = False
        subscription.connected()

    def _alarms(self) -> list[str]:
        return self._subscription.alarms(monotonic=self._clock.monotonic(), time=self._clock.now())

    def goes_on(self, chunk: bytes) -> bool:
        """Take in the next bytes; False: leave this stream and ask for the next step.

        Raises:
            NotAFeed, StreamTooLong: it is no feed.
        """
        for event in self._reader.feed(chunk):
            arrived = self._clock.monotonic()
            taken = self._subscription.took_event(event, arrived=arrived, now=NumericDate(int(self._clock.now())))
            if isinstance(taken, Resnapshot):
                return False
            if taken:
                self._on_revoked(taken)
                if any(one.kind is RevokedKind.KEY for one in taken):
                    # What signs instead may be new: its tokens would be refused until a fetch is due.
                    self._trust.refresh()
                _measured(self._subscription, taken, time=self._clock.now())
        if not self._told and (alarms := self._alarms()):
            self._told = True
            for alarm in alarms:
                _log.warning("%s", alarm)
        return not self._source.leaves(self._subscription, since=self._since, monotonic=self._clock.monotonic())


def _silence(subscription: Subscription) -> float:
    """Seconds without a byte after which a connection is given up: soon enough to be back before it counts as stale."""
    return max(2.5, subscription.stale_after / 2)


def _snapshot(source: Source, subscription: Subscription, *, clock: Clock) -> Conversation[Iterable[Revocation]]:
    asked_at = clock.monotonic()
    request = yield from source.request("/revocations/snapshot", after=None, monotonic=asked_at)
    answer = yield request
    if answer.status != 200:
        raise source.refused(answer.status)
    began = not subscription.has_snapshot
    # The server may hand out one snapshot for a second to everybody.
    new = subscription.took_snapshot(answer.body, asked_at=asked_at - 1.0, now=NumericDate(int(clock.now())))
    if not began:
        _measured(subscription, new, time=clock.now())
    return new


def _measured(subscription: Subscription, revocations: Iterable[Revocation], *, time: float) -> None:
    for revocation in revocations:
        subscription.delays.observe(time - revocation.caused_at)


def _broke(subscription: Subscription, problem: str) -> float:
    """Tell the log when it begins to fail, not at each try; return the seconds to wait."""
    if subscription.problem in ("", _ENDED) and problem != _ENDED:
        _log.warning("the feed of %s cannot be followed: %s", subscription.issuer, problem)
    return subscription.broke(problem, jitter=_jitter())


def _opened(source: Source, subscription: Subscription, status: int) -> None:
    """Judge the answer to a stream request.

    Raises:
        Unavailable: it is no stream.
    """
    if status in source.unknown_cursor:
        subscription.refused_cursor()
    if status != 200:
        raise source.refused(status)


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads reconnections, no secret


_BROKEN = (Unavailable, NotAFeed, StreamTooLong)


def _problem(error: Exception, subscription: Subscription) -> str:
    # Anything else is a bug, ours or a library's. It must not end the following: nobody would hear of a revocation.
    if isinstance(error, _BROKEN):
        return str(error) or type(error).__name__
    _log.error("following the feed of %s failed unexpectedly", subscription.issuer, exc_info=error)
    return f"{type(error).__name__}, see the log"


class AsyncRevocations:
    """Follows one issuer's feed on an event loop."""

    def __init__(
        self,
        trust: Trust,
        *,
        fetcher: AsyncFetcher,
        clock: Clock,
        on_revoked: OnRevoked,
        relay_thread: RelayThread | None = None,
    ) -> None:
        self._trust = trust
        self._fetcher = fetcher
        self._clock = clock
        self._on_revoked = on_revoked
        self._relay = _relay_of(trust, relay_thread)
        self._direct = Direct(trust, self._relay)

    async def follow(self, subscription: Subscription) -> None:
        """Follow for ever; cancelled at the end."""
        while True:
            try:
                await self._step(subscription)
                problem = _ENDED
            except Exception as error:
                problem = _problem(error, subscription)
            await asyncio.sleep(_broke(subscription, problem))

    async def _step(self, subscription: Subscription) -> None:
        relay = self._relay
        if relay is not None and relay.is_due(self._clock.monotonic()):
            fetcher = AsyncFetcher(socket=relay.socket)
            try:
                if await self._through(relay, fetcher, subscription):
                    relay.left(monotonic=self._clock.monotonic(), jitter=_jitter())
                return
            except _BROKEN:
                waits = not subscription.has_snapshot
                if not relay.failed(monotonic=self._clock.monotonic(), jitter=_jitter(), waits=waits):
                    raise
            finally:
                await fetcher.aclose()
        await self._through(self._direct, self._fetcher, subscription)

    async def _through(self, source: Source, fetcher: AsyncFetcher, subscription: Subscription) -> bool:
        """Follow one source; True: it was left, False: it ended."""
        step = subscription.next_step()
        if isinstance(step, TakeSnapshot):
            self._on_revoked(
                await fetcher.drive(_snapshot(source, subscription, clock=self._clock), max_bytes=MAX_SNAPSHOT_BYTES)
            )
            following = subscription.next_step()
            if not isinstance(following, Follow):
                return False
            step = following
        asked = source.request("/revocations/stream", after=step.after, monotonic=self._clock.monotonic())
        request = await fetcher.drive(asked)
        async with fetcher.stream(request, silence=_silence(subscription)) as (status, chunks):
            _opened(source, subscription, status)
            following_stream = _Following(
                self._trust, source, subscription, clock=self._clock, on_revoked=self._on_revoked
            )
            async for chunk in chunks:
                if not following_stream.goes_on(chunk):
                    return True
        return False


class SyncRevocations:
    """Follows one issuer's feed in a thread."""

    def __init__(
        self,
        trust: Trust,
        *,
        fetcher: Fetcher,
        clock: Clock,
        on_revoked: OnRevoked,
        relay_thread: RelayThread | None = None,
    ) -> None:
        self._trust = trust
        self._fetcher = fetcher
        self._clock = clock
        self._on_revoked = on_revoked
        self._relay = _relay_of(trust, relay_thread)
        self._direct = Direct(trust, self._relay)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, subscription: Subscription) -> None:
        """Begin to follow."""
        self._thread = threading.Thread(
            target=self._follow, args=(subscription,), name=f"revocations of {self._trust.issuer}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Leave the stream at its next byte, which is a heartbeat away at most."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(3.0)

    def _follow(self, subscription: Subscription) -> None:
        while not self._stop.is_set():
            try:
                self._step(subscription)
                problem = _ENDED
            except Exception as error:
                problem = _problem(error, subscription)
            self._stop.wait(_broke(subscription, problem))

    def _step(self, subscription: Subscription) -> None:
        relay = self._relay
        if relay is not None and relay.is_due(self._clock.monotonic()):
            fetcher = Fetcher(socket=relay.socket)
            try:
                if self._through(relay, fetcher, subscription):
                    relay.left(monotonic=self._clock.monotonic(), jitter=_jitter())
                return
            except _BROKEN:
                waits = not subscription.has_snapshot
                if not relay.failed(monotonic=self._clock.monotonic(), jitter=_jitter(), waits=waits):
                    raise
            finally:
                fetcher.close()
        self._through(self._direct, self._fetcher, subscription)

    def _through(self, source: Source, fetcher: Fetcher, subscription: Subscription) -> bool:
        step = subscription.next_step()
        if isinstance(step, TakeSnapshot):
            self._on_revoked(
                fetcher.drive(_snapshot(source, subscription, clock=self._clock), max_bytes=MAX_SNAPSHOT_BYTES)
            )
            following = subscription.next_step()
            if not isinstance(following, Follow):
                return False
            step = following
        asked = source.request("/revocations/stream", after=step.after, monotonic=self._clock.monotonic())
        request = fetcher.drive(asked)
        with fetcher.stream(request, silence=_silence(subscription)) as (status, chunks):
            _opened(source, subscription, status)
            following_stream = _Following(
                self._trust, source, subscription, clock=self._clock, on_revoked=self._on_revoked
            )
            for chunk in chunks:
                if self._stop.is_set() or not following_stream.goes_on(chunk):
                    return True
        return False


def _relay_of(trust: Trust, thread: RelayThread | None) -> ViaRelay | None:
    feed = trust.feed
    return None if feed is None or feed.relay is None else ViaRelay(trust, feed, thread=thread)
