"""The logout token: what a client is told when one of its sessions ends (OpenID Connect Back-Channel Logout 1.0 §2.4).

Its `typ` is `logout+jwt` (§2.4), which no strict verifier of access or ID tokens accepts; it has no `nonce`, so
that it cannot pass for an ID token.
"""

from __future__ import annotations

from typing import Any, Final

from portero.core.types import ClientId, Issuer, NumericDate, Sid, Subject

TYP: Final = "logout+jwt"
EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LIFETIME: Final = 120
"""Seconds until `exp`: §2.4 asks for two minutes at most. It is signed anew at each attempt."""


def session_claims(*, sid: Sid, subject: Subject) -> dict[str, Any]:
    """What is fixed when the session ends: whose, and which. Both, so that every client finds it (§2.4)."""
    return {"sub": subject, "sid": sid, "events": {EVENT: {}}}


def logout_token_claims(
    session: dict[str, Any], *, issuer: Issuer, client_id: ClientId, jti: str, now: NumericDate
) -> dict[str, Any]:
    """Return all claims of a logout token that is sent now.

    Args:
        session: as `session_claims` made it.
        jti: the delivery's, the same at each attempt.
    """
    return {"iss": issuer, "aud": client_id, "iat": now, "exp": now + LIFETIME, "jti": jti, **session}
