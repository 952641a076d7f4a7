"""What a route requires, and whether a principal meets it (design §3.4, §3.5).

All members of a requirement are required; `scopes_any` and `roles_any` are alternatives.
`judge` is pure and runs on every request, a cached token included. A verdict is a closed
union; `core.policy.refusal` says what each looks like on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from portero.core.policy.principal import Principal, claim_at


class WhenStale(Enum):
    """What a route does while the revocation feed is silent for longer than `stale_after`."""

    ALLOW = "allow"
    """Go on, with an alarm: a revoked token may be served until `exp` + leeway."""
    DENY = "deny"
    """Refuse with 503: a revoked token is served for at most `stale_after`."""


class Carrier(Enum):
    """What carries a token only on routes that say so."""

    COOKIE = "cookie"
    """The Guard's cookie, under its rules (`core.policy.cookie_credential`)."""
    FIRST_MESSAGE = "first_message"
    """The first message of a WebSocket, `Bearer …`."""


ClaimValue = str | int | bool


@dataclass(frozen=True, slots=True)
class Requirement:
    """What the caller of a route must bring. Without members: any valid token for this audience."""

    scopes: frozenset[str] = frozenset()
    scopes_any: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    roles_any: frozenset[str] = frozenset()
    claims: Mapping[str, ClaimValue] = field(default_factory=dict)
    """Claim name or path → the value it must equal, or, where the claim is an array, contain."""
    max_auth_age: int | None = None
    """Seconds since the person last proved who they are (`auth_time`), with the Guard's leeway."""
    acr: tuple[str, ...] = ()
    """Authentication context classes that will do (RFC 9470 §4)."""
    dpop: bool = False
    """The token must be bound to a key and the caller must have proved possession of it (RFC 9449)."""
    mtls: bool = False
    """The token must be bound to the client's certificate, and the connection must be that client's (RFC 8705)."""
    when_stale: WhenStale = WhenStale.ALLOW
    carriers: frozenset[Carrier] = frozenset()
    """What may carry the token beside the `Authorization` header."""
    is_plain: bool = field(init=False, repr=False, compare=False)
    """True where `scopes` decides alone, staleness included: the hot path asks nothing else then."""

    def __post_init__(self) -> None:
        asks_more = (
            self.scopes_any
            or self.roles
            or self.roles_any
            or self.claims
            or self.max_auth_age is not None
            or self.acr
            or self.dpop
            or self.mtls
            or self.when_stale is WhenStale.DENY
        )
        object.__setattr__(self, "is_plain", not asks_more)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The principal meets the requirement."""


@dataclass(frozen=True, slots=True)
class ScopesMissing:
    """Scopes are missing; `needed` is what the route requires, as a client would ask for it."""

    needed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotPermitted:
    """A role or a claim is missing: no scope a client could ask for changes that."""

    because: str


@dataclass(frozen=True, slots=True)
class SignInNotEnough:
    """The sign-in is too old or too weak (RFC 9470 §3)."""

    max_age: int | None
    acr_values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProofMissing:
    """The route accepts sender-constrained tokens only, and this one came without proof."""

    of_certificate: bool = False
    """A client certificate would do (RFC 8705), and no DPoP proof."""


Verdict = Allowed | ScopesMissing | NotPermitted | SignInNotEnough | ProofMissing

ALLOWED = Allowed()


def judge(requirement: Requirement, principal: Principal, *, now: float, leeway: int = 0) -> Verdict:
    """Decide whether `principal` may do what `requirement` guards.

    Args:
        requirement: the route's.
        principal: of a token already verified and validated.
        now: NumericDate, a fraction allowed.
        leeway: seconds two clocks may differ, added to `max_auth_age`.

    Does not check: signature, `exp`, audience, revocation, staleness (the Guard does).
    """
    if not requirement.scopes <= principal.scopes:
        return ScopesMissing(tuple(sorted(requirement.scopes)))
    if requirement.is_plain:
        return ALLOWED
    if requirement.scopes_any and requirement.scopes_any.isdisjoint(principal.scopes):
        return ScopesMissing(tuple(sorted(requirement.scopes | requirement.scopes_any)))
    if not requirement.roles <= principal.roles:
        return NotPermitted("a role is missing")
    if requirement.roles_any and requirement.roles_any.isdisjoint(principal.roles):
        return NotPermitted("a role is missing")
    for path, expected in requirement.claims.items():
        if not _says(claim_at(principal.claims, path), expected):
            return NotPermitted("a claim does not have the required value")
    if (requirement.dpop or requirement.mtls) and not _bound_as_required(requirement, principal):
        return ProofMissing(requirement.mtls)
    if _signed_in_too_long_ago(requirement, principal, now=now, leeway=leeway) or (
        requirement.acr and principal.acr not in requirement.acr
    ):
        return SignInNotEnough(requirement.max_auth_age, requirement.acr)
    return ALLOWED


def _bound_as_required(requirement: Requirement, principal: Principal) -> bool:
    if not principal.sender_constraint_proven:
        return False
    by_certificate = principal.cnf_x5t_s256 is not None
    # Behind a gateway the proof was checked there, and the principal names no key of the caller's.
    by_key = principal.cnf_jkt is not None or not by_certificate
    return (by_key or not requirement.dpop) and (by_certificate or not requirement.mtls)


def _signed_in_too_long_ago(requirement: Requirement, principal: Principal, *, now: float, leeway: int) -> bool:
    if requirement.max_auth_age is None:
        return False
    # A token that does not say when the person signed in cannot show that it was recent.
    return principal.auth_time is None or now - principal.auth_time > requirement.max_auth_age + leeway


def _says(claim: Any, expected: ClaimValue) -> bool:
    if isinstance(claim, list | tuple):
        return any(_same(member, expected) for member in claim)
    return _same(claim, expected)


def _same(value: Any, expected: ClaimValue) -> bool:
    # In Python True == 1; in JSON they are different values.
    return type(value) is type(expected) and bool(value == expected)
