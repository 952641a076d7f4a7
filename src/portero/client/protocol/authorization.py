"""The authorization request and its answer: code grant, PKCE S256 always (RFC 6749 §4.1, RFC 7636, RFC 9207)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from portero.client.errors import AuthorizationRefused, IdTokenInvalid, IssuerMismatch
from portero.client.protocol.metadata import ServerMetadata
from portero.core.jose.base64url import encode
from portero.core.types import Secret


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What to ask for. None: not said."""

    client_id: str
    redirect_uri: str | None
    state: str | None
    code_verifier: Secret[str]
    scope: str | None = None
    nonce: str | None = None
    resources: tuple[str, ...] = ()
    dpop_jkt: str | None = None
    """JWK thumbprint of the DPoP key (RFC 9449 §10)."""
    prompt: str | None = None
    login_hint: str | None = None
    acr_values: str | None = None
    max_age: int | None = None
    """Seconds since the last sign-in that are still good enough."""


def authorization_url(metadata: ServerMetadata, request: AuthorizationRequest) -> str:
    """Return the address to send the browser to. There is no way to leave PKCE out, and none to choose `plain`."""
    query = urlencode([(name, each) for name, value in request_fields(request).items() for each in _listed(value)])
    separator = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{separator}{query}"


def request_fields(request: AuthorizationRequest) -> dict[str, str | list[str]]:
    """Return the request as parameters, PKCE among them always."""
    fields: dict[str, str | int | None] = {
        "response_type": "code",
        "client_id": request.client_id,
        "redirect_uri": request.redirect_uri,
        "state": request.state,
        "code_challenge": encode(hashlib.sha256(request.code_verifier.reveal().encode()).digest()),
        "code_challenge_method": "S256",
        "scope": request.scope,
        "nonce": request.nonce,
        "dpop_jkt": request.dpop_jkt,
        "prompt": request.prompt,
        "login_hint": request.login_hint,
        "acr_values": request.acr_values,
        "max_age": request.max_age,
    }
    said: dict[str, str | list[str]] = {name: str(value) for name, value in fields.items() if value is not None}
    return {**said, "resource": list(request.resources)}


def process_authorization_response(metadata: ServerMetadata, query: Mapping[str, Sequence[str]]) -> Secret[str]:
    """Return the code of a callback whose `state` is ours.

    A wrong `iss` is refused before anything else: the answer may come from another server (RFC 9207 §2.4).

    Raises:
        IssuerMismatch: another server answered.
        AuthorizationRefused: the server said no, or said nothing.
    """
    iss = query.get("iss", [None])[0]
    if iss != metadata.issuer and (iss is not None or metadata.authorization_response_iss_parameter_supported):
        raise IssuerMismatch("another server answered")
    error = query.get("error", [None])[0]
    if error is not None:
        raise AuthorizationRefused("".join(c for c in error[:60] if c.isprintable()))
    code = query.get("code", [""])[0]
    if not code:
        raise AuthorizationRefused("an answer without a code")
    return Secret(code)


def check_id_token(claims: Mapping[str, Any] | None, *, issuer: str, client_id: str, nonce: str | None) -> None:
    """Check that an ID token answers this sign-in.

    OpenID Connect Core §3.1.3.7: it came over TLS from the server itself, so its signature need not be verified; who
    it is from, for, and which sign-in it answers must be.

    Raises:
        IdTokenInvalid: it is not.
    """
    if claims is None:
        return
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != issuer or client_id not in audiences or claims.get("nonce") != nonce:
        raise IdTokenInvalid("not the answer to this sign-in")


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
