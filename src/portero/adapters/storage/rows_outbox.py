"""Notices, deliveries, event streams and counters as rows."""

from __future__ import annotations

from typing import Any, Final

from portero.adapters.storage.row_values import by_value, texts_from_column, texts_to_column
from portero.adapters.storage.tables import COUNTERS, DELIVERIES, EVENT_STREAMS, Query, Row
from portero.core.outbox_records import (
    Counter,
    Delivery,
    DeliveryKind,
    DeliveryMethod,
    EventStream,
    Notice,
    StreamStatus,
)
from portero.core.sessions.records import EndReason

_KIND = by_value(DeliveryKind)
_METHOD = by_value(DeliveryMethod)
_STATUS = by_value(StreamStatus)
_REASON: Final[dict[Any, EndReason]] = by_value(EndReason)

# Written only where somebody is to be told. CAST: PostgreSQL wants to know the types of a select list's parameters.
_NOTIFY: Final = (
    "INSERT INTO notices (sid, subject, client_id, reason, at) "
    "SELECT CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT) "
    "WHERE EXISTS (SELECT 1 FROM clients "
    "WHERE client_id = ? AND enabled = 1 AND backchannel_logout_uri IS NOT NULL) "
    "OR EXISTS (SELECT 1 FROM event_streams LIMIT 1) ON CONFLICT (sid) DO NOTHING"
)
_PUT_DELIVERY: Final = DELIVERIES.upsert()
_PUT_STREAM: Final = EVENT_STREAMS.upsert()
_PUT_COUNTER: Final = COUNTERS.upsert()


def notify(notice: Notice) -> Query:
    """The statement that keeps a notice where somebody is to be told."""
    kept = (notice.sid, notice.subject, notice.client_id, notice.reason.value, notice.at)
    return _NOTIFY, (*kept, notice.client_id)


def notice_from_row(row: Row) -> Notice:
    sid, subject, client_id, reason, at = row
    return Notice(sid, subject, client_id, _REASON[reason], at)


def put_delivery(record: Delivery) -> Query:
    return _PUT_DELIVERY, (
        record.id,
        record.kind.value,
        record.receiver,
        record.claims,
        record.created,
        record.due,
        record.attempts,
        record.expires,
    )


def delivery_from_row(row: Row) -> Delivery:
    id_, kind, receiver, claims, created, due, attempts, expires = row
    return Delivery(id_, _KIND[kind], receiver, claims, created, due, attempts, expires)


def put_stream(record: EventStream) -> Query:
    return _PUT_STREAM, (
        record.stream_id,
        record.client_id,
        record.method.value,
        record.endpoint_url,
        record.sealed_authorization,
        texts_to_column(record.events_requested),
        record.description,
        record.status.value,
        record.status_reason,
        record.created,
        record.verified,
    )


def stream_from_row(row: Row) -> EventStream:
    (stream_id, client_id, method, endpoint_url, sealed, events, description, status, reason, created, verified) = row
    return EventStream(
        stream_id,
        client_id,
        _METHOD[method],
        endpoint_url,
        sealed,
        texts_from_column(events),
        description,
        _STATUS[status],
        reason,
        created,
        verified,
    )


def put_counter(record: Counter) -> Query:
    return _PUT_COUNTER, (record.name, record.value)
