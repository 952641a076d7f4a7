"""What happened, as values: for counters, audit rows and logs.

An `Event` carries identifiers and reasons, never a token, code, secret or key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from portero.core.quick import quick
from portero.core.types import ClientId, NumericDate, Sid, Subject


class EventName(Enum):
    """The closed list of things worth counting or auditing."""

    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    TOKEN_ISSUED = "token_issued"
    TOKEN_REVOKED = "token_revoked"
    REFRESH_ROTATED = "refresh_rotated"
    REFRESH_UNCHANGED = "refresh_unchanged"
    REFRESH_RETRIED = "refresh_retried"
    REFRESH_SOFT_DENIED = "refresh_soft_denied"
    REFRESH_REUSED = "refresh_reused"
    REFRESH_REFUSED = "refresh_refused"
    REFRESH_AHEAD = "refresh_ahead_of_head"
    TOKEN_LIMITED = "token_limited"
    SESSION_ENDED = "session_ended"
    CODE_REUSED = "code_reused"
    KEY_ROTATED = "key_rotated"
    CLIENT_CHANGED = "client_changed"
    USER_CHANGED = "user_changed"
    CONSENT_GIVEN = "consent_given"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    DELIVERED = "delivered"
    DELIVERY_FAILED = "delivery_failed"
    DELIVERY_GIVEN_UP = "delivery_given_up"


@quick
@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, at `at`. `fields` are short texts safe to log."""

    name: EventName
    at: NumericDate
    subject: Subject | None = None
    client_id: ClientId | None = None
    sid: Sid | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def with_fields(self, more: Mapping[str, str]) -> Event:
        """Return the event with more said of it."""
        return replace(self, fields={**self.fields, **more})
