"""`Retry-After` (RFC 9110 §10.2.3): seconds, or a date that is read against the server's own `Date`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST = 3600.0
"""Seconds: a typing error on a server must not silence a program for a year."""


def retry_after_seconds(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds to wait, or None where the server did not say.

    Args:
        headers: names in lower case.
        now: seconds since 1970, for a server that sends no `Date`.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,18}", value):
        return min(float(value), LONGEST)
    moment = _date(value)
    if moment is None:
        return None
    # The server's `Date` is the reference, not our clock, which may be hours off.
    reference = _date(headers.get("date", ""))
    return min(max(moment - (now if reference is None else reference), 0.0), LONGEST)


def _date(value: str) -> float | None:
    if not re.match(r"\w{3}, ", value):
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
