"""When a record may be removed: the same rule for every store.

A record is removed by some later commit, so decisions never rely on its absence; they
compare times. What is kept here longer than its own `expires` is kept to tell a late
second use from an invented value.
"""

from __future__ import annotations

from typing import Final

from portero.core.outbox_records import Delivery
from portero.core.sessions.records import BrowserSession, DeviceSession, Family
from portero.core.transitions import AuthorizationCode, LoginTransaction, Record, ReplayMark
from portero.core.types import NumericDate

CODE_KEPT: Final = 3600
"""Seconds a code is remembered past its end, so that a late second use still ends the session (RFC 6749 §4.1.2)."""
LARGEST: Final = 2**63 - 1
"""The latest second that an integer column holds."""
AUDIT_KEPT: Final = 400 * 86_400
"""Seconds an audit event is kept: a year and some."""
DAY: Final = 86_400


def gone(record: Record) -> NumericDate | None:
    """Return the second after which `record` may be removed; `None` where it never expires."""
    match record:
        case DeviceSession():
            return session_gone(record)
        case Family():
            return record.head.expires
        case AuthorizationCode():
            return NumericDate(record.expires + CODE_KEPT)
        case BrowserSession():
            return record.ends
        case LoginTransaction() | ReplayMark() | Delivery():
            return record.expires
        case _:
            return None


def session_gone(session: DeviceSession) -> NumericDate:
    """A device session, live or ended, is kept while a refresh token or access token of it could come back."""
    return max(min(session.absolute_end, session.idle_end), session.last_access_exp)


def whole_day(at: int) -> NumericDate:
    """Round up to a day, so that an index on it is not rewritten by every refresh."""
    return NumericDate(min(-(-at // DAY) * DAY, LARGEST))
