"""What a session keeps, how old it is, and what it may tell."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from portero.client.protocol.token import Grant, json_object, seconds_of, text_of
from portero.core.types import Secret
from portero.ports import Clock

_SECONDS = ("expires_in", "refresh_after", "refresh_token_expires_in", "session_expires_in")
_SOONEST = 10.0
"""Seconds. Not sooner than this, whatever the server says: a proactive refresh must never become a loop."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens as they are kept. Times are in seconds; `repr` shows no token."""

    login: str
    """This sign-in, on this machine. Random, and no secret."""
    at: float
    """When the request that brought them was sent: seconds since 1970, by our own clock."""
    grant: Grant
    sub: str | None = None
    """Who it is, as far as the tokens tell. Unverified: for display and for noticing a change of user."""
    key: Secret[str] | None = None
    """The DPoP key they are bound to, PKCS #8 in PEM; None: bearer tokens."""

    @property
    def refresh_token(self) -> Secret[str] | None:
        """The refresh token, if there is one."""
        return self.grant.refresh_token

    def same_access_token(self, other: Tokens | None) -> bool:
        """Whether both are one access token."""
        return other is not None and self.grant.access_token.matches(other.grant.access_token)


def tokens_from(
    grant: Grant, *, login: str, at: float, previous: Tokens | None = None, key: Secret[str] | None = None
) -> Tokens:
    """Put together what is kept after an answer.

    What the answer does not repeat stays as it was: RFC 6749 §5.1 for the scope, §6 for the refresh token.
    """
    kept = Grant(
        access_token=grant.access_token,
        expires_in=grant.expires_in,
        refresh_token=grant.refresh_token or (None if previous is None else previous.refresh_token),
        refresh_after=grant.refresh_after,
        refresh_token_expires_in=grant.refresh_token_expires_in,
        session_expires_in=grant.session_expires_in,
        scope=grant.scope if grant.scope is not None or previous is None else previous.grant.scope,
        id_token=grant.id_token or (None if previous is None else previous.grant.id_token),
    )
    claims = unverified_claims(grant.id_token) or unverified_claims(grant.access_token) or {}
    sub = text_of(claims, "sub") or (None if previous is None else previous.sub)
    return Tokens(login=login, at=at, grant=kept, sub=sub, key=key or (None if previous is None else previous.key))


def render_tokens(tokens: Tokens) -> str:
    """Write them for a store, as JSON. This text is a secret."""
    grant = tokens.grant
    members: dict[str, Any] = {"login": tokens.login, "at": tokens.at, "sub": tokens.sub, "scope": grant.scope}
    members |= {name: getattr(grant, name) for name in _SECONDS}
    members["access_token"] = grant.access_token.reveal()
    for name, secret in (("refresh_token", grant.refresh_token), ("id_token", grant.id_token), ("key", tokens.key)):
        if secret is not None:
            members[name] = secret.reveal()
    return json.dumps({name: value for name, value in members.items() if value is not None})


def parse_tokens(text: str | None) -> Tokens | None:
    """Read what a store kept; None where it holds nothing that could be tokens of ours."""
    document = {} if text is None else json_object(text.encode())
    login, access_token, at = text_of(document, "login"), text_of(document, "access_token"), seconds_of(document, "at")
    if login is None or access_token is None or at is None:
        return None

    def secret(name: str) -> Secret[str] | None:
        value = text_of(document, name)
        return None if value is None else Secret(value)

    grant = Grant(
        access_token=Secret(access_token),
        refresh_token=secret("refresh_token"),
        id_token=secret("id_token"),
        scope=text_of(document, "scope"),
        **{name: seconds_of(document, name) for name in _SECONDS},
    )
    return Tokens(login=login, at=at, grant=grant, sub=text_of(document, "sub"), key=secret("key"))


def unverified_claims(jwt: Secret[str] | None) -> Mapping[str, Any] | None:
    """Read the claims of a JWT that came straight from the token endpoint. Nothing is verified; None: it is no JWT."""
    parts = [] if jwt is None else jwt.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        return json_object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))) or None
    except ValueError:
        return None


def age_of(tokens: Tokens, clock: Clock) -> Callable[[], float]:
    """Return a function that tells the age of the tokens, in seconds, and never errs on the young side.

    Two clocks, the larger answer: the steady one may not see a sleeping machine, the wall clock may be set back. A wall
    clock that jumps ahead costs one refresh and no more. `iat` and `exp` of the token are never looked at: the
    server's clock is not ours, and a client cannot read an access token anyway.
    """
    elapsed = clock.now() - tokens.at
    # Stored "in the future": the wall clock went back since, so the true age is unknown. Then it is old.
    steady_at = -math.inf if elapsed < -1 else clock.monotonic() - max(elapsed, 0.0)
    return lambda: max(clock.monotonic() - steady_at, clock.now() - tokens.at)


def usable_for(grant: Grant) -> float:
    """Seconds of life after which a token is not sent any more: 5 s before its end, or a short one's last tenth."""
    life = math.inf if grant.expires_in is None else grant.expires_in
    return life - min(5.0, life / 10)


def due_after(grant: Grant, *, jitter: float) -> float:
    """Seconds of life after which a proactive refresh is due, `jitter` (0 to 1) spreading the processes."""
    usable = usable_for(grant)
    life = math.inf if grant.expires_in is None else grant.expires_in
    due = max(life * 0.75 if grant.refresh_after is None else grant.refresh_after, _SOONEST)
    # So short a token is refreshed when somebody needs it.
    return due + jitter * min(30.0, (usable - due) / 2) if due < usable else math.inf
