"""Token buckets as numbers: how often something may happen, and how long to wait when it was too often.

A bucket is one float, its *level*: the time at which it will be full again (the generic cell rate algorithm;
ITU-T I.371). An untouched bucket needs no number at all, so a table of them may forget the full ones.
Times are monotonic seconds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Final

from portero.core.durations import parse_duration

OFF: Final = "off"
"""The text for no limit. An empty or absent setting is never that."""
EXPECTED: Final = 'how often in which time, such as "60/1m" (60 at once, then one a second), or "off"'
"""What a rate may be, for error messages."""

_SHAPE: Final = re.compile(r"([1-9][0-9]{0,6})/([0-9]{1,9}[smhd])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and as many again in every period, evenly."""

    burst: int
    period: float
    """Seconds."""
    interval: float = field(init=False)
    """Seconds in which one more is allowed."""
    tolerance: float = field(init=False)
    """How far in the future a level may lie for one more to be allowed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", self.period / self.burst)
        object.__setattr__(self, "tolerance", self.period - self.period / self.burst)

    def wait(self, level: float, *, at: float) -> float:
        """Return the seconds until one more is allowed; 0 or less: now."""
        return level - self.tolerance - at

    def spend(self, level: float, *, at: float) -> float:
        """Return the level after one more. A bucket never holds more than its burst."""
        return (level if level > at else at) + self.interval


def parse_rate(text: str) -> Rate | None:
    """Read a rate as settings write it; None for `off`.

    Raises:
        ValueError: `text` is neither; the message is `EXPECTED`.
    """
    if text == OFF:
        return None
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise ValueError(EXPECTED)
    period = parse_duration(shape[2]).total_seconds()
    if period == 0:
        raise ValueError(EXPECTED)
    return Rate(int(shape[1]), period)


def is_rate(text: str) -> bool:
    """Tell whether `parse_rate` reads the text."""
    try:
        parse_rate(text)
    except ValueError:
        return False
    return True


def retry_after(wait: float) -> int:
    """Return a wait as `Retry-After` says it (RFC 9110 §10.2.3): whole seconds, rounded up, at least one."""
    return max(1, math.ceil(wait))
