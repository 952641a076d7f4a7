"""Browser sessions, device sessions and families as rows."""

from __future__ import annotations

from typing import Any, Final

from portero.adapters.storage.expiry import session_gone, whole_day
from portero.adapters.storage.row_values import by_value, texts_from_column, texts_to_column
from portero.adapters.storage.tables import (
    BROWSER_SESSIONS,
    DEVICE_SESSIONS,
    FAMILIES,
    FAMILY_MOVING,
    FAMILY_STATIC,
    SESSION_MOVING,
    SESSION_STATIC,
    Query,
    Row,
)
from portero.core.sessions.records import (
    BrowserSession,
    DeviceSession,
    EndReason,
    Family,
    Profile,
    SessionStatus,
    TokenRecord,
)
from portero.core.sessions.ring import Ring
from portero.core.vouched import session_digest_of

_STATUS = by_value(SessionStatus)
_REASON: Final[dict[Any, EndReason | None]] = {None: None, **by_value(EndReason)}
_PROFILE = by_value(Profile)

_NO_TOKEN: Final = (None,) * 8

_PUT_BROWSER = BROWSER_SESSIONS.upsert()
_PUT_SESSION = DEVICE_SESSIONS.upsert()
_PUT_FAMILY = FAMILIES.upsert()
_MOVE_SESSION = DEVICE_SESSIONS.update(SESSION_MOVING)
_MOVE_SESSION_LATER = DEVICE_SESSIONS.update((*SESSION_MOVING, "gone"))
_TOUCH_SESSION = DEVICE_SESSIONS.update(("last_seen", "last_access_exp", "idle_end"))
_MOVE_FAMILY = FAMILIES.update(FAMILY_MOVING)
_MOVE_FAMILY_LATER = FAMILIES.update((*FAMILY_MOVING, "gone"))

UPDATES_BY_REFRESH: Final = frozenset({_TOUCH_SESSION, _MOVE_SESSION, _MOVE_FAMILY})
"""Updates of single rows that are there: of different refreshes, they may be carried out in any order."""
SESSION_WIDTH: Final = len(DEVICE_SESSIONS.columns)
FAMILY_WIDTH: Final = len(FAMILIES.columns)
BROWSER_WIDTH: Final = len(BROWSER_SESSIONS.columns)
_FAMILY_FIXED: Final = len(FAMILY_STATIC) + 1
_SESSION_FIXED: Final = len(SESSION_STATIC)


def browser_from_row(row: Row) -> BrowserSession:
    id_digest, subject, auth_time, acr, amr, ends, device, vouched, _ = row
    return BrowserSession(id_digest, subject, auth_time, acr, texts_from_column(amr), ends, device, vouched)


def put_browser(record: BrowserSession) -> Query:
    return _PUT_BROWSER, (
        record.id_digest,
        record.subject,
        record.auth_time,
        record.acr,
        texts_to_column(record.amr),
        record.ends,
        record.device,
        record.vouched,
        session_digest_of(record.vouched),
    )


def session_from_row(row: Row) -> DeviceSession:
    (sid, subject, client_id, created, absolute_end, status_index, browser_session, device_name, place) = row[:9]
    (last_seen, last_access_exp, idle_end, status, end_reason, _) = row[9:]
    return DeviceSession(
        sid,
        browser_session,
        subject,
        client_id,
        device_name,
        place,
        created,
        last_seen,
        last_access_exp,
        absolute_end,
        idle_end,
        _STATUS[status],
        _REASON[end_reason],
        status_index,
    )


def put_session(record: DeviceSession, *, loaded: DeviceSession | None) -> Query | None:
    """The statement that stores `record`, given what this transition loaded; `None` where nothing changed.

    A refresh moves three columns, and its index entry at most once a day.
    """
    if loaded is None or not _same_fixed_session(record, loaded):
        return _PUT_SESSION, (*_fixed_session(record), *_moving_session(record), whole_day(session_gone(record)))
    if record == loaded:
        return None
    gone = whole_day(session_gone(record))
    moving = _moving_session(record)
    if gone != whole_day(session_gone(loaded)):
        return _MOVE_SESSION_LATER, (*moving, gone, record.sid)
    before = _moving_session(loaded)
    if moving[:3] == before[:3] and moving[6:] == before[6:]:
        return _TOUCH_SESSION, (*moving[3:6], record.sid)
    return _MOVE_SESSION, (*moving, record.sid)


def _same_fixed_session(one: DeviceSession, other: DeviceSession) -> bool:
    return (
        one.sid == other.sid
        and one.subject == other.subject
        and one.client_id == other.client_id
        and one.created == other.created
        and one.absolute_end == other.absolute_end
        and one.status_index == other.status_index
    )


def _fixed_session(record: DeviceSession) -> Row:
    return record.sid, record.subject, record.client_id, record.created, record.absolute_end, record.status_index


def _moving_session(record: DeviceSession) -> Row:
    return (
        record.browser_session,
        record.device_name,
        record.place,
        record.last_seen,
        record.last_access_exp,
        record.idle_end,
        # `.value` is a function call and some; this is the attribute behind it, as `enum` documents it.
        record.status._value_,
        record.end_reason and record.end_reason._value_,
    )


def family_from_row(row: Row) -> Family:
    (id_, sid, client_id, scope, resource, cnf_jkt, profile, acr, amr, auth_time, vouched, created) = row[
        :_FAMILY_FIXED
    ]
    (ring, sharing_run, status, end_reason, _) = row[_FAMILY_FIXED + 16 :]
    return Family(
        id_,
        sid,
        client_id,
        texts_from_column(scope),
        texts_from_column(resource),
        cnf_jkt,
        _PROFILE[profile],
        acr,
        texts_from_column(amr),
        auth_time,
        created,
        TokenRecord(*row[_FAMILY_FIXED : _FAMILY_FIXED + 8]),
        TokenRecord(*row[_FAMILY_FIXED + 8 : _FAMILY_FIXED + 16]) if row[_FAMILY_FIXED + 8] is not None else None,
        Ring(ring),
        sharing_run,
        _STATUS[status],
        _REASON[end_reason],
        vouched,
    )


def put_family(record: Family, *, loaded: Family | None) -> Query | None:
    """The statement that stores `record`, given what this transition loaded; `None` where nothing changed."""
    gone = whole_day(record.head.expires)
    if loaded is None or not _same_fixed_family(record, loaded):
        return _PUT_FAMILY, (*_fixed_family(record), *_moving_family(record), gone)
    if record == loaded:
        return None
    if gone != whole_day(loaded.head.expires):
        return _MOVE_FAMILY_LATER, (*_moving_family(record), gone, record.id)
    return _MOVE_FAMILY, (*_moving_family(record), record.id)


def _same_fixed_family(one: Family, other: Family) -> bool:
    return (
        one.sid == other.sid
        and one.client_id == other.client_id
        and one.scope == other.scope
        and one.resource == other.resource
        and one.cnf_jkt == other.cnf_jkt
        and one.profile is other.profile
        and one.acr == other.acr
        and one.amr == other.amr
        and one.auth_time == other.auth_time
        and one.vouched == other.vouched
        and one.created == other.created
    )


def _fixed_family(record: Family) -> Row:
    return (
        record.id,
        record.sid,
        record.client_id,
        texts_to_column(record.scope),
        texts_to_column(record.resource),
        record.cnf_jkt,
        record.profile.value,
        record.acr,
        texts_to_column(record.amr),
        record.auth_time,
        record.vouched,
        record.created,
    )


def _moving_family(record: Family) -> Row:
    return (
        *_token_columns(record.head),
        *(_NO_TOKEN if record.parent is None else _token_columns(record.parent)),
        record.ring.packed,
        record.sharing_run,
        # `.value` is a function call and some; this is the attribute behind it, as `enum` documents it.
        record.status._value_,
        record.end_reason and record.end_reason._value_,
    )


def _token_columns(token: TokenRecord) -> Row:
    return (
        token.digest,
        token.generation,
        token.issued,
        token.expires,
        token.first_used,
        token.attempt_digest,
        token.successor_box,
        token.retries,
    )
