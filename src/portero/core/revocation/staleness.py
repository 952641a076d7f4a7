"""How stale a subscriber's knowledge is, without trusting that two clocks agree.

A heartbeat says: a subscriber that has read up to here knew everything there was at
`time` (the server's clock). What arrives late was true earlier: a process that was
stopped for a minute, or a proxy that buffers, must not take old heartbeats for news. The
smallest difference between arrival and `time` on one connection stands for the clocks'
offset; whatever a heartbeat took longer than that is its age. A server whose clock is
set back looks stale, the connection is opened anew, and the offset is measured afresh.
"""

from __future__ import annotations

import math


class Freshness:
    """Since when nothing is known for sure. `monotonic` times in seconds; never goes back."""

    __slots__ = ("_offset", "known_at")

    def __init__(self) -> None:
        self.known_at = -math.inf
        """Monotonic time up to which everything is known."""
        self._offset = math.inf

    def connected(self) -> None:
        """Begin a connection: the offset of the clocks is measured anew."""
        self._offset = math.inf

    def snapshot(self, *, asked_at: float) -> None:
        """A snapshot holds what there was when it was asked for, at the latest."""
        self.known_at = max(self.known_at, asked_at)

    def heartbeat(self, *, time: float, arrived: float, age: float = 0.0) -> None:
        """A heartbeat was read at `arrived`; it was sent at the sender's `time`, who knew then what was true `age`
        seconds earlier (a relay that has not heard of the server itself for a while)."""
        self._offset = min(self._offset, arrived - time)
        self.known_at = max(self.known_at, time + self._offset - age)

    def skew(self, *, monotonic: float, time: float) -> float | None:
        """How far the sender's clock is ahead of ours, in seconds, less the fastest heartbeat's way; None: unknown.

        Args:
            monotonic, time: now, on our two clocks.
        """
        return None if math.isinf(self._offset) else monotonic - self._offset - time

    def age(self, monotonic: float) -> float:
        """Seconds since everything was known; infinite before the first snapshot."""
        return monotonic - self.known_at
