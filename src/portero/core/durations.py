"""Durations as people write them in settings: `"90s"`, `"5m"`, `"12h"`, `"14d"`.

One whole number and one unit, nothing else: no sum (`1h30m` is `90m`), no fraction, no sign, no
default unit. Two readers of one file must not be able to disagree about it.
"""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SHAPE = re.compile(r"(0|[1-9][0-9]{0,8})([smhd])", re.ASCII)

EXPECTED = 'a whole number and one of s, m, h, d, such as "90s", "5m", "12h" or "14d"'
"""What a duration may be, for error messages."""


def parse_duration(text: str) -> timedelta:
    """Read a duration; whole seconds, never negative.

    Raises:
        ValueError: `text` is not of that shape; the message is `EXPECTED`.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise ValueError(EXPECTED)
    return timedelta(seconds=int(shape[1]) * _SECONDS[shape[2]])


def render_duration(duration: timedelta) -> str:
    """Write a duration with the largest unit that divides it; the inverse of `parse_duration`.

    Raises:
        ValueError: negative, or a fraction of a second.
    """
    seconds, rest = divmod(duration, timedelta(seconds=1))
    if seconds < 0 or rest:
        raise ValueError("a duration in settings is a whole number of seconds, not negative")
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"
