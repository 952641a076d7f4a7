"""What another party said of a sign-in: kept with the browser session, and its claims with every token.

Two things, never mixed up: `claims` go into tokens; the rest (`provider`, `external`, the session's name there, the
hint for a sign-out there) stays here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from portero.core.linked import linked_digest
from portero.core.types import Digest

OWN_CLAIMS = frozenset(
    [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "scope",
        "sid",
        "auth_time",
        "acr",
        "amr",
        "roles",
        "cnf",
        "act",
        "azp",
        "nonce",
        "at_hash",
        "c_hash",
        "s_hash",
        "status",
        "events",
        "typ",
        "may_act",
        "authorization_details",
    ]
)
"""What this server says itself: no other party's word takes the place of one of these."""
MAX_CLAIMS = 2048
"""Bytes of JSON; they travel with every request."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who vouched, what they call the person, and what of it goes into tokens."""

    provider: str
    external: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    session: str | None = None
    """The session's name at that party (OpenID `sid`)."""
    id_token_hint: str | None = field(default=None, repr=False)
    """For a sign-out there (OpenID Connect RP-Initiated Logout §2)."""


def vouched_to_json(vouched: Vouched) -> str:
    """Render for the browser session's record.

    Raises:
        ValueError: a claim has the name of one of ours, or they are too large.
    """
    claims = json.dumps(dict(vouched.claims), separators=(",", ":"))
    if taken := OWN_CLAIMS.intersection(vouched.claims):
        raise ValueError(f"claims that are this server's own: {', '.join(sorted(taken))}")
    if len(claims) > MAX_CLAIMS:
        raise ValueError(f"claims of more than {MAX_CLAIMS} bytes")
    members = {
        "provider": vouched.provider,
        "external": vouched.external,
        "claims": dict(vouched.claims),
        "session": vouched.session,
        "id_token_hint": vouched.id_token_hint,
    }
    return json.dumps(members, separators=(",", ":"))


def session_digest_of(text: str | None) -> Digest | None:
    """What a browser session is found by at the party that vouched; None: nobody did, or they named no session."""
    vouched = vouched_from_json(text)
    if vouched is None or vouched.session is None:
        return None
    return linked_digest(vouched.provider, vouched.session)


def vouched_from_json(text: str | None) -> Vouched | None:
    """Read what `vouched_to_json` made."""
    return None if text is None else Vouched(**json.loads(text))


def claims_of(text: str | None) -> str | None:
    """The claims alone, as a JSON object: what codes and families carry."""
    vouched = vouched_from_json(text)
    return None if vouched is None or not vouched.claims else json.dumps(dict(vouched.claims), separators=(",", ":"))


def add_claims(claims: dict[str, Any], vouched: str | None) -> None:
    """Add another party's claims to a token's own, which stay what they are."""
    if vouched is not None:
        for name, value in json.loads(vouched).items():
            claims.setdefault(name, value)
