"""The store that forgets: real transitions under one lock, nothing durable. For tests and trying out."""

from __future__ import annotations

import heapq
import itertools
import threading
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

from portero.adapters.storage.expiry import AUDIT_KEPT, gone
from portero.adapters.storage.identity import identity_of
from portero.adapters.storage.memory_tables import Tables
from portero.adapters.storage.row_values import within_column
from portero.adapters.storage.wakeups import Wakeups
from portero.core.errors import Unavailable
from portero.core.events import Event
from portero.core.revocation.entry import FeedEntry
from portero.core.transitions import (
    Audit,
    AuditKey,
    Decision,
    Delete,
    FeedKey,
    FeedSize,
    FeedSizeKey,
    FeedSlice,
    Key,
    Notify,
    Put,
    RenewEpoch,
    Revoke,
    Write,
)
from portero.core.types import NumericDate
from portero.ports import Random

A = TypeVar("A")
R = TypeVar("R")

_SWEPT: Final = 8
"""Expired records removed per commit, at most."""


class MemoryStore:
    """A `Store` in a dictionary. `decide` runs synchronously: a transition never yields to the event loop.

    Args:
        random: for the feed's epoch.
        decide_twice: run every `decide` twice and commit the second run's writes, as a
            database may after a conflict; finds decisions that are not pure.
    """

    def __init__(self, *, random: Random, decide_twice: bool = False) -> None:
        self._epoch = random.bytes(9).hex()
        self._decide_twice = decide_twice
        self._lock = threading.Lock()
        self._tables = Tables()
        self._feed: list[FeedEntry] = []
        self._feed_head = 0
        self._audit: list[Event] = []
        self._expiring: list[tuple[int, int, Hashable]] = []
        self._order = itertools.count()
        self._wakeups = Wakeups()
        self._closed = False

    async def read(self, key: Key[A]) -> A:
        with self._lock:
            return self._load(key)

    async def transition(self, key: Key[A], decide: Callable[[A], Decision[R]], *, now: NumericDate) -> R:
        with self._lock:
            aggregate = self._load(key)
            decision = decide(aggregate)
            if self._decide_twice:
                decision = decide(aggregate)
            appended = self._commit(decision.writes, now)
        if appended:
            self._wakeups.wake()
        return decision.result

    def changes(self) -> AsyncIterator[None]:
        return self._wakeups.subscribe()

    async def aclose(self) -> None:
        self._closed = True
        self._wakeups.close()

    def _load(self, key: Key[A]) -> A:
        if self._closed:
            raise Unavailable("the store is closed")
        loaded: Any
        match key:
            case FeedKey():
                loaded = self._slice(key)
            case FeedSizeKey():
                untils = [entry.revocation.until for entry in self._feed]
                live = sum(until > key.live_at for until in untils)
                latest = max(untils, default=NumericDate(0))
                loaded = FeedSize(self._epoch, self._feed_head, live, len(untils), latest)
            case AuditKey():
                events = (e for e in reversed(self._audit) if key.subject is None or e.subject == key.subject)
                loaded = tuple(itertools.islice(events, key.limit))
            case _:
                loaded = self._tables.load(key)
        return cast("A", loaded)

    def _slice(self, key: FeedKey) -> FeedSlice:
        # In order of `n`: what comes before the cursor is skipped without a look.
        start = bisect_right(self._feed, key.after, key=_number)
        live = (e for e in itertools.islice(self._feed, start, None) if e.revocation.until > key.live_at)
        # One more than asked for tells whether the slice was cut.
        found = tuple(itertools.islice(live, within_column(key.limit + 1)))
        entries = found[: key.limit]
        head = entries[-1].n if len(found) > len(entries) and entries else self._feed_head
        return FeedSlice(epoch=self._epoch, entries=entries, head=head)

    def _commit(self, writes: tuple[Write, ...], now: NumericDate) -> bool:
        self._tables.check(writes)
        feed_before = self._feed_head
        for write in writes:
            match write:
                case Put(record):
                    self._tables.put(record)
                    end = gone(record)
                    if end is not None:
                        heapq.heappush(self._expiring, (end, next(self._order), identity_of(record)))
                case Delete(key):
                    self._tables.delete(key)
                case Revoke(revocation):
                    self._feed_head += 1
                    self._feed.append(FeedEntry(epoch=self._epoch, n=self._feed_head, revocation=revocation))
                case Notify(notice):
                    self._tables.notify(notice)
                case Audit(event):
                    self._audit.append(event)
                case RenewEpoch(epoch):
                    self._epoch = epoch
                    self._feed = [replace(entry, epoch=epoch) for entry in self._feed]
        if writes:
            self._sweep(now)
        return self._feed_head > feed_before

    def _sweep(self, now: NumericDate) -> None:
        for _ in range(_SWEPT):
            if not self._expiring or self._expiring[0][0] >= now:
                break
            _, _, identity = heapq.heappop(self._expiring)
            # The record may have been replaced by one that lives longer; that one has its own place in the heap.
            record = self._tables.get(identity)
            if record is not None and (end := gone(record)) is not None and end < now:
                self._tables.remove(identity)
        for _ in range(_SWEPT):
            if not self._feed or self._feed[0].revocation.until >= now:
                break
            self._feed.pop(0)
        for _ in range(_SWEPT):
            if not self._audit or self._audit[0].at + AUDIT_KEPT >= now:
                break
            self._audit.pop(0)


def _number(entry: FeedEntry) -> int:
    return entry.n
