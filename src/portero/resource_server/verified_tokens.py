"""Tokens that were verified a moment ago: bounded in entries and bytes, keyed by a digest of the whole token.

Only successes are kept, so that refused tokens cannot push good ones out. An entry says what
was learned and under which keys and which revocations; whether that still holds is asked at
every hit by the Guard. Two generations instead of a linked list: when the young one is full it
becomes the old one, and what is used again comes back. A hit is one dictionary lookup.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from sys import intern
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from portero.core.policy.principal import Principal

if TYPE_CHECKING:
    from portero.resource_server.trust import Trust

BEARER = b"Bearer "
"""What stands before a token in its header, and in what is digested: the header need not be cut then."""
BYTES_PER_ENTRY = 2200
"""Memory of an entry beside the claims' own text, measured (`bench/guard.py`)."""
BYTES_PER_TOKEN_BYTE = 4
"""Parsed claims weigh more than the token that held them."""


def digest_of(in_header: bytes) -> bytes:
    """Name a token without keeping it: BLAKE2b, 256 bits, of `BEARER` and the token (decision 0250)."""
    state = _EMPTY.copy()
    state.update(in_header)
    return state.digest()


_EMPTY = blake2b(digest_size=32)
"""A copy is quicker than a new state; and with one that lives, the allocator keeps room for the next."""


def shared_texts(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the same claims; texts that an issuer's tokens have in common are one object for all of them."""
    own = dict(claims)
    for name in _IN_COMMON:
        text = own.get(name)
        if type(text) is str:
            own[name] = intern(text)
    return MappingProxyType(own)


@lru_cache(maxsize=256)
def shared_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return equal names as one object; only names from verified tokens come here."""
    return tuple(map(intern, names))


_IN_COMMON = ("iss", "aud", "client_id", "scope", "acr")


@dataclass(slots=True)
class CachedToken:
    """What one verified token is known to be. All that a hit reads stands here and not in the principal."""

    principal: Principal
    scopes: frozenset[str]
    """The principal's."""
    trust: Trust
    """The issuer's keys and revocations."""
    key_epoch: int
    """The keys that verified it; another epoch means: verify again."""
    revocation_version: int
    """How much of the feed was looked at; a newer version means: look again."""
    token_bytes: int
    """The token's length, for the cache's bound."""
    recheck_at: float
    """NumericDate from which the full path decides again: `exp` + leeway, or the end of the keys' life."""


class VerifiedTokens:
    """The cache. Reads need no lock; writes take one."""

    __slots__ = ("_bytes", "_lock", "_max_bytes", "_max_entries", "old", "young")

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        # Each generation holds half, so that both together stay within the limits.
        self._max_entries = max_entries // 2
        self._max_bytes = max_bytes // 2
        self._bytes = 0
        self._lock = threading.Lock()
        self.young: dict[bytes, CachedToken] = {}
        self.old: dict[bytes, CachedToken] = {}

    def __len__(self) -> int:
        return len(self.young) + sum(digest not in self.young for digest in tuple(self.old))

    def find(self, digest: bytes) -> CachedToken | None:
        """Look in both generations; what is found in the old one is brought back into the young one."""
        entry = self.young.get(digest)
        if entry is None:
            entry = self.old.get(digest)
            if entry is not None:
                self.keep(digest, entry)
        return entry

    def keep(self, digest: bytes, entry: CachedToken) -> None:
        """Keep a token that was verified."""
        cost = BYTES_PER_ENTRY + BYTES_PER_TOKEN_BYTE * entry.token_bytes
        if self._max_entries < 1 or cost > self._max_bytes:
            return
        with self._lock:
            if len(self.young) >= self._max_entries or self._bytes + cost > self._max_bytes:
                self.old, self.young, self._bytes = self.young, {}, 0
            if digest not in self.young:
                self._bytes += cost
            self.young[digest] = entry

    def drop(self, digest: bytes) -> None:
        """Forget one token."""
        self.young.pop(digest, None)
        self.old.pop(digest, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self.old, self.young, self._bytes = {}, {}, 0
