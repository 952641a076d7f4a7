"""The registered error codes, and what a refusal looks like as JSON.

RFC 6749 §5.2 (token endpoint), RFC 6750 §3.1 (bearer), RFC 8707 §2 (`invalid_target`),
RFC 9449 §5 and §8 (DPoP), RFC 7009 §2.2.1. Each function builds the `RequestError` with
the code's own status, so that no endpoint chooses one.
"""

from __future__ import annotations

from collections.abc import Mapping

from portero.core.errors import RequestError


def invalid_request(description: str, *, detail: str | None = None) -> RequestError:
    """A parameter is missing, repeated, malformed or contradicts another (RFC 6749 §5.2)."""
    return RequestError("invalid_request", description, detail=detail)


def invalid_client(detail: str) -> RequestError:
    """Client authentication failed (RFC 6749 §5.2). One text for all causes: the cause goes to the log only."""
    return RequestError("invalid_client", "client authentication failed", status=401, detail=detail)


def invalid_grant(description: str, *, detail: str | None = None, reason: str | None = None) -> RequestError:
    """The code or refresh token is not good, or not this client's (RFC 6749 §5.2)."""
    return RequestError("invalid_grant", description, detail=detail, reason=reason)


def unauthorized_client(description: str) -> RequestError:
    """The client is not registered for this grant type (RFC 6749 §5.2)."""
    return RequestError("unauthorized_client", description)


def unsupported_grant_type(description: str) -> RequestError:
    """No such grant type here (RFC 6749 §5.2)."""
    return RequestError("unsupported_grant_type", description)


def invalid_scope(description: str) -> RequestError:
    """The scope is unknown, malformed, or exceeds what was granted (RFC 6749 §5.2)."""
    return RequestError("invalid_scope", description)


def invalid_target(description: str) -> RequestError:
    """The resource is unknown or not one this client may name (RFC 8707 §2)."""
    return RequestError("invalid_target", description)


def invalid_dpop_proof(description: str) -> RequestError:
    """The proof of possession is malformed, stale, or not for this request (RFC 9449 §5)."""
    return RequestError("invalid_dpop_proof", description)


def use_dpop_nonce() -> RequestError:
    """The proof lacks a nonce of ours that is still good; the answer's `DPoP-Nonce` has one (RFC 9449 §8)."""
    return RequestError("use_dpop_nonce", "the DPoP proof needs the nonce from this answer's DPoP-Nonce header")


def invalid_token(description: str, *, detail: str | None = None) -> RequestError:
    """The access token is malformed, expired, revoked or not for us (RFC 6750 §3.1)."""
    return RequestError("invalid_token", description, status=401, detail=detail)


def insufficient_scope(description: str) -> RequestError:
    """The access token is good, but does not carry the scope (RFC 6750 §3.1)."""
    return RequestError("insufficient_scope", description, status=403)


def error_members(error: RequestError) -> Mapping[str, str]:
    """Return the JSON members of a refusal (RFC 6749 §5.2), with `error_reason` where there is one."""
    members = {"error": error.error, "error_description": on_the_wire(error.description)}
    if error.reason is not None:
        members["error_reason"] = error.reason
    return members


def on_the_wire(text: str) -> str:
    """Keep what an `error_description` may contain: %x20-21 / %x23-5B / %x5D-7E (RFC 6749 §5.2)."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)
