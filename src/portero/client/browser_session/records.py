"""A session of a browser: who signed in, and the tokens that its page never sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from portero.core.types import Secret


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in of one browser. Times are seconds since 1970-01-01T00:00:00Z, by our clock."""

    key: str
    """Names this session here. Not a secret, and the same for its whole life."""
    sub: str
    sid: str | None
    """The device session at the authorization server, which a back-channel sign-out names."""
    claims: Mapping[str, Any]
    """What the page may see, `sub` among it."""
    access_token: Secret[str]
    access_until: float
    """The access token is not sent any more from here on."""
    refresh_from: float
    """A refresh is welcome from here on; the access token still serves meanwhile."""
    refresh_token: Secret[str] | None
    started: float
    ends: float
    """The cookie's end: no refresh moves it."""
    version: int = 0
    """Grows with each refresh: whoever holds a lower one is late."""


def dump(session: Session) -> bytes:
    """The session as JSON: to be sealed at once."""
    return orjson.dumps(
        {
            **{name: getattr(session, name) for name in _PLAIN},
            "claims": dict(session.claims),
            "access_token": session.access_token.reveal(),
            "refresh_token": None if session.refresh_token is None else session.refresh_token.reveal(),
        }
    )


def load(text: bytes) -> Session:
    """What `dump` wrote; only ever called on what our own seal opened."""
    members = orjson.loads(text)
    refresh_token = members.pop("refresh_token")
    return Session(
        access_token=Secret(members.pop("access_token")),
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        **members,
    )


_PLAIN = ("key", "sub", "sid", "access_until", "refresh_from", "started", "ends", "version")


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in under way: sealed in a cookie of its own, so that two tabs that sign in do not meet."""

    state: str
    nonce: str
    code_verifier: str
    return_to: str
    """Path, query and fragment on our origin."""
    until: float
    max_age: int | None = None
    replaces: str | None = field(default=None)
    """`key` of the session this browser had when it began."""


def dump_sign_in(sign_in: SignIn) -> bytes:
    """The sign-in as JSON: to be sealed at once."""
    return orjson.dumps(sign_in)


def load_sign_in(text: bytes) -> SignIn:
    """What `dump_sign_in` wrote."""
    return SignIn(**orjson.loads(text))
