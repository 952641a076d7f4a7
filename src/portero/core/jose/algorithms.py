"""The algorithms, in one table (RFC 7518 §3, RFC 8037 §3.1, RFC 9864).

| `alg` | issue | verify |
|---|---|---|
| ES256, RS256, Ed25519 | yes | yes |
| HS256 | by explicit choice | by explicit choice |
| ES384, ES512, RS384, RS512, PS256, PS384, PS512 | no | yes |

`none` is not in the table, and neither is anything else. `EdDSA` is another spelling of
Ed25519 (RFC 9864 §4.1.2 deprecates it), understood only where it is asked for by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hmac import HMAC

Verify = Callable[[bytes, bytes], bool]
"""`(signature, signing_input)` → whether the signature is this key's over these bytes."""
Sign = Callable[[bytes], bytes]
"""`signing_input` → signature, in the encoding JWS wants."""


class Family(Enum):
    """What a key of the algorithm is made of."""

    EC = "EC"
    RSA_PKCS1 = "RSASSA-PKCS1-v1_5"
    RSA_PSS = "RSASSA-PSS"
    ED25519 = "Ed25519"
    HMAC = "HMAC"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row of the table."""

    alg: str
    family: Family
    kty: str
    crv: str | None = None
    curve: ec.EllipticCurve | None = None
    hash: type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = hashes.SHA256
    size: int = 32
    """Bytes of one ECDSA coordinate, or of the hash."""
    issues: bool = False


_ROWS: Final = (
    Algorithm("ES256", Family.EC, "EC", "P-256", ec.SECP256R1(), hashes.SHA256, 32, issues=True),
    Algorithm("ES384", Family.EC, "EC", "P-384", ec.SECP384R1(), hashes.SHA384, 48),
    Algorithm("ES512", Family.EC, "EC", "P-521", ec.SECP521R1(), hashes.SHA512, 66),
    Algorithm("RS256", Family.RSA_PKCS1, "RSA", None, None, hashes.SHA256, 32, issues=True),
    Algorithm("RS384", Family.RSA_PKCS1, "RSA", None, None, hashes.SHA384, 48),
    Algorithm("RS512", Family.RSA_PKCS1, "RSA", None, None, hashes.SHA512, 64),
    Algorithm("PS256", Family.RSA_PSS, "RSA", None, None, hashes.SHA256, 32),
    Algorithm("PS384", Family.RSA_PSS, "RSA", None, None, hashes.SHA384, 48),
    Algorithm("PS512", Family.RSA_PSS, "RSA", None, None, hashes.SHA512, 64),
    Algorithm("Ed25519", Family.ED25519, "OKP", "Ed25519", issues=True),
    Algorithm("HS256", Family.HMAC, "oct", None, None, hashes.SHA256, 32, issues=True),
)
ALGORITHMS: Final[dict[str, Algorithm]] = {row.alg: row for row in _ROWS}
SYMMETRIC: Final = frozenset(row.alg for row in _ROWS if row.family is Family.HMAC)
"""Whoever can verify these can also issue them: never on by default."""
ISSUABLE: Final = frozenset(row.alg for row in _ROWS if row.issues)
_ALIASES: Final = {"EdDSA": "Ed25519"}
ACCEPTABLE: Final = frozenset(ALGORITHMS) | frozenset(_ALIASES)
"""Every name a verifier may be configured with."""


def canonical_alg(alg: str) -> str:
    """Return the fully specified name (RFC 9864): `EdDSA` means Ed25519 here, all others themselves."""
    return _ALIASES.get(alg, alg)


# ── verify ───────────────────────────────────────────────────────────────────────────


def ecdsa_verifier(row: Algorithm, key: ec.EllipticCurvePublicKey) -> Verify:
    """Verify `r ‖ s` of fixed length (RFC 7518 §3.4); DER on the wire is refused by its length."""
    size = row.size
    length = 2 * size
    # hashlib is half a microsecond quicker to hash than the library that verifies.
    algorithm = ec.ECDSA(Prehashed(row.hash()))
    digest_of = getattr(hashlib, row.hash.name)
    verify = key.verify

    def verify_ecdsa(signature: bytes, signing_input: bytes) -> bool:
        if len(signature) != length:
            return False
        r = signature[:size].lstrip(b"\x00")
        s = signature[size:].lstrip(b"\x00")
        # r = s = 0 satisfies the equation for any message where a library forgets to look (CVE-2022-21449).
        if not r or not s:
            return False
        try:
            verify(_der_signature(r, s), digest_of(signing_input).digest(), algorithm)
        except InvalidSignature:
            return False
        return True

    return verify_ecdsa


def _der_signature(r: bytes, s: bytes) -> bytes:
    """Write SEQUENCE { INTEGER r, INTEGER s } (X.690) from big-endian bytes without leading zeros."""
    if r[0] & 0x80:
        r = b"\x00" + r
    if s[0] & 0x80:
        s = b"\x00" + s
    return _DER_OPENINGS[len(r), len(s)] + r + _DER_MIDDLES[len(s)] + s


_DER_LENGTHS: Final = range(1, 68)
"""Of one INTEGER: 66 bytes for P-521, and a zero before a byte that would read as a sign."""
_DER_MIDDLES: Final = {length: bytes((0x02, length)) for length in _DER_LENGTHS}
_DER_OPENINGS: Final = {
    (r, s): bytes((0x30, body, 0x02, r) if (body := r + s + 4) < 0x80 else (0x30, 0x81, body, 0x02, r))
    for r in _DER_LENGTHS
    for s in _DER_LENGTHS
}
"""Written once: putting them together takes a third of the time of writing the signature."""


def rsa_verifier(row: Algorithm, key: RSAPublicKey) -> Verify:
    """Verify RSASSA-PKCS1-v1_5 or RSASSA-PSS (RFC 7518 §3.3, §3.5): salt and MGF1 as the hash."""
    length = (key.key_size + 7) // 8
    algorithm = row.hash()
    scheme: padding.PKCS1v15 | padding.PSS
    if row.family is Family.RSA_PKCS1:
        scheme = padding.PKCS1v15()
    else:
        scheme = padding.PSS(mgf=padding.MGF1(row.hash()), salt_length=row.size)
    verify = key.verify

    def verify_rsa(signature: bytes, signing_input: bytes) -> bool:
        if len(signature) != length:
            return False
        try:
            verify(signature, signing_input, scheme, algorithm)
        except InvalidSignature:
            return False
        return True

    return verify_rsa


def ed25519_verifier(key: Ed25519PublicKey) -> Verify:
    """Verify Ed25519 (RFC 8037 §3.1)."""
    verify = key.verify

    def verify_ed25519(signature: bytes, signing_input: bytes) -> bool:
        if len(signature) != 64:
            return False
        try:
            verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True

    return verify_ed25519


def hmac_verifier(secret: bytes) -> Verify:
    """Verify HS256 in constant time (RFC 7518 §3.2); the keyed state is prepared once and copied for each message."""
    prepared = HMAC(secret, hashes.SHA256())

    def verify_hmac(signature: bytes, signing_input: bytes) -> bool:
        state = prepared.copy()
        state.update(signing_input)
        try:
            state.verify(signature)
        except InvalidSignature:
            return False
        return True

    return verify_hmac


# ── sign ─────────────────────────────────────────────────────────────────────────────


def ecdsa_signer(row: Algorithm, key: ec.EllipticCurvePrivateKey) -> Sign:
    """Sign as `r ‖ s`, deterministically (RFC 6979): a pure function, and no nonce to get wrong."""
    algorithm = ec.ECDSA(row.hash(), deterministic_signing=True)
    size = row.size

    def sign_ecdsa(signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signing_input, algorithm))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign_ecdsa


def rsa_signer(row: Algorithm, key: RSAPrivateKey) -> Sign:
    """Sign RSASSA-PKCS1-v1_5. PSS is verify-only: its salt would be randomness inside `core`."""
    scheme, algorithm = padding.PKCS1v15(), row.hash()

    def sign_rsa(signing_input: bytes) -> bytes:
        return key.sign(signing_input, scheme, algorithm)

    return sign_rsa


def ed25519_signer(key: Ed25519PrivateKey) -> Sign:
    """Sign Ed25519."""
    return key.sign


def hmac_signer(secret: bytes) -> Sign:
    """Authenticate with HMAC-SHA-256."""
    prepared = HMAC(secret, hashes.SHA256())

    def sign_hmac(signing_input: bytes) -> bytes:
        state = prepared.copy()
        state.update(signing_input)
        return state.finalize()

    return sign_hmac
