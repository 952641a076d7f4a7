"""What a transition holds on to in PostgreSQL, so that two of the same device session, code or mark never interleave.

Rows that exist are locked; what may not exist yet (a replay mark, a user name) is locked by
name, with an advisory lock. Locks are statements of their own, before the load: under READ
COMMITTED each statement sees what was committed when it starts, so a load that follows a
lock sees what the lock's former holder wrote.

A batch takes what is free (`SKIP LOCKED`) and leaves the rest for a transaction of its own
that waits: a batch never holds and waits, so two servers' batches cannot deadlock.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from portero.adapters.storage.identity import Identity, identity_of
from portero.adapters.storage.overlap import records_of
from portero.adapters.storage.row_values import storable
from portero.adapters.storage.tables import Query, Row
from portero.core.sessions.records import BrowserSession, DeviceSession
from portero.core.transitions import (
    AuthorizationCode,
    BrowserKey,
    ClientKey,
    CodeKey,
    ConsentKey,
    ConsentsKey,
    CounterKey,
    DeliveryKey,
    DueKey,
    FamilyKey,
    Key,
    LinkedIdentitiesKey,
    LinkedKey,
    LoginKey,
    OutboxKey,
    ReplayKey,
    SessionKey,
    SigningKeysKey,
    StreamKey,
    StreamsKey,
    SubjectKey,
    UsernameKey,
)
from portero.core.types import FamilyId

_TAIL: Final = {False: " FOR NO KEY UPDATE", True: " FOR NO KEY UPDATE SKIP LOCKED"}
_SESSIONS: Final = "SELECT 'session', sid FROM device_sessions WHERE "
_BROWSERS: Final = "SELECT 'browser', id_digest FROM browser_sessions WHERE "
_CODES: Final = "SELECT 'code', code_digest FROM authorization_codes WHERE "
_ADVISORY: Final = {
    False: "SELECT 'name', ?::bigint FROM pg_advisory_xact_lock(?)",
    True: "SELECT 'name', ?::bigint WHERE pg_try_advisory_xact_lock(?)",
}


def _joined(*parts: str) -> str:
    return " ".join(parts)


_OF_NAMED: Final = "subject = (SELECT subject FROM users WHERE username_folded = ?)"
_OF_CODE: Final = "FROM authorization_codes WHERE code_digest = ?)"

_FAMILIES: Final = _joined(_SESSIONS, "sid IN (SELECT sid FROM families WHERE id = ANY(?)) ORDER BY sid")
_SESSION: Final = _joined(_SESSIONS, "sid = ?")
_CODE: Final = _joined(_CODES, "code_digest = ?")
_CODES_BROWSER: Final = _joined(_BROWSERS, "id_digest = (SELECT browser_session", _OF_CODE)
_CODES_SESSION: Final = _joined(_SESSIONS, "sid = (SELECT sid", _OF_CODE)
_CODES_SESSIONS: Final = _joined(
    _SESSIONS,
    "status = 'active' AND (browser_session, client_id) = (SELECT browser_session, client_id",
    _OF_CODE,
    "ORDER BY sid",
)
_BROWSER: Final = _joined(_BROWSERS, "id_digest = ?")
_BROWSERS_SESSIONS: Final = _joined(_SESSIONS, "browser_session = ? AND status = 'active' ORDER BY sid")
_SUBJECTS_BROWSERS: Final = _joined(_BROWSERS, "subject = ? ORDER BY id_digest")
_SUBJECTS_SESSIONS: Final = _joined(_SESSIONS, "subject = ? AND status = 'active' ORDER BY sid")
_NAMED_BROWSERS: Final = _joined(_BROWSERS, _OF_NAMED, "ORDER BY id_digest")
_NAMED_SESSIONS: Final = _joined(_SESSIONS, _OF_NAMED, "AND status = 'active' ORDER BY sid")


def locks(key: Key[Any], *, skip_locked: bool) -> list[Query]:
    """The statements that hold what `key` names; each answers with the identities it holds."""
    queries = [_named(name, skip_locked=skip_locked) for name in _names(key)]
    tail = _TAIL[skip_locked]
    return queries + [(text + tail, (parameter,)) for text, parameter in _rows(key)]


def lock_families(family_ids: list[FamilyId]) -> Query:
    """One statement for all refreshes of a batch."""
    return _FAMILIES + _TAIL[True], (family_ids,)


def held(rows: list[Row]) -> set[Identity]:
    """The identities that lock statements answered with."""
    return {(table, bytes(key) if isinstance(key, memoryview) else key) for table, key in rows}


def needed(key: Key[Any], aggregate: Any) -> set[Identity]:
    """What must be held for `decide` to run on `aggregate`."""
    found: set[Identity] = {("name", name) for name in _names(key)}
    if isinstance(key, FamilyKey | CodeKey | BrowserKey | SessionKey | SubjectKey | UsernameKey):
        found |= {
            identity_of(record)
            for record in records_of(aggregate)
            if isinstance(record, DeviceSession | BrowserSession | AuthorizationCode)
        }
    return found


def _rows(key: Key[Any]) -> tuple[tuple[str, object], ...]:
    match key:
        case FamilyKey():
            return ((_FAMILIES, [key.family_id]),)
        case CodeKey():
            texts = (_CODE, _CODES_BROWSER, _CODES_SESSION, _CODES_SESSIONS)
            return tuple((text, key.code_digest) for text in texts)
        case BrowserKey():
            return (_BROWSER, key.id_digest), (_BROWSERS_SESSIONS, key.id_digest)
        case SessionKey() if storable(key.sid):
            return ((_SESSION, key.sid),)
        case SubjectKey() if storable(key.subject):
            return (_SUBJECTS_BROWSERS, key.subject), (_SUBJECTS_SESSIONS, key.subject)
        case UsernameKey() if storable(key.username):
            folded = key.username.casefold()
            return (_NAMED_BROWSERS, folded), (_NAMED_SESSIONS, folded)
        case _:
            return ()


def _names(key: Key[Any]) -> tuple[int, ...]:
    """The advisory locks: 64 bits of a digest; two names that share one merely wait for each other."""
    match key:
        case ReplayKey():
            return (_number(b"replay", key.digest),)
        case LoginKey():
            return (_number(b"login", key.id_digest),)
        case SigningKeysKey():
            return (_number(b"signing keys", b""),)
        case ClientKey():
            return (_number(b"client", key.client_id.encode(errors="replace")),)
        case UsernameKey():
            return (_number(b"username", key.username.casefold().encode(errors="replace")),)
        case SubjectKey():
            return (_number(b"subject", key.subject.encode(errors="replace")),)
        case OutboxKey():
            return (_number(b"notices", b""),)
        case DueKey():
            return (_number(b"deliveries", b""),)
        case DeliveryKey():
            return (_number(b"delivery", key.id.encode(errors="replace")),)
        case StreamKey():
            return (_number(b"stream", key.stream_id.encode(errors="replace")),)
        case StreamsKey():
            return (_number(b"streams", (key.client_id or "").encode(errors="replace")),)
        case ConsentKey():
            return (_number(b"consent", key.id_digest),)
        case LinkedKey():
            return (_number(b"linked", key.id_digest),)
        case LinkedIdentitiesKey():
            return (_number(b"linked of", key.subject.encode(errors="replace")),)
        case ConsentsKey():
            return (_number(b"consents", key.subject.encode(errors="replace")),)
        case CounterKey():
            return (_number(b"counter", key.name.encode(errors="replace")),)
        case _:
            return ()


def _number(kind: bytes, name: bytes) -> int:
    return int.from_bytes(blake2b(kind + b"\x00" + name, digest_size=8).digest(), "big", signed=True)


def _named(number: int, *, skip_locked: bool) -> Query:
    return _ADVISORY[skip_locked], (number, number)
