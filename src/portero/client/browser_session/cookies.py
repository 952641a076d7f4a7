"""The cookies of a browser session: one that keeps it, and one for each sign-in under way (RFC 6265bis).

The session's is `SameSite=Strict`: no request that another site causes carries it. A sign-in's is `Lax`: the answer
to a sign-in comes from another site, by a link. Both are `__Host-`: no other host can set or shadow them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

MAX_SIGN_INS: Final = 5
"""Sign-ins one browser may have under way; the oldest gives way."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """Names and attributes, for one application."""

    secure: bool
    session: str
    sign_in_prefix: str

    @classmethod
    def of(cls, *, origin: str, client_id: str) -> Cookies:
        """On plain http (this machine only) every port shares the cookies: the name carries a digest of the origin."""
        secure = origin.startswith("https:")
        tag = hashlib.sha256(f"{origin} {client_id}".encode()).hexdigest()[:8]
        prefix = "__Host-portero" if secure else f"portero-{tag}"
        return cls(secure, f"{prefix}-session", f"{prefix}-sign-in-")

    def set_session(self, value: str, *, max_age: int) -> str:
        """The `Set-Cookie` value that keeps a session."""
        return self._set(self.session, value, max_age, "Strict")

    def clear_session(self) -> str:
        """The `Set-Cookie` value that forgets it."""
        return self._set(self.session, "", 0, "Strict")

    def set_sign_in(self, handle: str, value: str, *, max_age: int) -> str:
        """The `Set-Cookie` value that binds a sign-in to this browser."""
        return self._set(self.sign_in_prefix + handle, value, max_age, "Lax")

    def clear_sign_in(self, handle: str) -> str:
        """The `Set-Cookie` value that forgets it."""
        return self._set(self.sign_in_prefix + handle, "", 0, "Lax")

    def _set(self, name: str, value: str, max_age: int, same_site: str) -> str:
        secure = "; Secure" if self.secure else ""
        return f"{name}={value}; Max-Age={max_age}; Path=/; HttpOnly; SameSite={same_site}{secure}"


def parse_cookies(header: str | None) -> dict[str, list[str]]:
    """Every cookie of the header, with all values it came with."""
    found: dict[str, list[str]] = {}
    for pair in (header or "").split(";"):
        name, mark, value = pair.strip(" \t").partition("=")
        if mark:
            found.setdefault(name, []).append(value)
    return found
