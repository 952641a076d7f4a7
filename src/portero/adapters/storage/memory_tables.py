"""The records of the in-memory store, and the aggregates read from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any

from portero.adapters.storage.identity import Deletable, Identity, identity_named, identity_of
from portero.core.outbox_records import Notice
from portero.core.sessions.records import BrowserSession, DeviceSession, Family, SessionStatus
from portero.core.transitions import (
    AuthorizationCode,
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
    Key,
    LinkedIdentitiesKey,
    LinkedKey,
    LoginKey,
    NoticeKey,
    OutboxAggregate,
    OutboxKey,
    PendingKey,
    Put,
    Record,
    ReplayKey,
    SessionAggregate,
    SessionKey,
    SessionsKey,
    SigningKeysKey,
    SigningKeyStatus,
    StreamKey,
    StreamsKey,
    SubjectAggregate,
    SubjectKey,
    User,
    UsernameKey,
    UsersKey,
    VouchedSessionKey,
    Write,
)
from portero.core.types import Subject
from portero.core.vouched import session_digest_of


class Tables:
    """Every record by identity, with the indexes that aggregates need. Not safe without the store's lock."""

    def __init__(self) -> None:
        self._records: dict[str, dict[Hashable, Any]] = defaultdict(dict)
        self._children: dict[Identity, set[Identity]] = defaultdict(set)
        self._usernames: dict[str, Subject] = {}

    def get(self, identity: Any) -> Record | None:
        table, key = identity
        found: Record | None = self._records[table].get(key)
        return found

    def check(self, writes: tuple[Write, ...]) -> None:
        """Refuse what a database's constraints would refuse, before anything is written.

        Raises:
            ValueError: a family without its device session, or a user name that is taken.
        """
        put = [w.record for w in writes if isinstance(w, Put)]
        new_sessions = {r.sid for r in put if isinstance(r, DeviceSession)}
        for record in put:
            if (
                isinstance(record, Family)
                and record.sid not in new_sessions
                and record.sid not in self._records["session"]
            ):
                raise ValueError("a family needs its device session")
            if isinstance(record, User) and (
                self._usernames.get(record.username.casefold(), record.subject) != record.subject
            ):
                raise ValueError("the user name is taken")

    def put(self, record: Record) -> None:
        identity = identity_of(record)
        old = self.get(identity)
        if old is not None:
            self._unlink(old, identity)
        self._records[identity[0]][identity[1]] = record
        for parent in _parents(record):
            self._children[parent].add(identity)
        if isinstance(record, User):
            self._usernames[record.username.casefold()] = record.subject

    def notify(self, notice: Notice) -> None:
        """Keep a notice where somebody is to be told."""
        client = self._records["client"].get(notice.client_id)
        wanted = client is not None and client.enabled and client.backchannel_logout_uri is not None
        if wanted or self._records["stream"]:
            self._records["notice"].setdefault(notice.sid, notice)

    def delete(self, key: Deletable) -> None:
        self.remove(identity_named(key))

    def remove(self, identity: Any) -> None:
        """Remove one record, and with a device session its families. A no-op where it is gone."""
        if identity[0] == "notice":
            self._records["notice"].pop(identity[1], None)
            return
        record = self._records[identity[0]].pop(identity[1], None)
        if record is None:
            return
        self._unlink(record, identity)
        if isinstance(record, DeviceSession):
            for family in list(self._children[identity]):
                self.remove(family)

    def _unlink(self, record: Record, identity: Identity) -> None:
        for parent in _parents(record):
            self._children[parent].discard(identity)
        if isinstance(record, User):
            self._usernames.pop(record.username.casefold(), None)

    def load(self, key: Key[Any]) -> Any:
        """The aggregate that `key` names."""
        match key:
            case FamilyKey():
                family = self._records["family"].get(key.family_id)
                session = self._records["session"].get(family.sid) if family else None
                return FamilyAggregate(family, session, self._user(session))
            case CodeKey():
                return self._code(key)
            case BrowserKey():
                browser = self._records["browser"].get(key.id_digest)
                sessions = self._live_sessions(("browser", key.id_digest))
                return BrowserAggregate(browser, sessions, self._user(browser))
            case SessionKey():
                session = self._records["session"].get(key.sid)
                return SessionAggregate(session, self._user(session))
            case SubjectKey():
                return self._subject(key.subject)
            case UsernameKey():
                subject = self._usernames.get(key.username.casefold())
                return self._subject(subject) if subject is not None else SubjectAggregate(None, (), ())
            case ClientKey():
                return ClientAggregate(self._records["client"].get(key.client_id))
            case ClientsKey():
                return tuple(sorted(self._records["client"].values(), key=lambda c: c.client_id))
            case UsersKey():
                after = key.after.casefold()
                users = [u for u in self._records["user"].values() if u.username.casefold() > after]
                return tuple(sorted(users, key=lambda u: u.username.casefold())[: key.limit])
            case SessionsKey():
                return self._sessions(key)
            case LoginKey():
                return self._records["login"].get(key.id_digest)
            case ReplayKey():
                return self._records["replay"].get(key.digest)
            case SigningKeysKey():
                kept = (k for k in self._records["signing_key"].values() if k.status is not SigningKeyStatus.REMOVED)
                return tuple(sorted(kept, key=lambda k: (k.created, k.kid)))
            case OutboxKey() | NoticeKey() | DueKey() | DeliveryKey() | PendingKey() | StreamKey() | StreamsKey():
                return self._told(key)
            case CounterKey():
                counter = self._records["counter"].get(key.name)
                return 0 if counter is None else counter.value
            case ConsentKey():
                return self._records["consent"].get(key.id_digest)
            case LinkedKey():
                return self._records["linked"].get(key.id_digest)
            case LinkedIdentitiesKey():
                of_person = (one for one in self._records["linked"].values() if one.subject == key.subject)
                return tuple(sorted(of_person, key=lambda one: (one.provider, one.external)))
            case VouchedSessionKey():
                found = (b for b in self._records["browser"].values() if session_digest_of(b.vouched) == key.digest)
                return tuple(sorted(found, key=lambda b: (b.auth_time, b.id_digest)))
            case ConsentsKey():
                mine = (c for c in self._records["consent"].values() if c.subject == key.subject)
                return tuple(sorted(mine, key=lambda c: c.client_id))
            case EndedIndexesKey():
                ended = (s for s in self._records["session"].values() if s.status is SessionStatus.ENDED)
                indexes = (s.status_index for s in ended if s.status_index is not None)
                return tuple(sorted(i for i in indexes if key.first <= i < key.first + key.size))
            case _:
                raise TypeError(f"no aggregate is named by {type(key).__name__}")

    def _told(self, key: Key[Any]) -> Any:
        deliveries = self._records["delivery"]
        match key:
            case OutboxKey():
                notices = sorted(self._records["notice"].values(), key=lambda n: (n.at, n.sid))[: key.limit]
                clients = (c for c in self._records["client"].values() if c.backchannel_logout_uri is not None)
                streams = self._told(StreamsKey())
                return OutboxAggregate(tuple(notices), tuple(sorted(clients, key=lambda c: c.client_id)), streams)
            case NoticeKey():
                return self._records["notice"].get(key.sid)
            case DueKey():
                due = (d for d in deliveries.values() if d.due <= key.now)
                return tuple(sorted(due, key=lambda d: d.due)[: key.limit])
            case DeliveryKey():
                return deliveries.get(key.id)
            case PendingKey():
                pending = (d for d in deliveries.values() if d.receiver == key.receiver)
                return tuple(sorted(pending, key=lambda d: (d.created, d.id))[: key.limit])
            case StreamKey():
                return self._records["stream"].get(key.stream_id)
            case StreamsKey():
                streams = self._records["stream"].values()
                mine = (s for s in streams if key.client_id is None or s.client_id == key.client_id)
                return tuple(sorted(mine, key=lambda s: s.stream_id))
            case _:
                raise AssertionError(key)

    def _code(self, key: CodeKey) -> CodeAggregate:
        code: AuthorizationCode | None = self._records["code"].get(key.code_digest)
        if code is None:
            return CodeAggregate(None, None, None, (), None)
        if code.sid is not None:
            session = self._records["session"].get(code.sid)
        else:
            under = self._live_sessions(("browser", code.browser_session))
            session = next((s for s in reversed(under) if s.client_id == code.client_id), None)
        families: tuple[Family, ...] = ()
        if session is not None:
            found = self._all("family", self._children[("session", session.sid)])
            live = (f for f in found if f.status is SessionStatus.ACTIVE)
            families = tuple(sorted(live, key=lambda f: (f.created, f.id)))
        browser = self._records["browser"].get(code.browser_session)
        return CodeAggregate(code, browser, session, families, self._records["user"].get(code.subject))

    def _subject(self, subject: Subject) -> SubjectAggregate:
        browsers = self._all("browser", self._children[("user", subject)])
        return SubjectAggregate(
            self._records["user"].get(subject),
            self._live_sessions(("user", subject)),
            tuple(sorted(browsers, key=lambda b: (b.auth_time, b.id_digest))),
        )

    def _sessions(self, key: SessionsKey) -> tuple[DeviceSession, ...]:
        if key.subject is not None:
            sessions: Iterable[DeviceSession] = self._live_sessions(("user", key.subject))
        else:
            sessions = (s for s in self._records["session"].values() if s.status is SessionStatus.ACTIVE)
        ordered = sorted(sorted(sessions, key=lambda s: s.sid), key=lambda s: s.last_seen, reverse=True)
        return tuple(ordered[: key.limit])

    def _user(self, owner: BrowserSession | DeviceSession | None) -> User | None:
        return self._records["user"].get(owner.subject) if owner is not None else None

    def _live_sessions(self, parent: Identity) -> tuple[DeviceSession, ...]:
        live = (s for s in self._all("session", self._children[parent]) if s.status is SessionStatus.ACTIVE)
        return tuple(sorted(live, key=lambda s: (s.created, s.sid)))

    def _all(self, table: str, identities: Iterable[Identity]) -> list[Any]:
        return [self._records[table][key] for kind, key in identities if kind == table]


def _parents(record: Record) -> tuple[Identity, ...]:
    """What an aggregate finds the record under."""
    match record:
        case DeviceSession(browser_session=None):
            return (("user", record.subject),)
        case DeviceSession():
            return (("user", record.subject), ("browser", record.browser_session))
        case BrowserSession():
            return (("user", record.subject),)
        case Family():
            return (("session", record.sid),)
        case _:
            return ()
