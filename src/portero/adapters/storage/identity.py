"""Which record a record or key is: table and primary key."""

from __future__ import annotations

from collections.abc import Hashable
from typing import assert_never

from portero.core.consent import Consent
from portero.core.linked import LinkedIdentity
from portero.core.outbox_records import Counter, Delivery, EventStream
from portero.core.sessions.records import BrowserSession, DeviceSession, Family
from portero.core.transitions import (
    AuthorizationCode,
    BrowserKey,
    Client,
    CodeKey,
    ConsentKey,
    DeliveryKey,
    FamilyKey,
    LinkedKey,
    LoginKey,
    LoginTransaction,
    NoticeKey,
    Record,
    ReplayKey,
    ReplayMark,
    SigningKey,
    StreamKey,
    User,
)

Identity = tuple[str, Hashable]


def identity_of(record: Record) -> Identity:
    """The table and primary key of a record."""
    match record:
        case BrowserSession():
            return "browser", record.id_digest
        case DeviceSession():
            return "session", record.sid
        case Family():
            return "family", record.id
        case Client():
            return "client", record.client_id
        case User():
            return "user", record.subject
        case LoginTransaction():
            return "login", record.id_digest
        case AuthorizationCode():
            return "code", record.code_digest
        case ReplayMark():
            return "replay", record.digest
        case SigningKey():
            return "signing_key", record.kid
        case Delivery():
            return "delivery", record.id
        case EventStream():
            return "stream", record.stream_id
        case Counter():
            return "counter", record.name
        case Consent():
            return "consent", record.id_digest
        case LinkedIdentity():
            return "linked", record.id_digest
        case _:
            assert_never(record)


Deletable = (
    BrowserKey
    | LoginKey
    | FamilyKey
    | CodeKey
    | ReplayKey
    | NoticeKey
    | DeliveryKey
    | StreamKey
    | ConsentKey
    | LinkedKey
)


def identity_named(key: Deletable) -> Identity:
    """The table and primary key of the record that a `Delete` names."""
    match key:
        case BrowserKey():
            return "browser", key.id_digest
        case LoginKey():
            return "login", key.id_digest
        case FamilyKey():
            return "family", key.family_id
        case CodeKey():
            return "code", key.code_digest
        case ReplayKey():
            return "replay", key.digest
        case NoticeKey():
            return "notice", key.sid
        case DeliveryKey():
            return "delivery", key.id
        case StreamKey():
            return "stream", key.stream_id
        case ConsentKey():
            return "consent", key.id_digest
        case LinkedKey():
            return "linked", key.id_digest
        case _:
            assert_never(key)
