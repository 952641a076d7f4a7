"""What was taken back, and until when that matters (design §3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from portero.core.quick import quick
from portero.core.types import Issuer, NumericDate


class RevokedKind(Enum):
    """What a revocation names. Never token bytes (ECDSA signatures are malleable), never a comparison of clocks."""

    SESSION = "sid"
    TOKEN = "jti"
    CLIENT = "client_id"
    KEY = "kid"


@quick
@dataclass(frozen=True, slots=True)
class Revocation:
    """One thing taken back. A subject's are expanded to its sessions before they get here."""

    iss: Issuer
    kind: RevokedKind
    value: str
    at: NumericDate
    """When it was caused."""
    until: NumericDate
    """When the last token it concerns has expired everywhere: `last_access_exp` + leeway."""
    micros: int = 0
    """Microseconds past `at`, where it is known that finely: what the delay until it takes effect is measured from."""

    @property
    def caused_at(self) -> float:
        """When it was caused: seconds since 1970-01-01T00:00:00Z, UTC, with a fraction."""
        return self.at + self.micros / 1_000_000


@quick
@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A revocation with its place in the feed: cursor `"<epoch>:<n>"`."""

    epoch: str
    n: int
    revocation: Revocation
