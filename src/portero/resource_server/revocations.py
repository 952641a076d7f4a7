"""Drivers of the subscription: the same rules (`core.revocation.subscription`) for an event loop and for threads."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Sequence

from portero.adapters.fetch.http import AsyncFetcher, Fetcher
from portero.adapters.fetch.requests import Conversation, FetchRequest
from portero.core.errors import Unavailable
from portero.core.revocation.entry import Revocation
from portero.core.revocation.subscription import Follow, NotAFeed, Resnapshot, Subscription, TakeSnapshot
from portero.core.revocation.subscription_stream import EventReader, StreamTooLong
from portero.core.types import NumericDate
from portero.ports import Clock
from portero.resource_server.trust import Trust

MAX_SNAPSHOT_BYTES = 128 * 1024 * 1024
"""100,000 entries are about 20 MB."""
_UNKNOWN_CURSOR = frozenset({400, 404, 409, 410})
"""Answers to a stream request that mean: this cursor is not ours, take a snapshot."""

OnRevoked = Callable[[Sequence[Revocation]], None]


class _Following:
    """What both drivers share: one connection's events, taken in as they come."""

    def __init__(self, subscription: Subscription, *, clock: Clock, on_revoked: OnRevoked) -> None:
        self._subscription = subscription
        self._clock = clock
        self._on_revoked = on_revoked
        self._reader = EventReader()
        self._since = clock.monotonic()
        subscription.connected()

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
        # A stream that lives but brings old news (a proxy that buffers, a clock that was set
        # back) is opened anew; so is one that never brings a heartbeat.
        now = self._clock.monotonic()
        return not (self._subscription.stale(now) and now - self._since > self._subscription.stale_after)


def _silence(subscription: Subscription) -> float:
    """Seconds without a byte after which a connection is given up: soon enough to be back before it counts as stale."""
    return max(2.5, subscription.stale_after / 2)


def _snapshot(trust: Trust, subscription: Subscription, *, clock: Clock) -> Conversation[list[Revocation]]:
    asked_at = clock.monotonic()
    request = yield from trust.authorized_feed_request("/revocations/snapshot", monotonic=asked_at)
    answer = yield request
    if answer.status != 200:
        _refused(trust, answer.status)
    # The server may hand out one snapshot for a second to everybody.
    return subscription.took_snapshot(answer.body, asked_at=asked_at - 1.0, now=NumericDate(int(clock.now())))


def _stream_request(trust: Trust, step: Follow, *, clock: Clock) -> Conversation[FetchRequest]:
    request = yield from trust.authorized_feed_request("/revocations/stream", monotonic=clock.monotonic())
    return FetchRequest(f"{request.url}?after={step.after}", headers=request.headers)


def _refused(trust: Trust, status: int) -> None:
    if status == 401:
        # Expired, or the issuer's keys changed: the next step begins with a new token.
        trust.service_token = None
    raise Unavailable(f"the feed of {trust.issuer} answers {status}")


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads reconnections, no secret


_BROKEN = (Unavailable, NotAFeed, StreamTooLong)


class AsyncRevocations:
    """Follows one issuer's feed on an event loop."""

    def __init__(self, trust: Trust, *, fetcher: AsyncFetcher, clock: Clock, on_revoked: OnRevoked) -> None:
        self._trust = trust
        self._fetcher = fetcher
        self._clock = clock
        self._on_revoked = on_revoked

    async def follow(self, subscription: Subscription) -> None:
        """Follow for ever; cancelled at the end."""
        while True:
            try:
                await self._step(subscription)
                problem = "the stream ended"
            except _BROKEN as error:
                problem = str(error) or type(error).__name__
            await asyncio.sleep(subscription.broke(problem, jitter=_jitter()))

    async def _step(self, subscription: Subscription) -> None:
        step = subscription.next_step()
        if isinstance(step, TakeSnapshot):
            self._on_revoked(
                await self._fetcher.drive(
                    _snapshot(self._trust, subscription, clock=self._clock), max_bytes=MAX_SNAPSHOT_BYTES
                )
            )
            following = subscription.next_step()
            if not isinstance(following, Follow):
                return
            step = following
        request = await self._fetcher.drive(_stream_request(self._trust, step, clock=self._clock))
        async with self._fetcher.stream(request, silence=_silence(subscription)) as (status, chunks):
            if status in _UNKNOWN_CURSOR:
                subscription.refused_cursor()
            if status != 200:
                _refused(self._trust, status)
            following_stream = _Following(subscription, clock=self._clock, on_revoked=self._on_revoked)
            async for chunk in chunks:
                if not following_stream.goes_on(chunk):
                    return


class SyncRevocations:
    """Follows one issuer's feed in a thread."""

    def __init__(self, trust: Trust, *, fetcher: Fetcher, clock: Clock, on_revoked: OnRevoked) -> None:
        self._trust = trust
        self._fetcher = fetcher
        self._clock = clock
        self._on_revoked = on_revoked
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
                problem = "the stream ended"
            except _BROKEN as error:
                problem = str(error) or type(error).__name__
            self._stop.wait(subscription.broke(problem, jitter=_jitter()))

    def _step(self, subscription: Subscription) -> None:
        step = subscription.next_step()
        if isinstance(step, TakeSnapshot):
            self._on_revoked(
                self._fetcher.drive(
                    _snapshot(self._trust, subscription, clock=self._clock), max_bytes=MAX_SNAPSHOT_BYTES
                )
            )
            following = subscription.next_step()
            if not isinstance(following, Follow):
                return
            step = following
        request = self._fetcher.drive(_stream_request(self._trust, step, clock=self._clock))
        with self._fetcher.stream(request, silence=_silence(subscription)) as (status, chunks):
            if status in _UNKNOWN_CURSOR:
                subscription.refused_cursor()
            if status != 200:
                _refused(self._trust, status)
            following_stream = _Following(subscription, clock=self._clock, on_revoked=self._on_revoked)
            for chunk in chunks:
                if self._stop.is_set() or not following_stream.goes_on(chunk):
                    return
