"""Who is calling: what a verified access token says, typed (RFC 9068 §2.2).

A `Principal` is made from a token whose signature and claims were checked; it never holds
the token itself. `claims` keeps what has no field of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from portero.core.types import ClientId, Issuer, Jti, Kid, NumericDate, Sid, Subject


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request. Immutable, and shared by all requests that carry the same token."""

    issuer: Issuer
    subject: Subject
    client_id: ClientId
    scopes: frozenset[str]
    roles: frozenset[str]
    jti: Jti
    sid: Sid | None
    """The device session; `None` where the issuer has none (a client acting for itself, a foreign issuer)."""
    audience: tuple[str, ...]
    issued_at: NumericDate
    expires_at: NumericDate
    auth_time: NumericDate | None
    acr: str | None
    amr: tuple[str, ...]
    kid: Kid | None
    """The key that signed the token."""
    cnf_jkt: str | None
    """JWK thumbprint of the key the token is bound to (RFC 9449 §6.1)."""
    sender_constraint_proven: bool = False
    """The caller proved possession of what the token is bound to in this request, here or at the gateway."""
    cnf_x5t_s256: str | None = None
    """Thumbprint of the client certificate the token is bound to (RFC 8705 §3.1)."""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """All claims of the token. Kept out of the repr: names and addresses stand there."""

    def has_scope(self, scope: str) -> bool:
        """Whether `scope` was granted: whole names only, `orders` does not grant `orders:read`."""
        return scope in self.scopes

    def has_role(self, role: str) -> bool:
        """Whether the issuer says the caller has `role`."""
        return role in self.roles


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """Find a claim by its name, or by a path such as `realm_access.roles`; `None` when absent.

    A name that exists as it stands wins over the path: `https://shop.example/roles` is a name
    with dots, not a path.
    """
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found
