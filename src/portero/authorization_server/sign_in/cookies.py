"""The two cookies of a browser here: the sign-in it keeps, and one for each sign-in it has begun.

On https both are `__Host-` and `Secure` (RFC 6265bis §4.1.3.2: no other host can set or shadow
them). On http, which configuration allows for localhost only, cookies are shared by every
port: the name carries a digest of the issuer, so that two servers on one machine do not meet.
`SameSite=Lax`: never sent with a form that another site submits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from portero.core.types import Issuer, NumericDate, Secret

MAX_LOGINS = 8
"""Sign-ins one browser may have under way; the oldest gives way."""
HANDLE_LENGTH = 16
"""Hexadecimal digits: 8 for the second it began (so that names sort by age), 8 at random."""
_MAX_VALUE = 64
"""Characters; our values have 43."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """Names and attributes of our cookies."""

    secure: bool
    session_name: str
    login_prefix: str
    return_prefix: str

    def session(self, received: Mapping[str, str]) -> Secret[str] | None:
        """Return the secret of the browser session, where one was sent."""
        return _value(received, self.session_name)

    def login(self, received: Mapping[str, str], *, handle: str) -> Secret[str] | None:
        """Return the secret of one sign-in under way."""
        return _value(received, self.login_prefix + handle)

    def set_session(self, secret: Secret[str], *, lifetime: timedelta) -> str:
        """The `Set-Cookie` value that keeps a browser session."""
        return self._set(self.session_name, secret.reveal(), max_age=int(lifetime.total_seconds()))

    def clear_session(self) -> str:
        """The `Set-Cookie` value that forgets the browser session."""
        return self._set(self.session_name, "", max_age=0)

    def set_login(self, secret: Secret[str], *, handle: str, lifetime: timedelta) -> str:
        """The `Set-Cookie` value that binds a sign-in to this browser."""
        return self._set(self.login_prefix + handle, secret.reveal(), max_age=int(lifetime.total_seconds()))

    def clear_login(self, *, handle: str) -> str:
        """The `Set-Cookie` value that forgets one sign-in."""
        return self._set(self.login_prefix + handle, "", max_age=0)

    def set_return(self, secret: Secret[str], *, method: str, lifetime: timedelta) -> str:
        """The `Set-Cookie` value that a form of another site brings back with it.

        `SameSite=None`, which is the point of it; it needs `Secure`, which browsers grant to localhost on http too.
        It proves that this browser left for that site a moment ago, and opens nothing.
        """
        value = f"{self.return_prefix}{method}={secret.reveal()}; Max-Age={int(lifetime.total_seconds())}; Path=/"
        return f"{value}; HttpOnly; SameSite=None; Secure"

    def returned(self, received: Mapping[str, str], *, method: str) -> Secret[str] | None:
        """Return what `set_return` left in this browser."""
        return _value(received, self.return_prefix + method)

    def crowded_out(self, received: Mapping[str, str]) -> list[str]:
        """Handles of the oldest sign-ins under way, as many as one more leaves no room for."""
        prefix = self.login_prefix
        handles = sorted(name.removeprefix(prefix) for name in received if name.startswith(prefix))
        return [handle for handle in handles if is_handle(handle)][: max(0, len(handles) - MAX_LOGINS + 1)]

    def _set(self, name: str, value: str, *, max_age: int) -> str:
        secure = "; Secure" if self.secure else ""
        return f"{name}={value}; Max-Age={max_age}; Path=/; HttpOnly; SameSite=Lax{secure}"


def cookies_of(issuer: Issuer) -> Cookies:
    """The cookies of the server with this issuer."""
    secure = issuer.startswith("https://")
    tag = hashlib.sha256(issuer.encode()).hexdigest()[:8]
    prefix = f"{'__Host-' if secure else ''}portero_{tag}"
    return Cookies(
        secure=secure,
        session_name=f"{prefix}_session",
        login_prefix=f"{prefix}_login_",
        return_prefix=f"{prefix}_return_",
    )


def new_handle(*, now: NumericDate, random: bytes) -> str:
    """Name a sign-in under way. Not a secret: without its cookie it opens nothing.

    Args:
        random: 4 bytes.
    """
    return f"{now:08x}{random.hex()}"


def is_handle(text: str) -> bool:
    """Say whether the text could be a handle of ours."""
    return len(text) == HANDLE_LENGTH and all(c in "0123456789abcdef" for c in text)


def parse_cookie_header(header: str) -> Mapping[str, str]:
    """Read a `Cookie` header (RFC 6265 §4.2.1); of a name sent twice the first, as browsers send the narrower first."""
    received: dict[str, str] = {}
    for pair in header.split(";"):
        name, found, value = pair.strip().partition("=")
        if found:
            received.setdefault(name, value)
    return received


def _value(received: Mapping[str, str], name: str) -> Secret[str] | None:
    value = received.get(name)
    return None if not value or len(value) > _MAX_VALUE or not value.isascii() else Secret(value)
