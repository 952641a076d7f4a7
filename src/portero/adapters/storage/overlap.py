"""Which transitions may share a batch, where a batch loads everything before it writes anything.

A transition is put off when something it has read was written by an earlier one of the same
batch. Sets of a person's or browser's sessions count as one thing, so that a session that
appears is noticed by whoever listed them.
"""

from __future__ import annotations

from typing import Any

from portero.adapters.storage.identity import Identity, identity_named, identity_of
from portero.core.consent import Consent
from portero.core.linked import LinkedIdentity
from portero.core.outbox_records import EventStream
from portero.core.sessions.records import BrowserSession, DeviceSession, Family
from portero.core.transitions import (
    BrowserAggregate,
    BrowserKey,
    ClientKey,
    CodeAggregate,
    CodeKey,
    ConsentKey,
    ConsentsKey,
    CounterKey,
    Delete,
    DeliveryKey,
    FamilyAggregate,
    FamilyKey,
    Key,
    LinkedIdentitiesKey,
    LinkedKey,
    LoginKey,
    Put,
    Record,
    ReplayKey,
    SessionAggregate,
    SessionKey,
    SigningKey,
    SigningKeysKey,
    StreamKey,
    StreamsKey,
    SubjectAggregate,
    SubjectKey,
    User,
    UsernameKey,
    Write,
)

EVERYTHING: Identity = ("everything", None)
"""What lists (all users, the feed) have read."""


def touched(key: Key[Any], aggregate: Any) -> set[Identity]:
    """What a transition has read."""
    found = {identity_of(record) for record in records_of(aggregate)}
    match key:
        case (
            FamilyKey()
            | CodeKey()
            | BrowserKey()
            | LoginKey()
            | ReplayKey()
            | DeliveryKey()
            | StreamKey()
            | ConsentKey()
            | LinkedKey()
        ):
            found.add(identity_named(key))
        case SessionKey():
            found.add(("session", key.sid))
        case SubjectKey():
            found |= {("user", key.subject), ("people", key.subject)}
        case UsernameKey():
            found.add(("username", key.username.casefold()))
            found |= {("people", subject) for table, subject in found if table == "user"}
        case ClientKey():
            found.add(("client", key.client_id))
        case SigningKeysKey():
            found.add(("signing keys", None))
        case CounterKey():
            found.add(("counter", key.name))
        case StreamsKey():
            found.add(("streams", None))
        case LinkedIdentitiesKey():
            # A link that is taken away names no person: any write may be one of theirs.
            found |= {("linked of", key.subject), EVERYTHING}
        case ConsentsKey():
            found.add(("consents", key.subject))
        case _:
            found.add(EVERYTHING)
    return found


def written(writes: tuple[Write, ...]) -> set[Identity]:
    """What writes change, the sets they change included."""
    changed: set[Identity] = set()
    for write in writes:
        match write:
            case Put(record):
                changed.add(identity_of(record))
                changed |= _sets_with(record)
            case Delete(key):
                changed.add(identity_named(key))
            case _:
                pass
    if writes:
        changed.add(EVERYTHING)
    return changed


def records_of(aggregate: Any) -> tuple[Record, ...]:
    """The records of an aggregate that some transition could change."""
    match aggregate:
        case FamilyAggregate():
            found: tuple[Record | None, ...] = (aggregate.family, aggregate.session, aggregate.user)
        case CodeAggregate():
            found = (aggregate.code, aggregate.browser, aggregate.session, *aggregate.families, aggregate.user)
        case SessionAggregate():
            found = (aggregate.session, aggregate.user)
        case BrowserAggregate():
            found = (aggregate.browser, *aggregate.sessions, aggregate.user)
        case SubjectAggregate():
            found = (aggregate.user, *aggregate.sessions, *aggregate.browsers)
        case _:
            found = ()
    return tuple(record for record in found if record is not None)


def _sets_with(record: Record) -> set[Identity]:
    match record:
        case DeviceSession():
            return {("people", record.subject), ("browser", record.browser_session)}
        case BrowserSession():
            return {("people", record.subject)}
        case Family():
            return {("session", record.sid)}
        case User():
            return {("username", record.username.casefold())}
        case SigningKey():
            return {("signing keys", None)}
        case EventStream():
            return {("streams", None)}
        case LinkedIdentity():
            return {("linked of", record.subject)}
        case Consent():
            return {("consents", record.subject)}
        case _:
            return set()
