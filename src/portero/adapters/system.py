"""The machine's own clock and randomness."""

from __future__ import annotations

import os
import time


class SystemClock:
    """`Clock` by the operating system."""

    __slots__ = ()

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


class SystemRandom:
    """`Random` by the operating system's generator."""

    __slots__ = ()

    def bytes(self, n: int) -> bytes:
        """`n` bytes from `getrandom(2)` or its like."""
        return os.urandom(n)
