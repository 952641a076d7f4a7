"""What a grant allows: one value for all grant types, which the token endpoint renders (RFC 6749 §5.1).

`iat` and `exp` are fixed inside the transition that allows the token, so that the device session knows how
long a revocation of it will matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portero.core.errors import RequestError
from portero.core.quick import quick
from portero.core.transitions import Client, User
from portero.core.types import ClientId, Jti, NumericDate, Secret, Sid, Subject


@quick
@dataclass(frozen=True, slots=True)
class Grant:
    """An access token to issue, and what goes with it. Durations are whole seconds from `iat`."""

    subject: Subject
    client_id: ClientId
    scope: tuple[str, ...]
    audience: tuple[str, ...]
    """Never empty (RFC 9068 §2.2 requires `aud`)."""
    jti: Jti
    iat: NumericDate
    exp: NumericDate
    sid: Sid | None = None
    """None: a client acting for itself has no session."""
    auth_time: NumericDate | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    cnf_jkt: str | None = None
    """The key the access token is bound to (RFC 9449 §6.1); None: a bearer token."""
    refresh_token: Secret[str] | None = None
    """None: none is issued, or the presented one goes on."""
    refresh_after: int | None = None
    refresh_token_expires_in: int | None = None
    session_expires_in: int | None = None
    user: User | None = None
    """The person, for the ID token's claims; as read in the transition."""
    nonce: str | None = None
    """Of the authorization request, for the ID token (OIDC Core §2)."""
    claims: str | None = None
    """The `claims` request parameter, as JSON (OIDC Core §5.5)."""
    vouched: str | None = None
    """Claims another party vouched for, as a JSON object."""
    status_index: int | None = None
    """The device session's place in the status lists; None: it has none."""
    act: Mapping[str, Any] | None = None
    """Who acts for the subject (RFC 8693 §4.1); not None says that the token was exchanged."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A refusal that is a value, because something was committed with it or is counted."""

    error: str
    description: str
    reason: str | None = None
    """`error_reason`: `expired`, `revoked`, `reused` or `superseded`."""
    detail: str | None = None

    def as_error(self) -> RequestError:
        """Return the exception to raise once the transition is over."""
        return RequestError(self.error, self.description, reason=self.reason, detail=self.detail)


def check_may_use(client: Client, grant_type: str, *, cnf_jkt: str | None) -> None:
    """Check that an authenticated client may use a grant type at all.

    Raises:
        RequestError: `unauthorized_client` (RFC 6749 §5.2), or `invalid_dpop_proof` where the client is
            registered to bring a proof and did not (RFC 9449 §5.2). Nothing was committed.
    """
    check_registered_for(client, grant_type)
    if client.dpop_bound_access_tokens and cnf_jkt is None:
        raise RequestError("invalid_dpop_proof", "this client must send a DPoP proof")


def check_registered_for(client: Client, grant_type: str) -> None:
    """Check that an authenticated client is registered for a grant type.

    Raises:
        RequestError: `unauthorized_client` (RFC 6749 §5.2). Nothing was committed.
    """
    if not client.enabled:
        raise RequestError("unauthorized_client", "the client is disabled")
    if grant_type not in client.grant_types:
        raise RequestError("unauthorized_client", f"the client is not registered for {grant_type}")


def audience_of(requested: tuple[str, ...], *, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Choose the audiences of a token: those requested, else all that are allowed.

    Raises:
        RequestError: `invalid_target` (RFC 8707 §2). Nothing was committed.
    """
    if not set(requested).issubset(allowed):
        raise RequestError("invalid_target", "the resource is not one this client may name")
    return requested or allowed
