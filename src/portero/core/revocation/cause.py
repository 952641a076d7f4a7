"""When a revocation was caused, as finely as a clock says: what the delay until it takes effect is measured from."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from portero.core.transitions import Decision, Revoke
from portero.core.types import NumericDate

R = TypeVar("R")


def caused_at(decision: Decision[R], *, time: float) -> Decision[R]:
    """Return the decision with the time of its cause in every revocation it appends.

    Args:
        time: when the change was asked for: seconds since 1970-01-01T00:00:00Z, UTC, with a fraction.
    """
    if not any(isinstance(write, Revoke) for write in decision.writes):
        return decision
    seconds, micros = divmod(int(time * 1_000_000), 1_000_000)
    at = NumericDate(seconds)
    writes = tuple(
        Revoke(replace(write.revocation, at=at, micros=micros)) if isinstance(write, Revoke) else write
        for write in decision.writes
    )
    return replace(decision, writes=writes)
