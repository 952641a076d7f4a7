"""The records of a sign-in: browser session ⊃ device session ⊃ family ⊃ refresh token.

What a store keeps, and what the decisions of `core.sessions` and `core.grants` read and
write. Frozen: a change is a new value (`dataclasses.replace`). All times are
`NumericDate`; all secrets are digests. Constant size per record: a family holds its
HEAD, the HEAD's parent and a ring of the last 16 generations, whatever its age.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from portero.core.quick import quick
from portero.core.sessions.ring import Ring
from portero.core.types import ClientId, Digest, FamilyId, NumericDate, Sid, Subject


class Profile(Enum):
    """Who may retry a refresh, fixed when a family starts."""

    BOUND = "bound"
    """A: confidential client, or DPoP-bound. The same credential proves a retry."""
    ATTEMPT = "attempt"
    """B: public bearer client that sends `refresh_attempt`. The same attempt proves a retry."""
    PLAIN = "plain"
    """C: public bearer client without attempts. Only time speaks for a retry."""


class SessionStatus(Enum):
    """A session or family is live until it is ended; the absolute and idle end are times, not states."""

    ACTIVE = "active"
    ENDED = "ended"


class EndReason(Enum):
    """Why a session or family ended. What a client is told is `expired`, `revoked` or `reused`."""

    SIGNED_OUT = "signed_out"
    DEVICE_ENDED = "device_ended"
    SIGNED_OUT_EVERYWHERE = "signed_out_everywhere"
    TOKEN_REVOKED = "token_revoked"
    REFRESH_REUSED = "refresh_reused"
    CODE_REUSED = "code_reused"
    OPERATOR = "operator"
    PASSWORD_CHANGED = "password_changed"
    USER_DISABLED = "user_disabled"
    CLIENT_DISABLED = "client_disabled"
    FAMILY_LIMIT = "family_limit"
    CONSENT_WITHDRAWN = "consent_withdrawn"


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """The sign-in at the authorization server: what its cookie names. Ended means removed."""

    id_digest: Digest
    subject: Subject
    auth_time: NumericDate
    acr: str
    amr: tuple[str, ...]
    ends: NumericDate
    device: str
    """The browser and system, from the user agent: "Firefox · Linux"."""
    vouched: str | None = None
    """What the party that vouched said: a JSON object (`core.vouched`). None: this server's own password."""


@quick
@dataclass(frozen=True, slots=True)
class DeviceSession:
    """One browser session × one client; the `sid` of access tokens; what a person sees as a device."""

    sid: Sid
    browser_session: Digest | None
    """`None`: a grant without a browser opened it."""
    subject: Subject
    client_id: ClientId
    device_name: str
    place: str
    """Coarse place of use, such as a network prefix; never a full address. May be empty."""
    created: NumericDate
    last_seen: NumericDate
    last_access_exp: NumericDate
    """The latest `exp` of any access token of this session: how long a revocation of it matters."""
    absolute_end: NumericDate
    """Never moves."""
    idle_end: NumericDate
    """Moves with each success, never past `absolute_end`."""
    status: SessionStatus = SessionStatus.ACTIVE
    end_reason: EndReason | None = None
    status_index: int | None = None
    """Its place in the issuer's status lists, of no other session ever; `None`: it has none."""


@quick
@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A refresh token as stored: the HEAD of a family, or the HEAD's parent."""

    digest: Digest
    """SHA-256 of the token's 32 secret bytes."""
    generation: int
    issued: NumericDate
    expires: NumericDate
    first_used: NumericDate | None = None
    """When it was first presented and rotated."""
    attempt_digest: Digest | None = None
    """SHA-256 of the `refresh_attempt` of that first use."""
    successor_box: bytes | None = None
    """The successor's secret, sealed under a key derived from this secret; erased when the successor is seen."""
    retries: int = 0
    """How often the same successor was handed out again."""


FAMILIES_PER_SESSION = 10
"""Live families per device session; starting one more ends the oldest."""


@quick
@dataclass(frozen=True, slots=True)
class Family:
    """One chain of refresh tokens, started by one grant. At most one branch is ever live."""

    id: FamilyId
    sid: Sid
    client_id: ClientId
    scope: tuple[str, ...]
    resource: tuple[str, ...]
    """The audiences (RFC 8707) its access tokens may carry."""
    cnf_jkt: str | None
    """JWK thumbprint (RFC 7638) of the DPoP key, when bound."""
    profile: Profile
    acr: str
    amr: tuple[str, ...]
    auth_time: NumericDate | None
    created: NumericDate
    head: TokenRecord
    parent: TokenRecord | None = None
    ring: Ring = Ring()  # noqa: RUF009 - frozen
    """Newest first, at most `RING_SIZE` generations."""
    sharing_run: int = 0
    """Profile C: successive generations that saw a retry; three count as sharing."""
    status: SessionStatus = SessionStatus.ACTIVE
    end_reason: EndReason | None = None
    vouched: str | None = None
    """Claims of its tokens that another party vouched for, as a JSON object."""
