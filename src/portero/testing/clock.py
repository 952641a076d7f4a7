"""Time and randomness as values: a clock that moves when told, and bytes that repeat with their seed."""

from __future__ import annotations

import random


class FakeClock:
    """A `Clock` that stands still until `advance` is called.

    Args:
        start: seconds since 1970-01-01T00:00:00Z, UTC.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._monotonic = 1000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both scales."""
        if seconds < 0:
            raise ValueError("a clock that is set back is told with set_wall()")
        self._now += seconds
        self._monotonic += seconds

    def set_wall(self, now: float) -> None:
        """Set the wall clock, forward or back, as an operator or NTP may; the monotonic scale does not notice."""
        self._now = now


class SeededRandom:
    """A `Random` that yields the same bytes for the same seed. Never for anything but tests."""

    def __init__(self, seed: int = 1) -> None:
        self._source = random.Random(seed)  # noqa: S311 - repeatable on purpose; tests only

    def bytes(self, n: int) -> bytes:
        return self._source.randbytes(n)
