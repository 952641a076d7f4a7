"""Randomness and a clock for stores under test."""

from __future__ import annotations

import os
import time


class SystemRandom:
    """Randomness for epochs."""

    def bytes(self, n: int) -> bytes:
        return os.urandom(n)


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
