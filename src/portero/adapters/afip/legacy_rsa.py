"""AFIP's signatures: RSA PKCS #1 v1.5 over raw bytes, with SHA-1 and keys down to 1024 bits where AFIP still has them.

Nothing else in Portero imports this. Which hash belongs to which key is configuration, and never read from a message.
A system policy that forbids SHA-1 signatures makes it fail like a wrong signature; no message is accepted then.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

ALGORITHMS = {"RS1": hashes.SHA1, "RS256": hashes.SHA256}
"""Registered JOSE names of RSASSA-PKCS1-v1_5; `RS1` is "prohibited" there, and what AFIP does."""
MIN_BITS, MAX_BITS = 1024, 4096


def load_key(pem: bytes) -> rsa.RSAPublicKey:
    """Read a pinned key from PEM: a public key, or a certificate, of which only the key counts.

    AFIP has signed with a certificate that was over for years: neither validity nor issuer of one says anything.

    Raises:
        ValueError: it is not an RSA key of 1024 to 4096 bits.
    """
    certified = b"BEGIN CERTIFICATE" in pem
    key: object = load_pem_x509_certificate(pem).public_key() if certified else load_pem_public_key(pem)
    if not isinstance(key, rsa.RSAPublicKey) or not MIN_BITS <= key.key_size <= MAX_BITS:
        raise ValueError("it must be an RSA key of 1024 to 4096 bits")
    return key


def verifies(key: rsa.RSAPublicKey, *, signature: bytes, data: bytes, algorithm: str) -> bool:
    """Say whether the key signed these bytes.

    Args:
        algorithm: of `ALGORITHMS`; the caller's, from configuration.
    """
    try:
        key.verify(signature, data, padding.PKCS1v15(), ALGORITHMS[algorithm]())
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def sign(key: rsa.RSAPrivateKey, data: bytes, *, algorithm: str) -> bytes:
    """Sign as AFIP does. For the emulator."""
    return key.sign(data, padding.PKCS1v15(), ALGORITHMS[algorithm]())
