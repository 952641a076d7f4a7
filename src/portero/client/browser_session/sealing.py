"""Sealed text: what a browser or a database keeps for us and can neither read nor change.

    sealed = base64url(nonce (12 bytes) ‖ AES-256-GCM ciphertext and tag)

A key is derived for each secret and purpose (HKDF-SHA-256), so that what was sealed for one purpose
opens for no other. Nonces are random: change the secret before 2^32 seals, which a thousand a second reach in 50 days.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portero.core.jose import base64url
from portero.core.jose.base64url import Base64UrlError
from portero.core.types import Secret
from portero.ports import Random

SHORTEST_SECRET: Final = 32
"""Characters."""
_NONCE_BYTES: Final = 12


class Seal:
    """Seals for one purpose with the first secret, opens with any.

    Args:
        secrets: the newest first.
        purpose: part of the derived key.
        random: of nonces.
    """

    def __init__(self, secrets: Sequence[Secret[str]], *, purpose: str, random: Random) -> None:
        self._ciphers = [AESGCM(_derived(secret, purpose)) for secret in secrets]
        self._random = random

    def seal(self, text: bytes, *, name: str = "") -> str:
        """Seal `text` under `name`; it opens under the same name only."""
        nonce = self._random.bytes(_NONCE_BYTES)
        return base64url.encode(nonce + self._ciphers[0].encrypt(nonce, text, name.encode()))

    def open(self, sealed: str, *, name: str = "") -> bytes | None:
        """Open; None where it was not sealed by us for this purpose and name."""
        try:
            raw = base64url.decode(sealed)
        except Base64UrlError:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], name.encode())
            except (InvalidTag, ValueError):
                continue
        return None


def _derived(secret: Secret[str], purpose: str) -> bytes:
    info = f"portero browser session: {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.reveal().encode())
