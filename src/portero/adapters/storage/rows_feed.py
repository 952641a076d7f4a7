"""The revocation feed and the audit trail as rows.

A feed number is taken from one counter row inside the transaction that appends: whoever
holds that row commits before the next number is given out, so numbers become visible in
order and without a gap, in every database.
"""

from __future__ import annotations

import orjson

from portero.adapters.storage.row_values import by_value
from portero.adapters.storage.tables import AUDIT, REVOCATIONS, Query, Row
from portero.core.events import Event, EventName
from portero.core.revocation.entry import FeedEntry, Revocation, RevokedKind

_KIND = by_value(RevokedKind)
_EVENT = by_value(EventName)

NEXT_FEED_NUMBERS = "UPDATE meta SET feed_head = feed_head + ? WHERE singleton = 1 RETURNING epoch, feed_head"
"""Take so many numbers; answers with the last of them."""
RENEW_EPOCH = "UPDATE meta SET epoch = ? WHERE singleton = 1"
_APPEND_REVOCATION = REVOCATIONS.insert()
_APPEND_AUDIT = AUDIT.insert()


def append_revocation(revocation: Revocation, *, n: int) -> Query:
    return _APPEND_REVOCATION, (
        n,
        revocation.iss,
        revocation.kind.value,
        revocation.value,
        revocation.at,
        revocation.until,
        revocation.micros,
    )


def feed_entry_from_row(row: Row, *, epoch: str) -> FeedEntry:
    n, iss, kind, value, at, until, micros = row
    return FeedEntry(epoch, n, Revocation(iss, _KIND[kind], value, at, until, micros))


def append_audit(event: Event) -> Query:
    fields = orjson.dumps(dict(event.fields)).decode()
    return _APPEND_AUDIT, (event.name.value, event.at, event.subject, event.client_id, event.sid, fields)


def event_from_row(row: Row) -> Event:
    name, at, subject, client_id, sid, fields = row
    return Event(_EVENT[name], at, subject, client_id, sid, orjson.loads(fields))
