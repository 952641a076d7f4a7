"""The introspection endpoint's answers (RFC 7662 §2.2). The request is parsed as a revocation request is: same form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from portero.core.oauth.token import TokenType
from portero.core.sessions.records import DeviceSession, Family
from portero.core.types import Issuer

INACTIVE: Final = b'{"active":false}'
"""The whole answer: why a token is not active is nobody's business (RFC 7662 §2.2)."""

_FROM_CLAIMS: Final = (
    *("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "sid"),
    *("auth_time", "acr", "amr", "roles", "cnf"),
)


def render_active_access_token(claims: Mapping[str, Any]) -> bytes:
    """Render the answer for an access token that is good."""
    members = {"active": True, **{name: claims[name] for name in _FROM_CLAIMS if name in claims}}
    members["token_type"] = (TokenType.DPOP if "cnf" in claims else TokenType.BEARER).value
    return orjson.dumps(members)


def render_active_refresh_token(family: Family, session: DeviceSession, *, issuer: Issuer) -> bytes:
    """Render the answer for the HEAD of a live family."""
    members: dict[str, Any] = {
        "active": True,
        "iss": issuer,
        "sub": session.subject,
        "client_id": family.client_id,
        "scope": " ".join(family.scope),
        "sid": session.sid,
        "iat": family.head.issued,
        "exp": min(family.head.expires, session.idle_end, session.absolute_end),
    }
    if family.cnf_jkt is not None:
        members["cnf"] = {"jkt": family.cnf_jkt}
    return orjson.dumps(members)
