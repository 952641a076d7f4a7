"""The userinfo endpoint's answer (OpenID Connect Core §5.3.2): claims about the person, by scope (§5.4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from portero.core.transitions import User

PERSON_CLAIMS: Final[Mapping[str, Callable[[User], Any]]] = MappingProxyType(
    {
        "name": lambda user: user.name,
        "preferred_username": lambda user: user.username,
        "locale": lambda user: user.locale,
        # Nobody has verified the address, so `email_verified` is not claimed.
        "email": lambda user: user.email,
        "roles": lambda user: list(user.roles),
    }
)
"""What is known of a person, by claim."""
SCOPE_CLAIMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"profile": ("name", "preferred_username", "locale"), "email": ("email",)}
)
"""Which claims a scope opens where an operator says nothing else (§5.4)."""


def render_userinfo(
    user: User, *, scope: Collection[str], scope_claims: Mapping[str, tuple[str, ...]] = SCOPE_CLAIMS
) -> bytes:
    """Render the claims that the scope opens. `sub` is always there; a claim nobody filled in is absent."""
    opened = dict.fromkeys(claim for name, claims in scope_claims.items() if name in scope for claim in claims)
    members = {"sub": user.subject, **{claim: PERSON_CLAIMS[claim](user) for claim in opened}}
    return orjson.dumps({name: value for name, value in members.items() if value})


def claims_of_scopes(scope_claims: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """All claims that some scope opens, each once, for metadata."""
    return tuple(dict.fromkeys(claim for claims in scope_claims.values() for claim in claims))
