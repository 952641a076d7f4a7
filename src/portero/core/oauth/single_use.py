"""A value that may be seen once: a client assertion's `jti`, a DPoP proof's `jti`.

RFC 7523 §3 (item 7), RFC 9449 §11.1. The decision runs inside the store's transition, so
that of two requests with one value exactly one is told that it came first.
"""

from __future__ import annotations

from portero.core.transitions import Decision, Put, ReplayMark


def decide_first_use(seen: ReplayMark | None, *, mark: ReplayMark) -> Decision[bool]:
    """Return True, and remember the value, where it was not seen before.

    A mark that is still stored counts as seen even past its `expires`: the value itself
    is no good by then.
    """
    if seen is not None:
        return Decision(result=False)
    return Decision(result=True, writes=(Put(mark),))
