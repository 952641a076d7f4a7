"""One reader of the feed for all subscribers of this server.

The hub keeps the newest entries, rendered, in a ring that everybody shares; a subscriber
is only a place in it, so its cost does not grow with how slow it is. Whoever falls out of
the ring is cut and resumes from its cursor, which the store then answers.

A heartbeat is sent only after the store was read: it says that the feed ended at `head` at
that time, and a server that has lost its store must not say so. The store's `changes()` is
a wake-up and may be lost; the reading every second is what bounds the delay.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from portero.core.errors import Unavailable
from portero.core.revocation.entry import FeedEntry
from portero.core.revocation.feed import (
    Cursor,
    render_entries,
    render_entry,
    render_heartbeat,
    render_list,
    render_revocation_event,
)
from portero.core.transitions import FeedKey, FeedSlice
from portero.core.types import NumericDate
from portero.ports import Clock, Store

RING_ENTRIES = 5000
"""Rendered entries kept in memory (about 500 bytes each), shared by all subscribers."""
JOINED_ENTRIES = 500
"""Entries of one write to a subscriber: about 100 kB."""
PAGE = 2000
"""Entries of one read of the store."""
SNAPSHOT_VALIDITY = 1.0
"""Seconds one snapshot is handed out; whoever took it follows from its cursor and misses nothing."""
SNAPSHOT_PART = 64 * 1024
"""Bytes of one write of a snapshot: what a slow reader of it makes the server hold."""
HEARTBEAT_SECONDS = 1.0
MAX_SUBSCRIBERS = 1000
"""Streams and long polls served at once by this process; past it 503, and relays are the answer."""


class UnknownCursor(Exception):
    """The cursor is not one of this feed: another epoch (a restored database), or past the end. Take a snapshot."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One entry of the feed, rendered once for all readers."""

    n: int
    entry: bytes
    """JSON."""
    event: bytes
    """The same as a server-sent event."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Successive entries as server-sent events, joined once for every reader that stands before them."""

    n: int
    """Where a reader stands after them."""
    events: bytes
    """Empty: there is nothing new."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All live entries at `time`, in parts of JSON, and where to go on."""

    parts: tuple[bytes, ...]
    monotonic: float


@dataclass(frozen=True, slots=True)
class State:
    """The feed as of the last reading."""

    cursor: Cursor
    time: float
    """When the store was read: seconds since 1970-01-01T00:00:00Z, UTC."""
    heartbeat: bytes
    """Rendered once for everybody."""
    beat: int
    """Counts the heartbeats, from 1: a reader sends each once, however often there is news in between."""


class Hub:
    """Follows the feed while anybody listens.

    `close()` ends every stream; the server calls it before it waits for open connections.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ring: deque[Rendered] = deque(maxlen=RING_ENTRIES)
        self._joined: dict[int, Joined] = {}
        """By the `n` they follow; good until the ring changes."""
        self._floor = 0
        """Every entry with `n` above it, up to the head, is in the ring or no longer live."""
        self._state: State | None = None
        self._news: asyncio.Event | None = None
        self._wanted: asyncio.Event | None = None
        self._reader: asyncio.Task[None] | None = None
        self._subscribers = 0
        self._beaten = float("-inf")
        self._closing = False
        self._snapshot: Snapshot | None = None
        self._snapshot_lock = asyncio.Lock()

    @property
    def closing(self) -> bool:
        """Whether the server is going down: readers end, and resume elsewhere."""
        return self._closing

    @property
    def subscribers(self) -> int:
        """How many streams and long polls are open. For metrics."""
        return self._subscribers

    def close(self) -> None:
        """End all streams and start no new ones. Idempotent; to be called on the server's own loop."""
        self._closing = True
        self._announce()

    def admit(self) -> None:
        """Refuse one reader more than the server serves.

        Raises:
            Unavailable: too many subscribers, or the server is going down.
        """
        if self._closing:
            raise Unavailable("the server is going down")
        if self._subscribers >= MAX_SUBSCRIBERS:
            raise Unavailable("too many subscribers of the revocation feed", retry_after=5)

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[None]:
        """Keep the hub reading for as long as the block runs.

        Raises:
            Unavailable: see `admit`.
        """
        self.admit()
        self._subscribers += 1
        if self._reader is None or self._reader.done():
            self._state = None
            self._beaten = float("-inf")
            self._news = asyncio.Event()
            self._wanted = asyncio.Event()
            self._reader = asyncio.create_task(self._read_forever(), name="revocation feed")
        try:
            yield
        finally:
            self._subscribers -= 1
            if self._subscribers == 0:
                reader, self._reader = self._reader, None
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader

    @property
    def state(self) -> State | None:
        """The last reading; None while there was none since somebody began to listen."""
        return self._state

    async def news(self) -> None:
        """Wait until the hub has read again, or is closing."""
        if self._news is not None and not self._closing:
            await self._news.wait()

    def recent(self, after: int) -> Joined | None:
        """Return the entries with `n > after`, at most `JOINED_ENTRIES`; None where the ring does not reach back.

        Readers that stand at the same place, which is most of them, share the bytes.
        """
        if after < self._floor:
            return None
        joined = self._joined.get(after)
        if joined is None:
            found: list[Rendered] = []
            for rendered in reversed(self._ring):
                if rendered.n <= after:
                    break
                found.append(rendered)
            found = found[: -JOINED_ENTRIES - 1 : -1]
            joined = Joined(found[-1].n if found else after, b"".join([rendered.event for rendered in found]))
            self._joined[after] = joined
        return joined

    async def stored(self, cursor: Cursor) -> tuple[Cursor, Sequence[Rendered]]:
        """Read one page of live entries after the cursor from the store, for a reader the ring does not serve.

        Returns:
            Where the reader stands after the page, and the page's entries. Fewer than
            `PAGE` mean that this was the end.

        Raises:
            UnknownCursor: the epoch has changed, or the cursor is past the end.
            Unavailable: the store cannot be read.
        """
        page = await read_page(self._store, after=cursor.n, now=self._clock.now())
        if page.epoch != cursor.epoch or cursor.n > page.head:
            raise UnknownCursor
        return _after(page), [_render(entry) for entry in page.entries]

    async def snapshot(self) -> Snapshot:
        """Return all live entries; readers that come within `SNAPSHOT_VALIDITY` share one.

        Raises:
            Unavailable: the store cannot be read.
        """
        async with self._snapshot_lock:
            snapshot = self._snapshot
            if snapshot is None or self._clock.monotonic() >= snapshot.monotonic + SNAPSHOT_VALIDITY:
                snapshot = self._snapshot = await self._take_snapshot()
            return snapshot

    async def _take_snapshot(self) -> Snapshot:
        monotonic, time = self._clock.monotonic(), self._clock.now()
        entries: list[bytes] = []
        cursor: Cursor | None = None
        while True:
            page = await read_page(self._store, after=-1 if cursor is None else cursor.n, now=time)
            if cursor is not None and page.epoch != cursor.epoch:
                entries, cursor = [], None
                continue
            if page.entries:
                entries.append(render_entries(page.entries))
            cursor = _after(page)
            if len(page.entries) < PAGE:
                break
        body = b"".join(render_list(cursor, entries, time=time))
        parts = tuple(body[at : at + SNAPSHOT_PART] for at in range(0, len(body), SNAPSHOT_PART))
        return Snapshot(parts=parts, monotonic=monotonic)

    async def _read_forever(self) -> None:
        listener = asyncio.create_task(self._listen(), name="revocation feed wake-ups")
        try:
            while True:
                assert self._wanted is not None  # noqa: S101 - set before the task was made
                self._wanted.clear()
                with suppress(Unavailable):
                    # No heartbeat then: the readers' staleness grows, which is the truth.
                    await self._read()
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await self._wanted.wait()
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    async def _listen(self) -> None:
        while True:
            try:
                async for _ in self._store.changes():
                    if self._wanted is not None:
                        self._wanted.set()
            except Unavailable:
                pass
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _read(self) -> None:
        known = self._state
        after = 2**62 if known is None else known.cursor.n  # to begin with, only where the feed ends
        while True:
            time = self._clock.now()
            page = await read_page(self._store, after=after, now=time)
            if known is None or page.epoch != known.cursor.epoch or page.head < after:
                # A beginning; or a restored database, and nothing of the ring is of this feed.
                self._start_at(page)
                break
            self._append(page)
            after = _after(page).n
            if len(page.entries) < PAGE:
                break
        self._state = self._at(Cursor(page.epoch, page.head), time=time)
        self._announce()

    def _start_at(self, page: FeedSlice) -> None:
        self._ring.clear()
        self._joined.clear()
        self._floor = page.head

    def _append(self, page: FeedSlice) -> None:
        self._joined.clear()
        for entry in page.entries:
            if len(self._ring) == RING_ENTRIES:
                self._floor = self._ring[0].n
            self._ring.append(_render(entry))

    def _at(self, cursor: Cursor, *, time: float) -> State:
        beat = 0 if self._state is None else self._state.beat
        monotonic = self._clock.monotonic()
        # A tenth early: the reading that the second brings must not be a hair too soon.
        if monotonic >= self._beaten + 0.9 * HEARTBEAT_SECONDS:
            self._beaten, beat = monotonic, beat + 1
        return State(cursor=cursor, time=time, heartbeat=render_heartbeat(cursor, time=time), beat=beat)

    def _announce(self) -> None:
        news = self._news
        if news is not None:
            self._news = asyncio.Event()
            news.set()


async def read_page(store: Store, *, after: int, now: float) -> FeedSlice:
    """Read one page of the feed's live entries.

    Raises:
        Unavailable: the store cannot be read.
    """
    return await store.read(FeedKey(after=after, live_at=NumericDate(int(now)), limit=PAGE))


def _render(entry: FeedEntry) -> Rendered:
    rendered = render_entry(entry)
    return Rendered(entry.n, rendered, render_revocation_event(Cursor(entry.epoch, entry.n), rendered))


def _after(page: FeedSlice) -> Cursor:
    """Where a reader stands after a page: at its last entry, or at the head where it was the last page."""
    n = page.entries[-1].n if len(page.entries) >= PAGE else page.head
    return Cursor(page.epoch, n)
