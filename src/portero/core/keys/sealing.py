"""Private keys at rest: AES-256-GCM under a key-encryption key kept outside the database.

    sealed = key id (1 byte) ‖ nonce (12 bytes) ‖ ciphertext and tag

The key id and the `kid` are authenticated with it, so a sealed key opens only under the
name it was stored with.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portero.core.errors import PorteroError
from portero.core.types import Secret

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16


class SealError(PorteroError):
    """A sealed private key does not open: another key-encryption key, another `kid`, or damage."""


def seal_private(jwk: Secret[bytes], *, key: Secret[bytes], key_id: int, nonce: bytes, kid: str) -> bytes:
    """Seal a private JWK for storage.

    Args:
        jwk: as `private_key_to_jwk` exports it.
        key: the key-encryption key, 32 bytes.
        key_id: 0 to 255, names `key`.
        nonce: 12 random bytes, never used twice with `key`.
        kid: the name it is stored under.

    Raises:
        ValueError: a size is wrong.
    """
    if len(key.reveal()) != KEY_BYTES or len(nonce) != NONCE_BYTES or not 0 <= key_id <= 255:
        raise ValueError("a key-encryption key has 32 bytes, a nonce 12, a key id fits one byte")
    ciphertext = AESGCM(key.reveal()).encrypt(nonce, jwk.reveal(), _associated(key_id, kid))
    return bytes((key_id,)) + nonce + ciphertext


def sealing_key_id(sealed: bytes) -> int:
    """Tell which key-encryption key opens it.

    Raises:
        SealError: too short to be a sealed key.
    """
    if len(sealed) < 1 + NONCE_BYTES + _TAG_BYTES:
        raise SealError("a sealed private key is truncated")
    return sealed[0]


def open_private(sealed: bytes, *, key: Secret[bytes], kid: str) -> Secret[bytes]:
    """Open a sealed private JWK.

    Raises:
        SealError: it was not sealed under this key for this `kid`, or it is damaged.
    """
    key_id = sealing_key_id(sealed)
    nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return Secret(AESGCM(key.reveal()).decrypt(nonce, ciphertext, _associated(key_id, kid)))
    except InvalidTag:
        raise SealError(f"the private key of kid {kid!r} does not open with key-encryption key {key_id}") from None


def _associated(key_id: int, kid: str) -> bytes:
    return bytes((key_id,)) + kid.encode()
