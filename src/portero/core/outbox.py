"""From a session's end to a token at each receiver, as decisions: expand, take up, finish.

    ended ─▶ Notice ─expand▶ Delivery per receiver ─take up▶ (sent) ─▶ gone: accepted, refused for good, or given up
                                     ▲                         │
                                     └── later: did not answer ┘

Each arrow is one transition, so a server that dies between two leaves nothing undone. Taking up moves `due`
ahead by a lease in the same step: until then no other server takes the same delivery. What a server that died
had sent already may be sent again after its lease, with the same `jti`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final

import orjson

from portero.core.events import Event, EventName
from portero.core.jose.base64url import encode
from portero.core.logout.logout_token import session_claims
from portero.core.outbox_records import Delivery, DeliveryKind, DeliveryMethod, EventStream, StreamStatus
from portero.core.signals.security_event import SESSION_REVOKED, session_revoked, verification
from portero.core.signals.streams import delivered
from portero.core.transitions import Decision, Delete, DeliveryKey, NoticeKey, OutboxAggregate, Put, Write
from portero.core.types import Issuer, NumericDate, Sid

LEASE: Final = 60
"""Seconds for which who took a delivery up is alone with it; well above the longest attempt."""
KEPT: Final = 24 * 3600
"""Seconds after which a delivery is given up."""
_FIRST_RETRY: Final = 2
_LONGEST_RETRY: Final = 3600


class Answer(Enum):
    """What became of an attempt."""

    ACCEPTED = auto()
    REFUSED = auto()
    """The receiver will not take it, however often it is sent."""
    NONE = auto()
    """No answer, or one that may be another one later."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at a delivery: how it ended, for the log."""

    answer: Answer
    detail: str
    """Short, without secrets: a status, or the kind of failure."""


def expand(aggregate: OutboxAggregate, *, issuer: Issuer, now: NumericDate) -> Decision[int]:
    """Turn notices into deliveries; the result says how many notices there were."""
    clients = {client.client_id: client for client in aggregate.clients}
    writes: list[Write] = []
    for notice in aggregate.notices:
        client = clients.get(notice.client_id)
        if client is not None and client.enabled:
            claims = session_claims(sid=notice.sid, subject=notice.subject)
            id_ = delivery_id(DeliveryKind.LOGOUT, client.client_id, notice.sid)
            writes.append(Put(_delivery(DeliveryKind.LOGOUT, client.client_id, id_, claims, now=now)))
        claims = session_revoked(notice, issuer=issuer, txn=delivery_id(DeliveryKind.EVENT, "", notice.sid))
        for stream in aggregate.streams:
            # A disabled stream drops its events, a paused one keeps them (SSF 1.0 §8.1.2).
            if stream.status is not StreamStatus.DISABLED and SESSION_REVOKED in delivered(stream):
                id_ = delivery_id(DeliveryKind.EVENT, stream.stream_id, notice.sid)
                writes.append(Put(event_delivery(stream, id_, claims, now=now)))
        writes.append(Delete(NoticeKey(notice.sid)))
    return Decision(len(aggregate.notices), tuple(writes))


def take_up(due: tuple[Delivery, ...], *, now: NumericDate) -> Decision[tuple[Delivery, ...]]:
    """Take deliveries up: nobody else does until the lease is over."""
    leased = NumericDate(now + LEASE)
    taken = tuple(replace(delivery, due=leased, attempts=delivery.attempts + 1) for delivery in due)
    return Decision(taken, tuple(map(Put, taken)))


def finish(
    stored: Delivery | None, *, taken: Delivery, attempt: Attempt, now: NumericDate, jitter: float
) -> Decision[None]:
    """Write down what became of an attempt.

    Args:
        stored: as it stands now; another server may have taken it up after the lease.
        taken: as `take_up` returned it.
        jitter: of [0, 1), so that what failed together does not come back together.
    """
    if stored is None or stored.attempts != taken.attempts:
        return Decision(None)
    fields = {"kind": taken.kind.value, "receiver": taken.receiver, "answer": attempt.detail}
    if attempt.answer is Answer.ACCEPTED:
        event = Event(EventName.DELIVERED, now, fields=fields)
        return Decision(None, (Delete(DeliveryKey(taken.id)),), (event,))
    again = NumericDate(now + retry_after(taken.attempts, jitter=jitter))
    if attempt.answer is Answer.REFUSED or again >= taken.expires:
        event = Event(EventName.DELIVERY_GIVEN_UP, now, fields=fields)
        return Decision(None, (Delete(DeliveryKey(taken.id)),), (event,))
    event = Event(EventName.DELIVERY_FAILED, now, fields=fields)
    return Decision(None, (Put(replace(stored, due=again)),), (event,))


def retry_after(attempts: int, *, jitter: float) -> int:
    """Seconds until the next attempt: 2, 6, 18, … up to an hour, each times 0.5 to 1.5, at least one."""
    delay = min(float(_LONGEST_RETRY), _FIRST_RETRY * 3.0 ** min(attempts - 1, 8))
    return max(1, round(delay * (0.5 + jitter)))


def delivery_id(kind: DeliveryKind, receiver: str, sid: Sid) -> str:
    """The id of a session's delivery to a receiver: the same whoever makes it, and a `jti` that tells nothing."""
    name = "\x00".join((kind.value, receiver, sid)).encode()
    return encode(hashlib.sha256(name).digest()[:16])


def verify(stream: EventStream, *, id_: str, state: str | None, now: NumericDate) -> Delivery:
    """The event by which a receiver sees that its stream works."""
    return event_delivery(stream, id_, verification(stream.stream_id, state=state), now=now)


def event_delivery(stream: EventStream, id_: str, claims: dict[str, Any], *, now: NumericDate) -> Delivery:
    """An event on a stream. A polled one is due only when it is given up: its receiver comes before, or never."""
    delivery = _delivery(DeliveryKind.EVENT, stream.stream_id, id_, claims, now=now)
    return delivery if stream.method is DeliveryMethod.PUSH else replace(delivery, due=delivery.expires)


def sent_now(pending: tuple[Delivery, ...], *, stream: EventStream, now: NumericDate) -> Decision[None]:
    """A stream that was enabled, or gets its events another way from now on: what waits is due accordingly."""
    pushed = stream.method is DeliveryMethod.PUSH
    return Decision(None, tuple(Put(replace(one, due=now if pushed else one.expires)) for one in pending))


def dropped(pending: tuple[Delivery, ...]) -> Decision[int]:
    """A stream that is gone or disabled keeps nothing."""
    return Decision(len(pending), tuple(Delete(DeliveryKey(one.id)) for one in pending))


def _delivery(kind: DeliveryKind, receiver: str, id_: str, claims: dict[str, Any], *, now: NumericDate) -> Delivery:
    return Delivery(
        id=id_,
        kind=kind,
        receiver=receiver,
        claims=orjson.dumps(claims).decode(),
        created=now,
        due=now,
        attempts=0,
        expires=NumericDate(now + KEPT),
    )
