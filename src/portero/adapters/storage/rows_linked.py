"""Linked identities as rows."""

from __future__ import annotations

from portero.adapters.storage.tables import LINKED_IDENTITIES, Query, Row
from portero.core.linked import LinkedIdentity

_PUT_LINKED = LINKED_IDENTITIES.upsert()


def put_linked(record: LinkedIdentity) -> Query:
    return _PUT_LINKED, (
        record.id_digest,
        record.provider,
        record.external,
        record.subject,
        record.label,
        record.linked,
    )


def linked_from_row(row: Row) -> LinkedIdentity:
    return LinkedIdentity(*row[1:])
