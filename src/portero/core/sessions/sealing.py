"""The successor's secret, sealed under the presented token: what a database dump cannot open.

ChaCha20-Poly1305 (RFC 8439) under a key from HKDF-SHA-256 over the presented token's secret: expanded only, for 32
random bytes are a key already (RFC 5869 §3.3). The box opens only with that token, so a proven retry gets the same
successor and storage holds nothing readable.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from portero.core.tokens.refresh_token import RefreshToken
from portero.core.types import Secret

NONCE_BYTES: Final = 12
_INFO: Final = b"portero refresh-token successor v1"


def seal_successor(successor: Secret[bytes], *, presented: RefreshToken, nonce: bytes) -> bytes:
    """Seal the successor's secret for whoever presents `presented` again.

    Args:
        successor: 32 bytes.
        presented: the token that is being replaced.
        nonce: 12 random bytes.

    Returns:
        nonce ‖ ciphertext ‖ tag, 60 bytes.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("the nonce of a box has 12 bytes")
    return nonce + _cipher(presented).encrypt(nonce, successor.reveal(), _associated(presented))


def open_successor(box: bytes, *, presented: RefreshToken) -> Secret[bytes]:
    """Open a box with the token it was sealed for.

    Raises:
        cryptography.exceptions.InvalidTag: another token, or a damaged box. The caller has compared the
            presented secret with the stored digest, so for it this is a damaged database, not a refusal.
    """
    return Secret(_cipher(presented).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], _associated(presented)))


def _cipher(presented: RefreshToken) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDFExpand(SHA256(), 32, _INFO).derive(presented.secret.reveal()))


def _associated(presented: RefreshToken) -> bytes:
    return presented.family_id + presented.generation.to_bytes(4, "big")
