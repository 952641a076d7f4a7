"""What a refusal is: one table for HTTP, gRPC and WebSocket (design §3.5).

A `Refusal` says which case and the details a client can act on. How it is written on each
wire stands in `core.policy.rendering`; no adapter decides a status of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import assert_never

from portero.core.errors import RequestError, Unavailable
from portero.core.policy.requirement import NotPermitted, ProofMissing, ScopesMissing, SignInNotEnough


class Case(Enum):
    """Every way a request can be refused."""

    NO_TOKEN = "no_token"
    INVALID_TOKEN = "invalid_token"
    INVALID_PROOF = "invalid_dpop_proof"
    NONCE_WANTED = "use_dpop_nonce"
    TWO_TOKENS = "two_tokens"
    BAD_REQUEST = "bad_request"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    NOT_PERMITTED = "not_permitted"
    SIGN_IN_NOT_ENOUGH = "sign_in_not_enough"
    UNAVAILABLE = "unavailable"


class GrpcStatus(Enum):
    """The gRPC status codes in use here, by number."""

    INVALID_ARGUMENT = 3
    PERMISSION_DENIED = 7
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    status: int
    error: str | None
    """The registered error code (RFC 6750 §3.1, RFC 9449 §7.1, RFC 9470 §3)."""
    grpc: GrpcStatus
    close_code: int
    """WebSocket: private use, 4000 + the HTTP status (RFC 6455 §7.4.2); 1013 is "try again later"."""
    challenged: bool = True
    """Whether `WWW-Authenticate` is sent."""


TABLE: Mapping[Case, Row] = MappingProxyType(
    {
        # RFC 6750 §3.1: a request without authentication gets no error code.
        Case.NO_TOKEN: Row(401, None, GrpcStatus.UNAUTHENTICATED, 4401),
        Case.INVALID_TOKEN: Row(401, "invalid_token", GrpcStatus.UNAUTHENTICATED, 4401),
        Case.INVALID_PROOF: Row(401, "invalid_dpop_proof", GrpcStatus.UNAUTHENTICATED, 4401),
        Case.NONCE_WANTED: Row(401, "use_dpop_nonce", GrpcStatus.UNAUTHENTICATED, 4401),
        Case.TWO_TOKENS: Row(400, "invalid_request", GrpcStatus.INVALID_ARGUMENT, 4400),
        Case.BAD_REQUEST: Row(400, "invalid_request", GrpcStatus.INVALID_ARGUMENT, 4400),
        Case.INSUFFICIENT_SCOPE: Row(403, "insufficient_scope", GrpcStatus.PERMISSION_DENIED, 4403),
        Case.NOT_PERMITTED: Row(403, "insufficient_scope", GrpcStatus.PERMISSION_DENIED, 4403),
        Case.SIGN_IN_NOT_ENOUGH: Row(401, "insufficient_user_authentication", GrpcStatus.UNAUTHENTICATED, 4401),
        # Our own failure is never the caller's fault: no challenge, no error of the token's.
        Case.UNAVAILABLE: Row(503, None, GrpcStatus.UNAVAILABLE, 1013, challenged=False),
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal. `description` goes on the wire, `detail` to the log; neither holds a token."""

    case: Case
    description: str
    detail: str = ""
    fault: str = ""
    """For INVALID_TOKEN: which check failed, for counters and logs."""
    scopes: tuple[str, ...] = ()
    """The scopes the route needs."""
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()
    retry_after: int | None = None
    """Seconds until it is worth trying again."""
    nonce: str | None = None
    """The `DPoP-Nonce` to send along."""
    by_dpop: bool = False
    """The request used the DPoP scheme: it is challenged in that scheme (RFC 9449 §7.1)."""

    @property
    def row(self) -> Row:
        """This case's line of the table."""
        return TABLE[self.case]


class Refused(Exception):
    """Carries a refusal out of a framework's dependency or decorator to the adapter's handler."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.case.value)
        self.refusal = refusal


NO_TOKEN = Refusal(Case.NO_TOKEN, "This request needs an access token.")


def two_tokens(detail: str) -> Refusal:
    """Refuse a request that carries more than one credential (RFC 6750 §2): none of them is tried."""
    return Refusal(Case.TWO_TOKENS, "The request carries more than one access token.", detail=detail)


def invalid_token(error: RequestError, *, fault: str) -> Refusal:
    """Refuse a token that failed verification or validation."""
    return Refusal(Case.INVALID_TOKEN, error.description, detail=error.detail, fault=fault)


REVOKED = Refusal(Case.INVALID_TOKEN, "The access token was revoked.", fault="revoked")
EXPIRED = Refusal(Case.INVALID_TOKEN, "The access token has expired.", fault="expired")


def unavailable(error: Unavailable) -> Refusal:
    """Say that something of ours is missing. The wire is not told what."""
    return Refusal(
        Case.UNAVAILABLE,
        "The service cannot check access tokens right now.",
        detail=error.what,
        retry_after=max(1, error.retry_after),
    )


def refusal_of(verdict: ScopesMissing | NotPermitted | SignInNotEnough | ProofMissing) -> Refusal:
    """Translate a verdict that is not `Allowed`."""
    match verdict:
        case ScopesMissing(needed):
            return Refusal(Case.INSUFFICIENT_SCOPE, "The access token lacks a scope.", scopes=needed)
        case NotPermitted(because):
            return Refusal(Case.NOT_PERMITTED, "The caller may not do this.", detail=because)
        case SignInNotEnough(max_age, acr_values):
            return Refusal(
                Case.SIGN_IN_NOT_ENOUGH,
                "A more recent or stronger sign-in is needed.",
                max_age=max_age,
                acr_values=acr_values,
            )
        case ProofMissing(of_certificate=True):
            # RFC 8705 §3: a token that does not fit the connection's certificate is invalid there.
            return Refusal(
                Case.INVALID_TOKEN,
                "This route accepts access tokens that are bound to the client's certificate only.",
                fault="sender_constraint",
            )
        case ProofMissing():
            return Refusal(Case.INVALID_PROOF, "This route accepts sender-constrained access tokens only.")
        case _:
            assert_never(verdict)
