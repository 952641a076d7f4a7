"""The feed's epoch: names one life of a database, and says since when where that life began with a restore.

Followers compare epochs and nothing else. The servers on a database read its `restored_at` at their start; it needs no
column of its own, and goes where the database goes.
"""

from __future__ import annotations

import re
from typing import Final

from portero.core.types import NumericDate

EPOCH_BYTES: Final = 9
"""Random bytes of an epoch."""
_RESTORED = re.compile(r"[0-9a-f]+-restored-([1-9][0-9]{0,11})")


def restored_epoch(random: bytes, *, now: NumericDate) -> str:
    """Name the life that begins with a restore declared now; `random` are `EPOCH_BYTES` fresh bytes."""
    if len(random) != EPOCH_BYTES:
        raise ValueError(f"an epoch has {EPOCH_BYTES} random bytes")
    return f"{random.hex()}-restored-{now}"


def restored_at_of(epoch: str) -> NumericDate | None:
    """When the restore was declared that this life began with; `None`: it began as a new database."""
    match = _RESTORED.fullmatch(epoch)
    return None if match is None else NumericDate(int(match[1]))
