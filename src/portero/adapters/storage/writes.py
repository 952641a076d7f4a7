"""What a decision writes, as statements; and the removal of what has expired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, assert_never

from portero.adapters.storage.expiry import AUDIT_KEPT, CODE_KEPT
from portero.adapters.storage.identity import Identity, identity_named, identity_of
from portero.adapters.storage.rows_consent import put_consent
from portero.adapters.storage.rows_feed import RENEW_EPOCH, append_audit
from portero.adapters.storage.rows_grants import put_code, put_login, put_replay
from portero.adapters.storage.rows_linked import put_linked
from portero.adapters.storage.rows_outbox import notify, put_counter, put_delivery, put_stream
from portero.adapters.storage.rows_registry import put_client, put_signing_key, put_user
from portero.adapters.storage.rows_sessions import put_browser, put_family, put_session
from portero.adapters.storage.tables import (
    AUDIT,
    AUTHORIZATION_CODES,
    BROWSER_SESSIONS,
    CONSENTS,
    DELIVERIES,
    DEVICE_SESSIONS,
    EVENT_STREAMS,
    FAMILIES,
    LINKED_IDENTITIES,
    LOGIN_TRANSACTIONS,
    NOTICES,
    REPLAY_MARKS,
    REVOCATIONS,
    Query,
)
from portero.core.consent import Consent
from portero.core.linked import LinkedIdentity
from portero.core.outbox_records import Counter, Delivery, EventStream
from portero.core.revocation.entry import Revocation
from portero.core.sessions.records import BrowserSession, DeviceSession, Family
from portero.core.transitions import (
    Audit,
    AuthorizationCode,
    Client,
    CodeAggregate,
    Delete,
    FamilyAggregate,
    LoginTransaction,
    Notify,
    Put,
    Record,
    RenewEpoch,
    ReplayMark,
    Revoke,
    SessionAggregate,
    SigningKey,
    User,
    Write,
)
from portero.core.types import NumericDate

Known = dict[Identity, Record]
"""Rows as this transition found them: an update touches only what differs."""

_DELETE: Final = {
    "browser": BROWSER_SESSIONS.delete(),
    "login": LOGIN_TRANSACTIONS.delete(),
    "family": FAMILIES.delete(),
    "code": AUTHORIZATION_CODES.delete(),
    "replay": REPLAY_MARKS.delete(),
    "notice": NOTICES.delete(),
    "delivery": DELIVERIES.delete(),
    "stream": EVENT_STREAMS.delete(),
    "consent": CONSENTS.delete(),
    "linked": LINKED_IDENTITIES.delete(),
}
_PER_COMMIT: Final = 8
"""Expired rows removed per transition, at most. One table's turn per commit, so well above one row a table made."""
_EXPIRING: Final = (
    (REPLAY_MARKS, "expires", 0),
    (FAMILIES, "gone", 0),
    (AUTHORIZATION_CODES, "expires", CODE_KEPT),
    (LOGIN_TRANSACTIONS, "expires", 0),
    (DEVICE_SESSIONS, "gone", 0),
    (BROWSER_SESSIONS, "ends", 0),
    (REVOCATIONS, "until", 0),
    (DELIVERIES, "expires", 0),
    (AUDIT, "at", AUDIT_KEPT),
)


def known(aggregate: Any) -> Known:
    """The records of an aggregate whose rows are worth updating in part."""
    match aggregate:
        case FamilyAggregate():
            found: tuple[Record | None, ...] = (aggregate.family, aggregate.session)
        case CodeAggregate():
            found = (aggregate.code, aggregate.session, *aggregate.families)
        case SessionAggregate():
            found = (aggregate.session,)
        case _:
            found = ()
    return {identity_of(record): record for record in found if record is not None}


def statements(writes: tuple[Write, ...], *, aggregate: Any) -> tuple[list[Query], list[Revocation]]:
    """The statements for `writes`, device sessions before their families; and what goes into the feed."""
    loaded = known(aggregate)
    first: list[Query] = []
    then: list[Query] = []
    revocations: list[Revocation] = []
    for write in writes:
        match write:
            case Put(record):
                query = _put(record, loaded)
                if query is not None:
                    (first if isinstance(record, DeviceSession) else then).append(query)
            case Delete(key):
                table, primary_key = identity = identity_named(key)
                loaded.pop(identity, None)
                then.append((_DELETE[table], (primary_key,)))
            case Revoke(revocation):
                revocations.append(revocation)
            case Notify(notice):
                then.append(notify(notice))
            case Audit(event):
                then.append(append_audit(event))
            case RenewEpoch(epoch):
                then.append((RENEW_EPOCH, (epoch,)))
            case _:
                assert_never(write)
    return first + then, revocations


def _put(record: Record, loaded: Known) -> Query | None:
    identity = identity_of(record)
    before: Any = loaded.get(identity)
    # A second write of the same record in one decision starts from the first.
    loaded[identity] = record
    match record:
        case Family():
            return put_family(record, loaded=before)
        case DeviceSession():
            return put_session(record, loaded=before)
        case AuthorizationCode():
            return put_code(record, loaded=before)
        case BrowserSession():
            return put_browser(record)
        case ReplayMark():
            return put_replay(record)
        case LoginTransaction():
            return put_login(record)
        case User():
            return put_user(record)
        case Client():
            return put_client(record)
        case SigningKey():
            return put_signing_key(record)
        case Delivery():
            return put_delivery(record)
        case EventStream():
            return put_stream(record)
        case Counter():
            return put_counter(record)
        case LinkedIdentity():
            return put_linked(record)
        case Consent():
            return put_consent(record)
        case _:
            assert_never(record)


class Sweep:
    """Removal of expired rows, a few per commit: each commit is another table's turn.

    There is no clean-up job to forget: whoever writes also removes.
    """

    def __init__(self, *, skip_locked: bool) -> None:
        self._turns = [(table.sweep(column, skip_locked=skip_locked), kept) for table, column, kept in _EXPIRING]
        self._queries = self._around()

    def next(self, *, now: NumericDate, transitions: int) -> Query:
        """The statement of the next turn, for a commit that carries so many transitions."""
        text, kept = next(self._queries)
        return text, (now - kept, _PER_COMMIT * transitions)

    def _around(self) -> Iterator[tuple[str, int]]:
        while True:
            yield from self._turns
