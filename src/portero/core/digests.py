"""SHA-256 of secrets: the only form in which storage sees them."""

from __future__ import annotations

import hashlib

from portero.core.types import Digest, Secret


def sha256_of(secret: Secret[bytes] | Secret[str]) -> Digest:
    """Digest a high-entropy secret (at least 128 random bits: no salt is needed, and none is used)."""
    value = secret.reveal()
    return Digest(hashlib.sha256(value.encode() if isinstance(value, str) else value).digest())


def namespaced_digest(namespace: str, value: str) -> Digest:
    """Digest of a value that is unique within `namespace` (`ReplayMark`)."""
    return Digest(hashlib.sha256(namespace.encode() + b"\x00" + value.encode()).digest())
