"""A refusal on each wire: HTTP status, challenges and problem body; gRPC status; WebSocket close.

RFC 6750 §3 (Bearer challenge), RFC 9449 §7.1 (DPoP challenge), RFC 9470 §3 (step-up), RFC 9728
§5.1 (`resource_metadata`), RFC 9457 (problem details).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

from portero.core.policy.refusal import Case, GrpcStatus, Refusal

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Challenger:
    """What the challenges of one resource server have in common.

    Args:
        resource_metadata: URL of the RFC 9728 document; `None` where the resource has no URL.
        dpop_algorithms: accepted DPoP proof algorithms; empty where DPoP is not accepted.
    """

    resource_metadata: str | None = None
    dpop_algorithms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpRefusal:
    """Ready to send; header names in lower case, without CORS headers (`core.policy.cors`)."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class GrpcRefusal:
    """Status, details text, and trailing metadata."""

    status: GrpcStatus
    details: str
    metadata: tuple[Header, ...]


def http_refusal(refusal: Refusal, *, challenger: Challenger) -> HttpRefusal:
    """Write a refusal for HTTP."""
    row = refusal.row
    headers: list[Header] = [
        ("content-type", "application/problem+json"),
        # A refusal is about this request only.
        ("cache-control", "no-store"),
    ]
    headers += [("www-authenticate", challenge) for challenge in challenges(refusal, challenger=challenger)]
    if refusal.retry_after is not None:
        headers.append(("retry-after", str(refusal.retry_after)))
    if refusal.nonce is not None:
        headers.append(("dpop-nonce", refusal.nonce))
    body = problem(refusal)
    headers.append(("content-length", str(len(body))))
    return HttpRefusal(row.status, tuple(headers), body)


def challenges(refusal: Refusal, *, challenger: Challenger) -> tuple[str, ...]:
    """The `WWW-Authenticate` values, one for each scheme that would do."""
    row = refusal.row
    if not row.challenged:
        return ()
    about_dpop = refusal.by_dpop or refusal.case in {Case.INVALID_PROOF, Case.NONCE_WANTED}
    parameters = [] if row.error is None else [("error", row.error), ("error_description", refusal.description)]
    if refusal.scopes:
        parameters.append(("scope", " ".join(refusal.scopes)))
    if refusal.acr_values:
        parameters.append(("acr_values", " ".join(refusal.acr_values)))
    if refusal.max_age is not None:
        parameters.append(("max_age", str(refusal.max_age)))
    if challenger.resource_metadata is not None:
        parameters.append(("resource_metadata", challenger.resource_metadata))
    written = []
    if not about_dpop:
        written.append(_challenge("Bearer", parameters))
    if about_dpop or (challenger.dpop_algorithms and refusal.case is Case.NO_TOKEN):
        algs = [("algs", " ".join(challenger.dpop_algorithms))] if challenger.dpop_algorithms else []
        written.append(_challenge("DPoP", [*parameters, *algs]))
    return tuple(written)


def problem(refusal: Refusal) -> bytes:
    """The RFC 9457 body. `type` is about:blank, so `title` is the status phrase; `error` is the registered code."""
    row = refusal.row
    members: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(row.status).phrase,
        "status": row.status,
        "detail": refusal.description,
    }
    if row.error is not None:
        members["error"] = row.error
    if refusal.scopes:
        members["scope"] = " ".join(refusal.scopes)
    return json.dumps(members, separators=(",", ":")).encode()


def grpc_refusal(refusal: Refusal, *, challenger: Challenger) -> GrpcRefusal:
    """Write a refusal for gRPC: the challenges travel as `www-authenticate` metadata."""
    metadata = [("www-authenticate", challenge) for challenge in challenges(refusal, challenger=challenger)]
    if refusal.retry_after is not None:
        metadata.append(("grpc-retry-pushback-ms", str(refusal.retry_after * 1000)))
    if refusal.nonce is not None:
        metadata.append(("dpop-nonce", refusal.nonce))
    return GrpcRefusal(refusal.row.grpc, refusal.description, tuple(metadata))


def close_reason(refusal: Refusal) -> str:
    """The WebSocket close reason: the error code, or the case where there is none (at most 123 bytes)."""
    return refusal.row.error or refusal.case.value


def _challenge(scheme: str, parameters: list[tuple[str, str]]) -> str:
    if not parameters:
        return scheme
    return scheme + " " + ", ".join(f'{name}="{_quotable(value)}"' for name, value in parameters)


def _quotable(value: str) -> str:
    # RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E. What does not fit is replaced, so that no
    # value can close the quotes or split the header.
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "'" for char in value)
