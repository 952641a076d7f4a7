"""How long revocations took from their cause to this subscriber, as a histogram (Prometheus' kind: cumulative buckets).

Measured by the event's own time, so it holds the clocks' difference too: what would be negative counts as 0.
"""

from __future__ import annotations

from bisect import bisect_left

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds. Most of them are around what is promised; the last are an outage's."""


class Delays:
    """The histogram of one subscriber. One thread observes, any reads."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self._counts)

    def observe(self, seconds: float) -> None:
        """Count one delay."""
        seconds = max(0.0, seconds)
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """Upper bound as text → how many took at most that long; the last is `+Inf`."""
        lines, total = [], 0
        for bound, count in zip((*(f"{bound:g}" for bound in BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            lines.append((bound, total))
        return lines
