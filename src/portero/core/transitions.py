"""Load, decide, commit as one step: what decisions see (aggregates), and what they write.

A decision is a pure function `aggregate → Decision`. The store loads the aggregate that a
key names, runs the function inside its own transaction, applies the writes and returns the
result; after a conflict it may run the function again. Single use, one live branch and
"the feed entry stands in the transaction that caused it" follow from that one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from portero.core.consent import Consent, consent_digest
from portero.core.events import Event
from portero.core.linked import LinkedIdentity, linked_digest
from portero.core.outbox_records import Counter, Delivery, EventStream, Notice
from portero.core.quick import quick
from portero.core.revocation.entry import FeedEntry, Revocation
from portero.core.sessions.records import BrowserSession, DeviceSession, Family
from portero.core.types import ClientId, Digest, FamilyId, Kid, NumericDate, Sid, Subject

A_co = TypeVar("A_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)

_NEVER = NumericDate(0)


# ── records that are not part of a sign-in ───────────────────────────────────────────


class ClientType(Enum):
    """RFC 6749 §2.1."""

    PUBLIC = "public"
    CONFIDENTIAL = "confidential"


class RefreshProfile(Enum):
    """What a public client's registration says of its refreshes (a confidential client is always bound)."""

    ATTEMPT = "attempt"
    PLAIN = "plain"


class RotationPolicy(Enum):
    """When a refresh token is replaced. `NEAR_END` only where the token is bound to a credential or key."""

    ALWAYS = "always"
    NEAR_END = "near_end"


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client (RFC 6749 §2, RFC 7591 names)."""

    client_id: ClientId
    client_name: str
    client_type: ClientType
    token_endpoint_auth_method: str
    """`none`, `client_secret_basic`, `client_secret_post` or `private_key_jwt`."""
    secret_digest: Digest | None
    """SHA-256 of the 256-bit secret Portero generated; `None` for `none` and `private_key_jwt`."""
    redirect_uris: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scope: tuple[str, ...]
    """Scopes it may ask for."""
    audiences: tuple[str, ...]
    """Resource indicators its access tokens may carry; all of them when it names none."""
    refresh_profile: RefreshProfile
    rotation: RotationPolicy
    require_pkce: bool
    first_party: bool
    allowed_origins: tuple[str, ...] = ()
    """Browser origins that may call the token and revocation endpoints (CORS)."""
    jwks: str | None = None
    """The client's JWK Set as JSON, for `private_key_jwt`."""
    backchannel_logout_uri: str | None = None
    enabled: bool = True
    created: NumericDate = _NEVER
    dpop_bound_access_tokens: bool = False
    """Every token request of this client carries a DPoP proof (RFC 9449 §5.2)."""
    direct_sign_in: bool = False
    """It may ask for name and password itself (the authorization challenge endpoint). First-party clients only."""


@quick
@dataclass(frozen=True, slots=True)
class User:
    """A person who can sign in."""

    subject: Subject
    username: str
    """As typed; looked up case-folded."""
    password_hash: str | None
    """argon2id, PHC string format."""
    name: str
    email: str
    roles: tuple[str, ...]
    locale: str = ""
    enabled: bool = True
    created: NumericDate = _NEVER


@dataclass(frozen=True, slots=True)
class LoginTransaction:
    """An authorization request waiting for its person, bound to the browser that began it by a cookie."""

    id_digest: Digest
    """SHA-256 of the transaction cookie's value."""
    request: str
    """The validated authorization request, as JSON."""
    created: NumericDate
    expires: NumericDate


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """A code: single use, bound to client, redirect URI and challenge (RFC 6749 §4.1.2, RFC 7636 §4.4)."""

    code_digest: Digest
    client_id: ClientId
    redirect_uri: str
    code_challenge: str | None
    nonce: str | None
    scope: tuple[str, ...]
    resource: tuple[str, ...]
    subject: Subject
    browser_session: Digest
    device_name: str
    place: str
    auth_time: NumericDate
    acr: str
    amr: tuple[str, ...]
    created: NumericDate
    expires: NumericDate
    claims: str | None = None
    """The `claims` request parameter (OIDC Core §5.5), as JSON."""
    dpop_jkt: str | None = None
    used: NumericDate | None = None
    sid: Sid | None = None
    """The device session the first use opened or joined, so that a second use can end it."""
    vouched: str | None = None
    """What the party that vouched said, for tokens: a JSON object of claims."""


@dataclass(frozen=True, slots=True)
class ReplayMark:
    """A value that may be seen once until `expires`: a client assertion's or a DPoP proof's `jti`."""

    digest: Digest
    """SHA-256 over the namespace, a zero byte, and the value."""
    expires: NumericDate


class SigningKeyStatus(Enum):
    """The life of a signing key: published before it signs, kept until its last token has expired."""

    PUBLISHED = "published"
    SIGNING = "signing"
    RETIRED = "retired"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing key as stored. The private part is sealed under the key-encryption key from the first migration on."""

    kid: Kid
    alg: str
    public_jwk: str
    sealed_private: bytes
    status: SigningKeyStatus
    created: NumericDate
    signs_from: NumericDate
    retires: NumericDate | None = None
    remove_after: NumericDate | None = None


Record = (
    BrowserSession
    | DeviceSession
    | Family
    | Client
    | User
    | LoginTransaction
    | AuthorizationCode
    | ReplayMark
    | SigningKey
    | Delivery
    | EventStream
    | Counter
    | Consent
    | LinkedIdentity
)


# ── what a decision writes ───────────────────────────────────────────────────────────


@quick
@dataclass(frozen=True, slots=True)
class Put:
    """Insert the record, or replace the one with its key."""

    record: Record


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the one record the key names, not its aggregate (a no-op where it is gone already).

    A browser session, a login transaction or a family that is over is simply removed.
    """

    key: (
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


@dataclass(frozen=True, slots=True)
class Revoke:
    """Append to the revocation feed, in this very transaction."""

    revocation: Revocation


@dataclass(frozen=True, slots=True)
class Notify:
    """Remember, in this very transaction, that somebody is to be told.

    Kept only where somebody is: the notice's client is enabled and has a `backchannel_logout_uri`, or there is
    any event stream. A second one of the same session changes nothing.
    """

    notice: Notice


@dataclass(frozen=True, slots=True)
class Audit:
    """Append to the audit trail, in this very transaction."""

    event: Event


@dataclass(frozen=True, slots=True)
class RenewEpoch:
    """Begin another life of the database: every follower of the feed takes a new snapshot (after a restore)."""

    epoch: str
    """Made by `core.revocation.epoch.restored_epoch`."""


Write = Put | Delete | Revoke | Notify | Audit | RenewEpoch


@quick
@dataclass(frozen=True, slots=True)
class Decision(Generic[R_co]):
    """The writes to commit together, the value to return, and what to count once it is committed."""

    result: R_co
    writes: tuple[Write, ...] = ()
    events: tuple[Event, ...] = ()


def signed(decision: Decision[R_co], *, by: str) -> Decision[R_co]:
    """Return the decision with somebody's name in all it tells the audit trail."""
    more = {"by": by}
    writes = tuple(
        Audit(write.event.with_fields(more)) if isinstance(write, Audit) else write for write in decision.writes
    )
    return Decision(decision.result, writes, tuple(event.with_fields(more) for event in decision.events))


# ── keys: what a decision is about; each names the aggregate it loads ────────────────


class Key(Generic[A_co]):
    """Names an aggregate. The closed list is below; a store matches on it."""

    __slots__ = ()


@quick
@dataclass(frozen=True, slots=True)
class FamilyAggregate:
    """One refresh: the family, its device session and the person. Serialized per device session."""

    family: Family | None
    session: DeviceSession | None
    user: User | None
    """`None` where the session's subject is no person (a client acting for itself)."""


@dataclass(frozen=True, slots=True)
class FamilyKey(Key[FamilyAggregate]):
    family_id: FamilyId


@dataclass(frozen=True, slots=True)
class CodeAggregate:
    """One code exchange: the code, its browser session, the device session it would join, and its families."""

    code: AuthorizationCode | None
    browser: BrowserSession | None
    session: DeviceSession | None
    """The live device session of that browser session and client; for a used code the one it opened, live or not."""
    families: tuple[Family, ...]
    """Live families of `session`, oldest first."""
    user: User | None


@dataclass(frozen=True, slots=True)
class CodeKey(Key[CodeAggregate]):
    code_digest: Digest


@dataclass(frozen=True, slots=True)
class BrowserAggregate:
    """A sign-in and the device sessions under it (live ones)."""

    browser: BrowserSession | None
    sessions: tuple[DeviceSession, ...]
    user: User | None


@dataclass(frozen=True, slots=True)
class BrowserKey(Key[BrowserAggregate]):
    id_digest: Digest


@dataclass(frozen=True, slots=True)
class SessionAggregate:
    session: DeviceSession | None
    user: User | None


@dataclass(frozen=True, slots=True)
class SessionKey(Key[SessionAggregate]):
    sid: Sid


@dataclass(frozen=True, slots=True)
class SubjectAggregate:
    """Everything of one person that is live."""

    user: User | None
    sessions: tuple[DeviceSession, ...]
    browsers: tuple[BrowserSession, ...]


@dataclass(frozen=True, slots=True)
class SubjectKey(Key[SubjectAggregate]):
    subject: Subject


@dataclass(frozen=True, slots=True)
class UsernameKey(Key[SubjectAggregate]):
    username: str


@dataclass(frozen=True, slots=True)
class ClientAggregate:
    client: Client | None


@dataclass(frozen=True, slots=True)
class ClientKey(Key[ClientAggregate]):
    client_id: ClientId


@dataclass(frozen=True, slots=True)
class ClientsKey(Key[tuple[Client, ...]]):
    """All registered clients, by `client_id`."""


@dataclass(frozen=True, slots=True)
class UsersKey(Key[tuple[User, ...]]):
    """All users, by username. For operators."""

    after: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SessionsKey(Key[tuple[DeviceSession, ...]]):
    """Live device sessions, newest use first. For operators."""

    subject: Subject | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class LoginKey(Key["LoginTransaction | None"]):
    id_digest: Digest


@dataclass(frozen=True, slots=True)
class ReplayKey(Key["ReplayMark | None"]):
    digest: Digest


@dataclass(frozen=True, slots=True)
class SigningKeysKey(Key[tuple[SigningKey, ...]]):
    """All signing keys that are not removed, oldest first."""


@dataclass(frozen=True, slots=True)
class FeedSlice:
    """Part of the feed, in order of `n`."""

    epoch: str
    entries: tuple[FeedEntry, ...]
    head: int
    """The highest `n` a subscriber may now take as its cursor: no lower one can appear later."""


@dataclass(frozen=True, slots=True)
class FeedKey(Key[FeedSlice]):
    """Feed entries with `n > after` whose `until` is later than `live_at`, at most `limit`."""

    after: int
    live_at: NumericDate
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class AuditKey(Key[tuple[Event, ...]]):
    """The newest audit events, newest first."""

    subject: Subject | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class FeedSize:
    """How large the feed is."""

    epoch: str
    head: int
    live: int
    """Entries that still matter."""
    stored: int
    """Those and the ones that wait to be removed."""
    until: NumericDate
    """The latest `until` of all."""


@dataclass(frozen=True, slots=True)
class FeedSizeKey(Key[FeedSize]):
    """The feed's size, counted. For operators."""

    live_at: NumericDate


# ── what people allowed ──────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ConsentKey(Key["Consent | None"]):
    subject: Subject
    client_id: ClientId

    @property
    def id_digest(self) -> Digest:
        """What the agreement is stored under."""
        return consent_digest(self.subject, self.client_id)


@dataclass(frozen=True, slots=True)
class LinkedKey(Key["LinkedIdentity | None"]):
    """Whom an identity elsewhere is linked to."""

    provider: str
    external: str

    @property
    def id_digest(self) -> Digest:
        """What it is stored under."""
        return linked_digest(self.provider, self.external)


@dataclass(frozen=True, slots=True)
class LinkedIdentitiesKey(Key[tuple[LinkedIdentity, ...]]):
    """All identities elsewhere of one person, by provider."""

    subject: Subject


@dataclass(frozen=True, slots=True)
class VouchedSessionKey(Key[tuple[BrowserSession, ...]]):
    """The browser sessions that one session at another party vouched for. For reading: they change by `SubjectKey`."""

    provider: str
    session: str

    @property
    def digest(self) -> Digest:
        """What they are found by."""
        return linked_digest(self.provider, self.session)


@dataclass(frozen=True, slots=True)
class ConsentsKey(Key[tuple[Consent, ...]]):
    """All that a person allowed, by `client_id`."""

    subject: Subject


# ── what still has to be told to others ──────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OutboxAggregate:
    """Notices, oldest first, and whoever may want to be told of them."""

    notices: tuple[Notice, ...]
    clients: tuple[Client, ...]
    """Those that have a `backchannel_logout_uri`."""
    streams: tuple[EventStream, ...]


@dataclass(frozen=True, slots=True)
class OutboxKey(Key[OutboxAggregate]):
    """At most `limit` notices."""

    limit: int = 100


@dataclass(frozen=True, slots=True)
class NoticeKey(Key["Notice | None"]):
    """Names a notice for `Delete`."""

    sid: Sid


@dataclass(frozen=True, slots=True)
class DueKey(Key[tuple[Delivery, ...]]):
    """Deliveries whose `due` is not after `now`, the longest due first. Serialized: who takes them up is alone."""

    now: NumericDate
    limit: int = 100


@dataclass(frozen=True, slots=True)
class DeliveryKey(Key["Delivery | None"]):
    id: str


@dataclass(frozen=True, slots=True)
class PendingKey(Key[tuple[Delivery, ...]]):
    """Deliveries of one receiver, oldest first."""

    receiver: str
    limit: int = 100


@dataclass(frozen=True, slots=True)
class StreamKey(Key["EventStream | None"]):
    stream_id: str


@dataclass(frozen=True, slots=True)
class StreamsKey(Key[tuple[EventStream, ...]]):
    """The event streams of a client, or all, by `stream_id`. Serialized by client."""

    client_id: ClientId | None = None


# ── the status list ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class CounterKey(Key[int]):
    """A counter's value, 0 where it has not begun."""

    name: str


@dataclass(frozen=True, slots=True)
class EndedIndexesKey(Key[tuple[int, ...]]):
    """The `status_index` of every ended device session from `first` on, `size` numbers, in order."""

    first: int
    size: int
