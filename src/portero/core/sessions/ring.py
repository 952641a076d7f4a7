"""The ring of spent generations: what a family remembers of refresh tokens older than the HEAD's parent.

Kept packed, 45 bytes a generation, and taken apart only when somebody comes with a spent token: an ordinary refresh
puts one generation in front and lets the oldest go, which is a slice of bytes and not sixteen records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from portero.core.quick import quick
from portero.core.types import Digest, NumericDate

RING_SIZE = 16
"""Spent generations kept per family."""

# Generation, first use, whether an attempt is known, its digest.
_ONE: Final = Struct(">Iq?32s")
_NO_DIGEST: Final = bytes(32)


@quick
@dataclass(frozen=True, slots=True)
class SpentToken:
    """A generation older than the parent, kept in the ring to tell a late honest request from a thief."""

    generation: int
    attempt_digest: Digest | None
    first_used: NumericDate


@quick
@dataclass(frozen=True, slots=True)
class Ring:
    """Spent generations, newest first. Rings are equal that hold the same."""

    packed: bytes = b""
    """As stored: `generation` (4 bytes, big-endian) ‖ `first_used` (8) ‖ attempt known (1) ‖ its digest (32), each."""

    @classmethod
    def of(cls, *spent: SpentToken) -> Ring:
        """Make a ring, newest first."""
        return cls(b"".join(map(_pack, spent)))

    def pushed(self, spent: SpentToken, *, size: int) -> Ring:
        """Return the ring with one more generation in front, and at most `size` of them."""
        return Ring(_pack(spent) + self.packed[: (size - 1) * _ONE.size])

    def find(self, generation: int) -> SpentToken | None:
        """Return what is remembered of a generation; None: nothing (any more)."""
        return next((spent for spent in self if spent.generation == generation), None)

    def __iter__(self) -> Iterator[SpentToken]:
        for generation, first_used, attempted, digest in _ONE.iter_unpack(self.packed):
            yield SpentToken(generation, Digest(digest) if attempted else None, NumericDate(first_used))

    def __len__(self) -> int:
        return len(self.packed) // _ONE.size


def _pack(spent: SpentToken) -> bytes:
    digest = spent.attempt_digest
    return _ONE.pack(spent.generation, spent.first_used, digest is not None, digest or _NO_DIGEST)
