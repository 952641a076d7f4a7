"""What people allowed, as rows."""

from __future__ import annotations

from portero.adapters.storage.row_values import texts_from_column, texts_to_column
from portero.adapters.storage.tables import CONSENTS, Query, Row
from portero.core.consent import Consent

_PUT_CONSENT = CONSENTS.upsert()


def put_consent(record: Consent) -> Query:
    return _PUT_CONSENT, (
        record.id_digest,
        record.subject,
        record.client_id,
        texts_to_column(record.scope),
        texts_to_column(record.resource),
        record.granted,
    )


def consent_from_row(row: Row) -> Consent:
    _, subject, client_id, scope, resource, granted = row
    return Consent(subject, client_id, texts_from_column(scope), texts_from_column(resource), granted)
