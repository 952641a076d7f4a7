"""Make signing keys, with the operating system's randomness."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portero.core.errors import ConfigurationError
from portero.core.jose.jwk import PrivateKey, private_key_of

RSA_BITS = 2048


def generate_private_key(alg: str) -> PrivateKey:
    """Generate a key to sign with; its `kid` is its thumbprint (RFC 7638).

    Args:
        alg: `ES256`, `RS256` or `Ed25519`.

    Raises:
        ConfigurationError: another algorithm.
    """
    if alg == "ES256":
        return private_key_of(ec.generate_private_key(ec.SECP256R1()), alg=alg)
    if alg == "RS256":
        return private_key_of(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS), alg=alg)
    if alg == "Ed25519":
        return private_key_of(Ed25519PrivateKey.generate(), alg=alg)
    raise ConfigurationError("signing_algorithm", alg, "must be ES256, RS256 or Ed25519")
