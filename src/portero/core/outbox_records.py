"""What still has to be told to others, as records: notices, deliveries, and the streams that want events.

A *notice* is one device session that ended, written in the transaction that ended it. It becomes one
*delivery* per receiver: the session's client (back-channel logout) and every event stream (Shared Signals).
A delivery is removed once it was taken, or given up after its `expires`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from portero.core.sessions.records import EndReason
from portero.core.types import ClientId, NumericDate, Sid, Subject


@dataclass(frozen=True, slots=True)
class Notice:
    """A device session that has ended. One per session, whatever ended it."""

    sid: Sid
    subject: Subject
    client_id: ClientId
    reason: EndReason
    at: NumericDate


class DeliveryKind(Enum):
    """How a delivery travels."""

    LOGOUT = "logout"
    """A logout token, to a client's `backchannel_logout_uri`."""
    EVENT = "event"
    """A Security Event Token, pushed to (RFC 8935) or polled by (RFC 8936) a stream's receiver."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One token to one receiver. What it says is fixed here; it is signed anew at each attempt."""

    id: str
    """Also its `jti`: the same at each attempt, so that a receiver can tell a repetition."""
    kind: DeliveryKind
    receiver: str
    """The `client_id` (LOGOUT), or the `stream_id` (EVENT)."""
    claims: str
    """JSON: the claims that are its own; `iss`, `aud`, `iat`, `exp` and `jti` are added on signing."""
    created: NumericDate
    due: NumericDate
    """Not before. Whoever takes it up moves it ahead first, so that no other server does the same."""
    attempts: int
    expires: NumericDate
    """Given up after."""


class DeliveryMethod(Enum):
    """How a stream's events reach their receiver (SSF 1.0 §6.1)."""

    PUSH = "urn:ietf:rfc:8935"
    POLL = "urn:ietf:rfc:8936"


class StreamStatus(Enum):
    """SSF 1.0 §8.1.2."""

    ENABLED = "enabled"
    PAUSED = "paused"
    """Events are kept for later."""
    DISABLED = "disabled"
    """Events are dropped."""


@dataclass(frozen=True, slots=True)
class EventStream:
    """A receiver's event stream (SSF 1.0 §8.1.1)."""

    stream_id: str
    client_id: ClientId
    """Who made it, and alone may change it; its `aud`."""
    method: DeliveryMethod
    endpoint_url: str
    """PUSH: where events are sent. POLL: where they are fetched, ours."""
    sealed_authorization: bytes | None
    """PUSH: the `Authorization` header the receiver asked for, sealed under a key-encryption key."""
    events_requested: tuple[str, ...]
    description: str
    status: StreamStatus
    status_reason: str
    created: NumericDate
    verified: NumericDate
    """When verification was last asked for; 0: never."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A number that only grows, such as the next free index of the status list."""

    name: str
    value: int
