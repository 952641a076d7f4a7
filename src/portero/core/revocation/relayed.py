"""A feed handed on: what one subscriber of a host knows, kept so that its neighbours can follow it too.

The cursors are the server's own, so a neighbour can go from the relay to the server and back without a new snapshot.
What a relay learned from a snapshot stands at that snapshot's end: whoever resumes before it is told all of it again,
which changes nothing. How old the relay's knowledge is goes with every snapshot and heartbeat; a relay that has lost
the server does not call what it knows fresh.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from portero.core.revocation.entry import FeedEntry, Revocation
from portero.core.revocation.feed import Cursor, parse_cursor, render_entry, render_heartbeat, render_list
from portero.core.revocation.feed import render_revocation_event as render_event
from portero.core.revocation.subscription import Subscription
from portero.core.types import NumericDate

PRUNE_EVERY = 30
"""Seconds between two looks for what is over."""


@dataclass(frozen=True, slots=True)
class _Kept:
    seq: int
    """Counts what the relay learned, from 1: a reader's place."""
    cursor: Cursor
    until: NumericDate
    entry: bytes


class RelayedFeed:
    """One issuer's feed at a relay. `took` is told what the subscription learned, right after it did."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self._kept: list[_Kept] = []
        self._seq = 0
        self._pruned_at = NumericDate(0)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def cursor(self) -> Cursor | None:
        """Where the relay stands; None while it has no snapshot of this epoch."""
        text = self.subscription.cursor
        return None if text is None else parse_cursor(text)

    @property
    def place(self) -> int:
        """Where a reader stands that has read everything."""
        return self._seq

    def took(self, revocations: Iterable[Revocation], *, now: NumericDate) -> None:
        """Keep what was new."""
        cursor = self.cursor
        if cursor is None:
            return
        for revocation in revocations:
            self._seq += 1
            entry = render_entry(FeedEntry(cursor.epoch, cursor.n, revocation))
            self._kept.append(_Kept(self._seq, cursor, revocation.until, entry))
        if now >= self._pruned_at + PRUNE_EVERY:
            self._pruned_at = now
            self._kept = [kept for kept in self._kept if kept.until >= now]

    def snapshot(self, *, time: float, monotonic: float) -> Sequence[bytes] | None:
        """All that is known, as parts of JSON; None while nothing is."""
        cursor = self.cursor
        if cursor is None:
            return None
        return render_list(
            cursor, [kept.entry for kept in self._kept], time=time, age=self.subscription.freshness.age(monotonic)
        )

    def place_of(self, cursor: Cursor) -> int | None:
        """Where a reader stands that has read up to `cursor`; None: take a snapshot."""
        head = self.cursor
        if head is None or cursor.epoch != head.epoch or cursor.n > head.n:
            return None
        for kept in reversed(self._kept):
            if kept.cursor.epoch != cursor.epoch or kept.cursor.n <= cursor.n:
                return kept.seq
        return 0

    def events_after(self, place: int) -> bytes:
        """What a reader at `place` has not read, as server-sent events."""
        start = bisect_right(self._kept, place, key=lambda kept: kept.seq)
        return b"".join(render_event(kept.cursor, kept.entry) for kept in self._kept[start:])

    def heartbeat(self, *, time: float, monotonic: float) -> bytes:
        """Where the relay stands, and how old that is; empty while it stands nowhere."""
        cursor = self.cursor
        if cursor is None:
            return b""
        return render_heartbeat(cursor, time=time, age=self.subscription.freshness.age(monotonic))
