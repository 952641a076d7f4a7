"""The userinfo endpoint's answer (OpenID Connect Core §5.3.2): claims about the person, by scope (§5.4)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from portero.core.transitions import User


def render_userinfo(user: User, *, scope: Collection[str]) -> bytes:
    """Render the claims that the scope opens. `sub` is always there; a claim nobody filled in is absent."""
    members: dict[str, Any] = {"sub": user.subject}
    if "profile" in scope:
        members |= {"name": user.name, "preferred_username": user.username, "locale": user.locale}
    if "email" in scope:
        # Nobody has verified the address, so `email_verified` is not claimed.
        members["email"] = user.email
    return orjson.dumps({name: value for name, value in members.items() if value})
