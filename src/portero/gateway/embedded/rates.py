"""How often one address or one subject may ask: token buckets, bounded in number (RFC 6585 §4).

Counted in each worker for itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

MOST_KEYS: Final = 50_000


class Rates:
    """One bucket a key, which holds `requests` and fills in `seconds`."""

    __slots__ = ("_burst", "_old", "_per_second", "_young")

    def __init__(self, *, requests: int, seconds: int) -> None:
        self._burst = float(requests)
        self._per_second = requests / seconds
        # Two generations: a key that was forgotten has a full bucket, as if it had been away.
        self._young: dict[Hashable, list[float]] = {}
        self._old: dict[Hashable, list[float]] = {}

    def take(self, key: Hashable, now: float) -> float:
        """Take one request.

        Returns:
            0.0 when there was one, otherwise the seconds until there is.
        """
        bucket = self._young.get(key) or self._bring(key, now)
        left = bucket[0] + (now - bucket[1]) * self._per_second
        if left > self._burst:
            left = self._burst
        bucket[1] = now
        if left >= 1.0:
            bucket[0] = left - 1.0
            return 0.0
        bucket[0] = left
        return (1.0 - left) / self._per_second

    def _bring(self, key: Hashable, now: float) -> list[float]:
        if len(self._young) >= MOST_KEYS:
            self._old, self._young = self._young, {}
        bucket = self._old.get(key) or [self._burst, now]
        self._young[key] = bucket
        return bucket
