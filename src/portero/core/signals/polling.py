"""What a receiver says when it polls (RFC 8936 §2.2): what it wants, what it has, and what it could not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from portero.core.events import Event, EventName
from portero.core.oauth.errors import invalid_request, on_the_wire
from portero.core.outbox_records import Delivery, DeliveryKind
from portero.core.transitions import Decision, Delete, DeliveryKey
from portero.core.types import NumericDate

MAX_EVENTS: Final = 100
"""Handed out at once."""
MAX_ACKS: Final = 1000
_LONGEST_JTI: Final = 128


@dataclass(frozen=True, slots=True)
class PollRequest:
    """One poll."""

    max_events: int = MAX_EVENTS
    return_immediately: bool = False
    acknowledged: tuple[str, ...] = ()
    """`jti` of what the receiver has; it is not sent again."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """`jti` → the error code it met; not sent again either (§2.6)."""


def parse_poll(document: Mapping[str, Any]) -> PollRequest:
    """Read a poll's members.

    Raises:
        RequestError: `invalid_request`.
    """
    wanted = document.get("maxEvents", MAX_EVENTS)
    at_once = document.get("returnImmediately", False)
    acknowledged, errors = document.get("ack", []), document.get("setErrs", {})
    if type(wanted) is not int or wanted < 0:
        raise invalid_request("maxEvents must be a number, 0 or more")
    if type(at_once) is not bool:
        raise invalid_request("returnImmediately must be true or false")
    if not isinstance(acknowledged, list) or not isinstance(errors, dict) or len(acknowledged) + len(errors) > MAX_ACKS:
        raise invalid_request(f"ack must be a list and setErrs an object, of at most {MAX_ACKS} together")
    if not all(isinstance(jti, str) and 0 < len(jti) <= _LONGEST_JTI for jti in (*acknowledged, *errors)):
        raise invalid_request("ack and setErrs name events by their jti")
    return PollRequest(
        max_events=min(wanted, MAX_EVENTS),
        return_immediately=at_once,
        acknowledged=tuple(dict.fromkeys(acknowledged)),
        errors={jti: _code(error) for jti, error in errors.items()},
    )


def settle(stored: Delivery | None, *, stream_id: str, error: str | None, now: NumericDate) -> Decision[None]:
    """Remove an event that its receiver has, or could not read. Another stream's is left alone."""
    if stored is None or stored.kind is not DeliveryKind.EVENT or stored.receiver != stream_id:
        return Decision(None)
    fields = {"kind": stored.kind.value, "receiver": stream_id, "answer": error or "acknowledged"}
    name = EventName.DELIVERED if error is None else EventName.DELIVERY_GIVEN_UP
    return Decision(None, (Delete(DeliveryKey(stored.id)),), (Event(name, now, fields=fields),))


def _code(error: Any) -> str:
    code = error.get("err") if isinstance(error, dict) else None
    return on_the_wire(code)[:64] if isinstance(code, str) else "no code"
