"""Tokens that were verified a moment ago: bounded in entries and bytes, keyed by SHA-256 of the whole token.

Only successes are kept, so that refused tokens cannot push good ones out. An entry says what
was learned and under which keys and which revocations; whether that still holds is asked at
every hit by the Guard. Two generations instead of a linked list: when the young one is full it
becomes the old one, and what is used again comes back. A hit is one dictionary lookup.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from portero.core.policy.principal import Principal

if TYPE_CHECKING:
    from portero.resource_server.trust import Trust

BYTES_PER_ENTRY = 2200
"""Memory of an entry beside the claims' own text, measured (`bench/guard.py`)."""
BYTES_PER_TOKEN_BYTE = 4
"""Parsed claims weigh more than the token that held them."""


@dataclass(slots=True)
class CachedToken:
    """What one verified token is known to be."""

    principal: Principal
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

    def again(self, digest: bytes) -> CachedToken | None:
        """Look in the old generation, and bring what is found back into the young one."""
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
