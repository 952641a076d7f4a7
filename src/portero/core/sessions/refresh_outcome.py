"""What goes into a refresh and what comes out: a closed union, so that no outcome is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from portero.core.quick import quick
from portero.core.sessions.records import DeviceSession, EndReason, Family
from portero.core.sessions.refresh_table import Proof, Standing
from portero.core.tokens.refresh_token import RefreshToken
from portero.core.transitions import User
from portero.core.types import ClientId, Digest, Jti, NumericDate

# ── what goes in ─────────────────────────────────────────────────────────────────────


@quick
@dataclass(frozen=True, slots=True)
class Presented:
    """An authentic refresh token and what came with it, the client already authenticated."""

    token: RefreshToken
    client_id: ClientId
    cnf_jkt: str | None = None
    """Thumbprint of the key whose DPoP proof came with the request and was found good."""
    attempt_digest: Digest | None = None
    """SHA-256 of `refresh_attempt`."""
    scope: tuple[str, ...] | None = None
    """None: not narrowed."""
    resource: tuple[str, ...] = ()
    """Empty: not narrowed."""
    place: str | None = None
    """Coarse place of use, where the request comes from the person's own device; None: unknown."""


# ── what comes out ───────────────────────────────────────────────────────────────────


@quick
@dataclass(frozen=True, slots=True)
class Success:
    """What every granted refresh says. Durations are whole seconds from now."""

    session: DeviceSession
    family: Family
    user: User | None
    refresh_token: RefreshToken | None
    """What to send; None: the presented one goes on (RFC 6749 §6)."""
    scope: tuple[str, ...]
    audience: tuple[str, ...]
    cnf_jkt: str | None
    jti: Jti
    iat: NumericDate
    exp: NumericDate
    refresh_after: int
    refresh_token_expires_in: int
    session_expires_in: int


@quick
@dataclass(frozen=True, slots=True)
class Rotated(Success):
    """A successor was made."""


@quick
@dataclass(frozen=True, slots=True)
class Unchanged(Success):
    """The presented token goes on."""


@quick
@dataclass(frozen=True, slots=True)
class Retried(Success):
    """The same successor was handed out again."""


@dataclass(frozen=True, slots=True)
class SoftDenied:
    """Somebody was faster: `superseded`. The client reads its storage again."""

    standing: Standing
    proof: Proof


@dataclass(frozen=True, slots=True)
class Reused:
    """A spent token came from somebody who cannot prove it was theirs; the session was ended."""

    session: DeviceSession
    end_reason: EndReason


class Refusal(Enum):
    """Why a refresh was refused, with what the wire says: `error`, description, `error_reason`."""

    UNKNOWN = ("invalid_grant", "the session is over", "expired")
    """Ours by its tag, but the family was swept: it ended or expired before."""
    OTHER_CLIENT = ("invalid_grant", "the refresh token is not valid", None)
    OTHER_KEY = ("invalid_grant", "the refresh token is bound to another key", None)
    REUSED_BEFORE = ("invalid_grant", "the session was ended because its refresh token was used twice", "reused")
    REVOKED = ("invalid_grant", "the session was ended", "revoked")
    EXPIRED = ("invalid_grant", "the session has expired", "expired")
    ATTEMPT_MISSING = ("invalid_request", "refresh_attempt is required of this client", None)
    SCOPE = ("invalid_scope", "the scope exceeds what was granted", None)
    TARGET = ("invalid_target", "the resource is not one of this grant", None)
    USER_INACTIVE = ("invalid_grant", "the account is not active", "revoked")
    TOKEN_EXPIRED = ("invalid_grant", "the refresh token has expired", "expired")
    AHEAD = ("invalid_grant", "the refresh token is not known here any more", "revoked")

    def __init__(self, error: str, description: str, reason: str | None) -> None:
        self.error = error
        self.description = description
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed."""

    refusal: Refusal


RefreshOutcome = Rotated | Unchanged | Retried | SoftDenied | Reused | Refused
