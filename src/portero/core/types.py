"""The words every room uses: identifiers, seconds, and values that must not leak.

Identifiers are `NewType`s so that a `sid` cannot be handed over where a `jti` is
meant. Points in time inside `core` are `NumericDate` (RFC 7519 §2: seconds since
1970-01-01T00:00:00Z, UTC); durations are `timedelta` in configuration and whole
seconds once inside `core`.
"""

from __future__ import annotations

import hmac
from typing import Generic, NewType, NoReturn, TypeVar

Issuer = NewType("Issuer", str)
ClientId = NewType("ClientId", str)
Subject = NewType("Subject", str)
Sid = NewType("Sid", str)
Jti = NewType("Jti", str)
Kid = NewType("Kid", str)
FamilyId = NewType("FamilyId", bytes)
"""16 bytes, random."""
Digest = NewType("Digest", bytes)
"""32 bytes: SHA-256 of a secret. What storage sees instead of the secret."""

NumericDate = NewType("NumericDate", int)
"""Seconds since 1970-01-01T00:00:00Z, UTC (RFC 7519 §2)."""

T = TypeVar("T", str, bytes)


class Secret(Generic[T]):
    """A token, code, secret or key between parse and render.

    It cannot be printed, compared with `==`, hashed or pickled; `reveal()` is the one
    way out and is meant to be found by grep.
    """

    __slots__ = ("_value",)

    _value: T

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the value itself. The caller now vouches for where it goes."""
        return self._value

    def matches(self, other: Secret[T]) -> bool:
        """Compare in constant time (for values of equal length)."""
        mine, theirs = self._value, other._value
        left = mine.encode() if isinstance(mine, str) else mine
        right = theirs.encode() if isinstance(theirs, str) else theirs
        return hmac.compare_digest(left, right)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("secrets are compared with matches(), in constant time")

    def __hash__(self) -> NoReturn:
        raise TypeError("a Secret is not hashable: store its digest instead")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
