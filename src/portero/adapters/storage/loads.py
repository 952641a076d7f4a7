"""How each key's aggregate is read: a generator that yields statements and receives their rows.

One text serves every database, and the driver decides whether statements go one by one
(SQLite, microseconds each) or together in one round trip (PostgreSQL). Statements yielded
together do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from portero.adapters.storage.row_values import storable, within_column
from portero.adapters.storage.rows_consent import consent_from_row
from portero.adapters.storage.rows_feed import event_from_row, feed_entry_from_row
from portero.adapters.storage.rows_grants import CODE_WIDTH, code_from_row, login_from_row, replay_from_row
from portero.adapters.storage.rows_linked import linked_from_row
from portero.adapters.storage.rows_outbox import delivery_from_row, notice_from_row, stream_from_row
from portero.adapters.storage.rows_registry import USER_WIDTH, client_from_row, signing_key_from_row, user_from_row
from portero.adapters.storage.rows_sessions import (
    FAMILY_WIDTH,
    browser_from_row,
    family_from_row,
    session_from_row,
)
from portero.adapters.storage.tables import (
    AUDIT,
    AUTHORIZATION_CODES,
    BROWSER_SESSIONS,
    CLIENTS,
    CONSENTS,
    COUNTERS,
    DELIVERIES,
    DEVICE_SESSIONS,
    EVENT_STREAMS,
    FAMILIES,
    LINKED_IDENTITIES,
    LOGIN_TRANSACTIONS,
    NOTICES,
    REPLAY_MARKS,
    REVOCATIONS,
    SIGNING_KEYS,
    USERS,
    Query,
    Row,
)
from portero.core.transitions import (
    AuditKey,
    BrowserAggregate,
    BrowserKey,
    ClientAggregate,
    ClientKey,
    ClientsKey,
    CodeAggregate,
    CodeKey,
    ConsentKey,
    ConsentsKey,
    CounterKey,
    DeliveryKey,
    DueKey,
    EndedIndexesKey,
    FamilyAggregate,
    FamilyKey,
    FeedKey,
    FeedSize,
    FeedSizeKey,
    FeedSlice,
    Key,
    LinkedIdentitiesKey,
    LinkedKey,
    LoginKey,
    NoticeKey,
    OutboxAggregate,
    OutboxKey,
    PendingKey,
    ReplayKey,
    SessionAggregate,
    SessionKey,
    SessionsKey,
    SigningKeysKey,
    StreamKey,
    StreamsKey,
    SubjectAggregate,
    SubjectKey,
    User,
    UsernameKey,
    UsersKey,
    VouchedSessionKey,
)
from portero.core.types import NumericDate

A = TypeVar("A")
Rows = list[Row]
Loading = Generator[tuple[Query, ...], list[Rows], A]


def _joined(*parts: str) -> str:
    return " ".join(parts)


_OF_FAMILIES: Final = _joined(
    ", ".join((FAMILIES.qualified("f"), USERS.qualified("u"), DEVICE_SESSIONS.qualified("s"))),
    "FROM families f JOIN device_sessions s ON s.sid = f.sid LEFT JOIN users u ON u.subject = s.subject WHERE",
)
_FAMILY: Final = _joined("SELECT", _OF_FAMILIES, "f.id = ?")
_CODE: Final = _joined(
    "SELECT",
    ", ".join((AUTHORIZATION_CODES.qualified("c"), USERS.qualified("u"), BROWSER_SESSIONS.qualified("b"))),
    "FROM authorization_codes c LEFT JOIN browser_sessions b ON b.id_digest = c.browser_session",
    "LEFT JOIN users u ON u.subject = c.subject WHERE c.code_digest = ?",
)
_SESSION: Final = _joined(
    "SELECT",
    ", ".join((USERS.qualified("u"), DEVICE_SESSIONS.qualified("s"))),
    "FROM device_sessions s LEFT JOIN users u ON u.subject = s.subject WHERE s.sid = ?",
)
_BROWSER: Final = _joined(
    "SELECT",
    ", ".join((USERS.qualified("u"), BROWSER_SESSIONS.qualified("b"))),
    "FROM browser_sessions b LEFT JOIN users u ON u.subject = b.subject WHERE b.id_digest = ?",
)
_LIVE_FAMILIES: Final = FAMILIES.select("WHERE t.sid = ? AND t.status = 'active' ORDER BY t.created, t.id")
_SESSION_ALONE: Final = DEVICE_SESSIONS.select("WHERE t.sid = ?")
_SESSION_TO_JOIN: Final = DEVICE_SESSIONS.select(
    "WHERE t.browser_session = ? AND t.client_id = ? AND t.status = 'active' "
    "ORDER BY t.created DESC, t.sid DESC LIMIT 1"
)
_SESSIONS_UNDER: Final = DEVICE_SESSIONS.select(
    "WHERE t.browser_session = ? AND t.status = 'active' ORDER BY t.created, t.sid"
)
_SESSIONS_OF: Final = DEVICE_SESSIONS.select("WHERE t.subject = ? AND t.status = 'active' ORDER BY t.created, t.sid")
_BROWSERS_BY_VOUCHED: Final = BROWSER_SESSIONS.select("WHERE t.vouched_session = ? ORDER BY t.auth_time, t.id_digest")
_BROWSERS_OF: Final = BROWSER_SESSIONS.select("WHERE t.subject = ? ORDER BY t.auth_time, t.id_digest")
_NEWEST_OF: Final = DEVICE_SESSIONS.select(
    "WHERE t.subject = ? AND t.status = 'active' ORDER BY t.last_seen DESC, t.sid LIMIT ?"
)
_NEWEST: Final = DEVICE_SESSIONS.select("WHERE t.status = 'active' ORDER BY t.last_seen DESC, t.sid LIMIT ?")
_USER: Final = USERS.select("WHERE t.subject = ?")
_USERNAME: Final = USERS.select("WHERE t.username_folded = ?")
_USERS: Final = USERS.select("WHERE t.username_folded > ? ORDER BY t.username_folded LIMIT ?")
_CLIENT: Final = CLIENTS.select("WHERE t.client_id = ?")
_CLIENTS: Final = CLIENTS.select("ORDER BY t.client_id")
_LOGIN: Final = LOGIN_TRANSACTIONS.select("WHERE t.id_digest = ?")
_REPLAY: Final = REPLAY_MARKS.select("WHERE t.digest = ?")
_SIGNING_KEYS: Final = SIGNING_KEYS.select("WHERE t.status <> 'removed' ORDER BY t.created, t.kid")
_FEED_HEAD: Final = "SELECT epoch, feed_head FROM meta WHERE singleton = 1"
_FEED: Final = REVOCATIONS.select("WHERE t.n > ? AND t.until > ? ORDER BY t.n LIMIT ?")
_AUDIT: Final = AUDIT.select("ORDER BY t.n DESC LIMIT ?")
_AUDIT_OF: Final = AUDIT.select("WHERE t.subject = ? ORDER BY t.n DESC LIMIT ?")
_FEED_SIZE: Final = (
    "SELECT m.epoch, m.feed_head, (SELECT count(*) FROM revocations WHERE until > ?), "
    "(SELECT count(*) FROM revocations), (SELECT max(until) FROM revocations) FROM meta m WHERE m.singleton = 1"
)
_NOTICES: Final = NOTICES.select("ORDER BY t.at, t.sid LIMIT ?")
_NOTICE: Final = NOTICES.select("WHERE t.sid = ?")
_TOLD_CLIENTS: Final = CLIENTS.select("WHERE t.backchannel_logout_uri IS NOT NULL ORDER BY t.client_id")
_DUE: Final = DELIVERIES.select("WHERE t.due <= ? ORDER BY t.due LIMIT ?")
_DELIVERY: Final = DELIVERIES.select("WHERE t.id = ?")
_PENDING: Final = DELIVERIES.select("WHERE t.receiver = ? ORDER BY t.created, t.id LIMIT ?")
_STREAM: Final = EVENT_STREAMS.select("WHERE t.stream_id = ?")
_STREAMS: Final = EVENT_STREAMS.select("ORDER BY t.stream_id")
_STREAMS_OF: Final = EVENT_STREAMS.select("WHERE t.client_id = ? ORDER BY t.stream_id")
_COUNTER: Final = COUNTERS.select("WHERE t.name = ?")
_CONSENT: Final = CONSENTS.select("WHERE t.id_digest = ?")
_LINKED: Final = LINKED_IDENTITIES.select("WHERE t.id_digest = ?")
_LINKED_OF: Final = LINKED_IDENTITIES.select("WHERE t.subject = ? ORDER BY t.provider, t.external")
_CONSENTS: Final = CONSENTS.select("WHERE t.subject = ? ORDER BY t.client_id")
_ENDED_INDEXES: Final = (
    "SELECT status_index FROM device_sessions "
    "WHERE status_index >= ? AND status_index < ? AND status = 'ended' ORDER BY status_index"
)


def load(key: Key[A]) -> Loading[A]:
    """The generator that reads what `key` names; it returns the aggregate."""
    return LOADERS[type(key)](key)


def _family(key: FamilyKey) -> Loading[FamilyAggregate]:
    (rows,) = yield ((_FAMILY, (key.family_id,)),)
    if not rows:
        return FamilyAggregate(None, None, None)
    (row,) = rows
    return FamilyAggregate(
        family_from_row(row[:FAMILY_WIDTH]),
        session_from_row(row[FAMILY_WIDTH + USER_WIDTH :]),
        user_from_row(row[FAMILY_WIDTH : FAMILY_WIDTH + USER_WIDTH]),
    )


def _code(key: CodeKey) -> Loading[CodeAggregate]:
    (rows,) = yield ((_CODE, (key.code_digest,)),)
    if not rows:
        return CodeAggregate(None, None, None, (), None)
    (row,) = rows
    code = code_from_row(row[:CODE_WIDTH])
    user = user_from_row(row[CODE_WIDTH : CODE_WIDTH + USER_WIDTH])
    browser_row = row[CODE_WIDTH + USER_WIDTH :]
    browser = browser_from_row(browser_row) if browser_row[0] is not None else None
    if code.sid is not None:
        (rows,) = yield ((_SESSION_ALONE, (code.sid,)),)
    else:
        (rows,) = yield ((_SESSION_TO_JOIN, (code.browser_session, code.client_id)),)
    if not rows:
        return CodeAggregate(code, browser, None, (), user)
    session = session_from_row(rows[0])
    (rows,) = yield ((_LIVE_FAMILIES, (session.sid,)),)
    return CodeAggregate(code, browser, session, tuple(map(family_from_row, rows)), user)


def _browser(key: BrowserKey) -> Loading[BrowserAggregate]:
    found, under = yield ((_BROWSER, (key.id_digest,)), (_SESSIONS_UNDER, (key.id_digest,)))
    sessions = tuple(map(session_from_row, under))
    if not found:
        return BrowserAggregate(None, sessions, None)
    (row,) = found
    return BrowserAggregate(browser_from_row(row[USER_WIDTH:]), sessions, user_from_row(row[:USER_WIDTH]))


def _session(key: SessionKey) -> Loading[SessionAggregate]:
    if not storable(key.sid):
        return SessionAggregate(None, None)
    (rows,) = yield ((_SESSION, (key.sid,)),)
    if not rows:
        return SessionAggregate(None, None)
    (row,) = rows
    return SessionAggregate(session_from_row(row[USER_WIDTH:]), user_from_row(row[:USER_WIDTH]))


def _subject(key: SubjectKey) -> Loading[SubjectAggregate]:
    if not storable(key.subject):
        return SubjectAggregate(None, (), ())
    users, sessions, browsers = yield (
        (_USER, (key.subject,)),
        (_SESSIONS_OF, (key.subject,)),
        (_BROWSERS_OF, (key.subject,)),
    )
    return SubjectAggregate(
        user_from_row(users[0]) if users else None,
        tuple(map(session_from_row, sessions)),
        tuple(map(browser_from_row, browsers)),
    )


def _username(key: UsernameKey) -> Loading[SubjectAggregate]:
    if not storable(key.username):
        return SubjectAggregate(None, (), ())
    (rows,) = yield ((_USERNAME, (key.username.casefold(),)),)
    user = user_from_row(rows[0]) if rows else None
    if user is None:
        return SubjectAggregate(None, (), ())
    sessions, browsers = yield ((_SESSIONS_OF, (user.subject,)), (_BROWSERS_OF, (user.subject,)))
    return SubjectAggregate(user, tuple(map(session_from_row, sessions)), tuple(map(browser_from_row, browsers)))


def _client(key: ClientKey) -> Loading[ClientAggregate]:
    if not storable(key.client_id):
        return ClientAggregate(None)
    (rows,) = yield ((_CLIENT, (key.client_id,)),)
    return ClientAggregate(client_from_row(rows[0]) if rows else None)


def _clients(key: ClientsKey) -> Loading[Any]:
    (rows,) = yield ((_CLIENTS, ()),)
    return tuple(map(client_from_row, rows))


def _users(key: UsersKey) -> Loading[tuple[User, ...]]:
    after = key.after.casefold() if storable(key.after) else ""
    (rows,) = yield ((_USERS, (after, within_column(key.limit))),)
    return tuple([user for row in rows if (user := user_from_row(row)) is not None])


def _sessions(key: SessionsKey) -> Loading[Any]:
    limit = within_column(key.limit)
    if key.subject is None:
        (rows,) = yield ((_NEWEST, (limit,)),)
    elif storable(key.subject):
        (rows,) = yield ((_NEWEST_OF, (key.subject, limit)),)
    else:
        rows = []
    return tuple(map(session_from_row, rows))


def _login(key: LoginKey) -> Loading[Any]:
    (rows,) = yield ((_LOGIN, (key.id_digest,)),)
    return login_from_row(rows[0]) if rows else None


def _replay(key: ReplayKey) -> Loading[Any]:
    (rows,) = yield ((_REPLAY, (key.digest,)),)
    return replay_from_row(rows[0]) if rows else None


def _signing_keys(key: SigningKeysKey) -> Loading[Any]:
    (rows,) = yield ((_SIGNING_KEYS, ()),)
    return tuple(map(signing_key_from_row, rows))


def _feed(key: FeedKey) -> Loading[FeedSlice]:
    # The head first: without a snapshot around both, an entry that appears in between is returned beyond the
    # head, never hidden below it. One row more than asked for tells whether the slice was cut.
    limit = within_column(key.limit)
    heads, rows = yield (
        (_FEED_HEAD, ()),
        (_FEED, (within_column(key.after), within_column(key.live_at), within_column(limit + 1))),
    )
    ((epoch, head),) = heads
    entries = tuple([feed_entry_from_row(row, epoch=epoch) for row in rows[:limit]])
    if entries and (len(rows) > limit or entries[-1].n > head):
        head = entries[-1].n
    return FeedSlice(epoch=epoch, entries=entries, head=head)


def _audit(key: AuditKey) -> Loading[Any]:
    limit = within_column(key.limit)
    if key.subject is None:
        (rows,) = yield ((_AUDIT, (limit,)),)
    elif storable(key.subject):
        (rows,) = yield ((_AUDIT_OF, (key.subject, limit)),)
    else:
        rows = []
    return tuple(map(event_from_row, rows))


def _feed_size(key: FeedSizeKey) -> Loading[FeedSize]:
    (rows,) = yield ((_FEED_SIZE, (within_column(key.live_at),)),)
    ((epoch, head, live, kept, until),) = rows
    return FeedSize(epoch, head, live, kept, NumericDate(until or 0))


def _outbox(key: OutboxKey) -> Loading[OutboxAggregate]:
    notices, clients, streams = yield (
        (_NOTICES, (within_column(key.limit),)),
        (_TOLD_CLIENTS, ()),
        (_STREAMS, ()),
    )
    return OutboxAggregate(
        tuple(map(notice_from_row, notices)),
        tuple(map(client_from_row, clients)),
        tuple(map(stream_from_row, streams)),
    )


def _notice(key: NoticeKey) -> Loading[Any]:
    if not storable(key.sid):
        return None
    (rows,) = yield ((_NOTICE, (key.sid,)),)
    return notice_from_row(rows[0]) if rows else None


def _due(key: DueKey) -> Loading[Any]:
    (rows,) = yield ((_DUE, (within_column(key.now), within_column(key.limit))),)
    return tuple(map(delivery_from_row, rows))


def _delivery(key: DeliveryKey) -> Loading[Any]:
    if not storable(key.id):
        return None
    (rows,) = yield ((_DELIVERY, (key.id,)),)
    return delivery_from_row(rows[0]) if rows else None


def _pending(key: PendingKey) -> Loading[Any]:
    if not storable(key.receiver):
        return ()
    (rows,) = yield ((_PENDING, (key.receiver, within_column(key.limit))),)
    return tuple(map(delivery_from_row, rows))


def _stream(key: StreamKey) -> Loading[Any]:
    if not storable(key.stream_id):
        return None
    (rows,) = yield ((_STREAM, (key.stream_id,)),)
    return stream_from_row(rows[0]) if rows else None


def _streams(key: StreamsKey) -> Loading[Any]:
    if key.client_id is None:
        (rows,) = yield ((_STREAMS, ()),)
    elif storable(key.client_id):
        (rows,) = yield ((_STREAMS_OF, (key.client_id,)),)
    else:
        rows = []
    return tuple(map(stream_from_row, rows))


def _counter(key: CounterKey) -> Loading[int]:
    (rows,) = yield ((_COUNTER, (key.name,)),)
    return int(rows[0][1]) if rows else 0


def _consent(key: ConsentKey) -> Loading[Any]:
    (rows,) = yield ((_CONSENT, (key.id_digest,)),)
    return consent_from_row(rows[0]) if rows else None


def _linked(key: LinkedKey) -> Loading[Any]:
    (rows,) = yield ((_LINKED, (key.id_digest,)),)
    return linked_from_row(rows[0]) if rows else None


def _linked_of(key: LinkedIdentitiesKey) -> Loading[Any]:
    if not storable(key.subject):
        return ()
    (rows,) = yield ((_LINKED_OF, (key.subject,)),)
    return tuple(map(linked_from_row, rows))


def _vouched_session(key: VouchedSessionKey) -> Loading[Any]:
    (rows,) = yield ((_BROWSERS_BY_VOUCHED, (key.digest,)),)
    return tuple(map(browser_from_row, rows))


def _consents(key: ConsentsKey) -> Loading[Any]:
    if not storable(key.subject):
        return ()
    (rows,) = yield ((_CONSENTS, (key.subject,)),)
    return tuple(map(consent_from_row, rows))


def _ended_indexes(key: EndedIndexesKey) -> Loading[Any]:
    first = within_column(key.first)
    (rows,) = yield ((_ENDED_INDEXES, (first, within_column(first + key.size))),)
    return tuple([index for (index,) in rows])


LOADERS: Final[dict[type[Any], Callable[[Any], Loading[Any]]]] = {
    FamilyKey: _family,
    CodeKey: _code,
    BrowserKey: _browser,
    SessionKey: _session,
    SubjectKey: _subject,
    UsernameKey: _username,
    ClientKey: _client,
    ClientsKey: _clients,
    UsersKey: _users,
    SessionsKey: _sessions,
    LoginKey: _login,
    ReplayKey: _replay,
    SigningKeysKey: _signing_keys,
    FeedKey: _feed,
    AuditKey: _audit,
    FeedSizeKey: _feed_size,
    OutboxKey: _outbox,
    NoticeKey: _notice,
    DueKey: _due,
    DeliveryKey: _delivery,
    PendingKey: _pending,
    StreamKey: _stream,
    StreamsKey: _streams,
    CounterKey: _counter,
    ConsentKey: _consent,
    ConsentsKey: _consents,
    LinkedKey: _linked,
    LinkedIdentitiesKey: _linked_of,
    VouchedSessionKey: _vouched_session,
    EndedIndexesKey: _ended_indexes,
}

TOGETHER: Final = {
    _FAMILY: _joined("SELECT", _OF_FAMILIES, "f.id = ANY(?)"),
    _CLIENT: CLIENTS.select("WHERE t.client_id = ANY(?)"),
    _LOGIN: LOGIN_TRANSACTIONS.select("WHERE t.id_digest = ANY(?)"),
    _REPLAY: REPLAY_MARKS.select("WHERE t.digest = ANY(?)"),
}
"""Statements by one key, and the same by a list of keys, for databases that have lists. Rows begin with their key."""
ONE_STATEMENT: Final = frozenset({FamilyKey, SessionKey, ClientKey, LoginKey, ReplayKey, SigningKeysKey})
"""Aggregates that are one statement: read alone it is its own snapshot."""
LONG: Final = frozenset(
    {ClientsKey, UsersKey, SessionsKey, FeedKey, AuditKey, FeedSizeKey, OutboxKey, DueKey, PendingKey, EndedIndexesKey}
)
"""Lists: possibly long, so not read on the event loop's own connection."""
