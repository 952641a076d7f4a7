"""JSON Web Keys: parse, render, thumbprint (RFC 7517, RFC 7518 §6, RFC 7638, RFC 8037 §2).

A key is bound to one algorithm the moment it is parsed: by its `alg` member, by its curve,
or, for an RSA key that does not say, by the caller's default. A token's header can then
only agree with that or be refused; it never chooses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portero.core.jose import algorithms, base64url
from portero.core.jose.algorithms import ALGORITHMS, ISSUABLE, Algorithm, Family, Sign, Verify, canonical_alg
from portero.core.jose.base64url import Base64UrlError
from portero.core.jose.roca import has_roca_fingerprint
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.types import Secret

MIN_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""
MAX_RSA_BITS: Final = 8192
"""Larger keys only cost time, and a DPoP key is the stranger's choice."""
MAX_RSA_EXPONENT: Final = 2**32 - 1
MIN_HMAC_BYTES: Final = 32
"""RFC 7518 §3.2: as long as the hash."""
MAX_KID_LENGTH: Final = 512
"""Characters."""

_PRIVATE_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_CURVE_ALG: Final = {row.crv: row.alg for row in ALGORITHMS.values() if row.crv is not None}
_KEY_TEXT: Final = re.compile(rb"-----BEGIN |ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-")
"""Text forms of a public key. As an HMAC secret they are the classic confusion (CVE-2017-11424 and its heirs)."""


class JwkError(ValueError):
    """The key is not acceptable. Never quotes a member that may be secret."""


@dataclass(frozen=True, slots=True, eq=False)
class PublicKey:
    """A key that verifies, for one algorithm. Made by `parse_public_jwk` only.

    For HS256, which has to be asked for by name, it holds the shared secret; it never
    prints or renders it.
    """

    alg: str
    """The one algorithm, in its fully specified name."""
    kid: str | None
    thumbprint: str
    """RFC 7638, SHA-256, base64url."""
    verify: Verify = field(repr=False)
    members: Mapping[str, str] = field(repr=False)
    """The required public members (RFC 7638 §3.2); empty for a symmetric key."""


@dataclass(frozen=True, slots=True, eq=False)
class PrivateKey:
    """A key that signs, for one algorithm. Exported by `private_key_to_jwk` only."""

    alg: str
    kid: str
    sign: Sign = field(repr=False)
    public: PublicKey
    _secret_members: Secret[bytes] = field(repr=False)


def parse_public_jwk(
    jwk: Mapping[str, Any], *, default_rsa_alg: str = "RS256", insecure_allow_hmac: bool = False
) -> PublicKey:
    """Parse one JWK that verifies signatures.

    Args:
        jwk: the parsed JSON object.
        default_rsa_alg: what an RSA key without `alg` is bound to.
        insecure_allow_hmac: accept `oct` keys: whoever verifies with one can issue with it too.

    Does not check: certificates (`x5c`, `x5u`, `x5t` are ignored), who vouches for the key.

    Raises:
        JwkError: a private member, an unknown or mismatched `kty`, `crv` or `alg`, `use` or `key_ops`
            for something else, a weak key, or a malformed member.
    """
    kty = _text(jwk, "kty")
    if kty == "oct":
        if not insecure_allow_hmac:
            raise JwkError("kty is oct: symmetric keys are not accepted here")
    elif any(member in jwk for member in _PRIVATE_MEMBERS):
        raise JwkError("a private key where a public key was expected")
    _require_purpose(jwk, "verify")
    row = _row_of(jwk, kty, default_rsa_alg)
    kid = _kid_of(jwk)
    verify: Verify
    members: dict[str, str]
    match row.family:
        case Family.EC:
            verify = algorithms.ecdsa_verifier(row, _ec_public_numbers(jwk, row))
            members = {"crv": str(row.crv), "kty": kty, "x": _text(jwk, "x"), "y": _text(jwk, "y")}
        case Family.RSA_PKCS1 | Family.RSA_PSS:
            verify = algorithms.rsa_verifier(row, _rsa_public_numbers(jwk).public_key())
            members = {"e": _text(jwk, "e"), "kty": kty, "n": _text(jwk, "n")}
        case Family.ED25519:
            verify = algorithms.ed25519_verifier(_ed25519_public(jwk))
            members = {"crv": "Ed25519", "kty": kty, "x": _text(jwk, "x")}
        case Family.HMAC:
            verify = algorithms.hmac_verifier(_hmac_secret(jwk))
            return PublicKey(row.alg, kid, _thumbprint_of({"k": _text(jwk, "k"), "kty": kty}), verify, {})
    return PublicKey(row.alg, kid, _thumbprint_of(members), verify, members)


def render_public_jwk(key: PublicKey) -> dict[str, str]:
    """Render the public JWK with `alg`, `kid` and `use` (RFC 7517 §4).

    Raises:
        JwkError: the key is symmetric; it has no public form.
    """
    if not key.members:
        raise JwkError("a symmetric key has no public form")
    jwk = {**key.members, "use": "sig", "alg": key.alg}
    if key.kid is not None:
        jwk["kid"] = key.kid
    return jwk


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Compute the JWK thumbprint, SHA-256, base64url (RFC 7638 §3), of a public or private key.

    Does not check: that the key is acceptable; `parse_public_jwk` does, and its result carries the thumbprint.

    Raises:
        JwkError: a required member is missing, or `kty` is unknown.
    """
    kty = _text(jwk, "kty")
    required = {
        "EC": ("crv", "kty", "x", "y"),
        "RSA": ("e", "kty", "n"),
        "OKP": ("crv", "kty", "x"),
        "oct": ("k", "kty"),
    }
    if kty not in required:
        raise JwkError("unknown kty")
    return _thumbprint_of({member: _text(jwk, member) for member in required[kty]})


# ── private keys ─────────────────────────────────────────────────────────────────────


def private_key_from_jwk(jwk: Secret[bytes], *, insecure_allow_hmac: bool = False) -> PrivateKey:
    """Import a private JWK (JSON bytes). Without `kid`, the thumbprint becomes it.

    Raises:
        JwkError: as `parse_public_jwk`; also when the private and public parts do not belong
            together, or the algorithm is verify-only.
    """
    try:
        members = parse_object(jwk.reveal())
    except StrictJsonError as error:
        raise JwkError(f"not a JWK: {error}") from None
    kty = _text(members, "kty")
    if kty != "oct" and "d" not in members:
        raise JwkError("a public key where a private key was expected")
    _require_purpose(members, "sign")
    public_members = {
        name: value
        for name, value in members.items()
        if name != "key_ops" and (kty == "oct" or name not in _PRIVATE_MEMBERS)
    }
    public = parse_public_jwk(public_members, insecure_allow_hmac=insecure_allow_hmac)
    row = ALGORITHMS[public.alg]
    if public.alg not in ISSUABLE:
        raise JwkError(f"{public.alg} is verify-only")
    kid = public.kid or public.thumbprint
    public = PublicKey(public.alg, kid, public.thumbprint, public.verify, public.members)
    return PrivateKey(public.alg, kid, _signer_of(members, row), public, Secret(jwk.reveal()))


def private_key_to_jwk(key: PrivateKey) -> Secret[bytes]:
    """Export a private key as JWK (JSON bytes), with `alg` and `kid`. To be sealed before it is stored."""
    members = parse_object(key._secret_members.reveal())
    return Secret(orjson.dumps({**members, "alg": key.alg, "kid": key.kid}))


def private_key_of(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey, *, alg: str, kid: str | None = None
) -> PrivateKey:
    """Wrap a key object of `cryptography`.

    Raises:
        JwkError: as `private_key_from_jwk`.
    """
    members = {"alg": alg, **_private_members(key)}
    if kid is not None:
        members["kid"] = kid
    return private_key_from_jwk(Secret(orjson.dumps(members)))


def _private_members(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey) -> dict[str, str]:
    if isinstance(key, rsa.RSAPrivateKey):
        private = key.private_numbers()
        return {
            "kty": "RSA",
            "n": _uint_text(private.public_numbers.n),
            "e": _uint_text(private.public_numbers.e),
            "d": _uint_text(private.d),
            "p": _uint_text(private.p),
            "q": _uint_text(private.q),
            "dp": _uint_text(private.dmp1),
            "dq": _uint_text(private.dmq1),
            "qi": _uint_text(private.iqmp),
        }
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.key_size + 7) // 8
        numbers = key.private_numbers()
        point = numbers.public_numbers
        crv = next((row.crv for row in ALGORITHMS.values() if row.curve and row.curve.name == key.curve.name), None)
        if crv is None:
            raise JwkError("this curve is not supported")
        return {
            "kty": "EC",
            "crv": crv,
            "x": base64url.encode(point.x.to_bytes(size, "big")),
            "y": base64url.encode(point.y.to_bytes(size, "big")),
            "d": base64url.encode(numbers.private_value.to_bytes(size, "big")),
        }
    raw = serialization.Encoding.Raw
    public = key.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
    private_raw = key.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(public), "d": base64url.encode(private_raw)}


def _signer_of(jwk: Mapping[str, Any], row: Algorithm) -> Sign:
    try:
        match row.family:
            case Family.EC:
                point = _ec_public_numbers(jwk, row).public_numbers()
                scalar = int.from_bytes(_octets(jwk, "d", row.size), "big")
                return algorithms.ecdsa_signer(row, ec.EllipticCurvePrivateNumbers(scalar, point).private_key())
            case Family.RSA_PKCS1 | Family.RSA_PSS:
                numbers = rsa.RSAPrivateNumbers(
                    p=_uint(jwk, "p"),
                    q=_uint(jwk, "q"),
                    d=_uint(jwk, "d"),
                    dmp1=_uint(jwk, "dp"),
                    dmq1=_uint(jwk, "dq"),
                    iqmp=_uint(jwk, "qi"),
                    public_numbers=_rsa_public_numbers(jwk),
                )
                return algorithms.rsa_signer(row, numbers.private_key())
            case Family.ED25519:
                private = Ed25519PrivateKey.from_private_bytes(_octets(jwk, "d", 32))
                raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
                if private.public_key().public_bytes(*raw) != _octets(jwk, "x", 32):
                    raise JwkError("d and x do not belong together")
                return algorithms.ed25519_signer(private)
            case Family.HMAC:
                return algorithms.hmac_signer(_hmac_secret(jwk))
    except JwkError:
        raise
    except ValueError:
        raise JwkError("the private and public members do not belong together") from None


# ── members ──────────────────────────────────────────────────────────────────────────


def _row_of(jwk: Mapping[str, Any], kty: str, default_rsa_alg: str) -> Algorithm:
    """Decide the one algorithm of this key."""
    if "alg" in jwk:
        alg = canonical_alg(_text(jwk, "alg"))
    elif kty in ("EC", "OKP"):
        alg = _CURVE_ALG.get(_text(jwk, "crv"), "")
    elif kty == "RSA":
        alg = default_rsa_alg
    elif kty == "oct":
        alg = "HS256"
    else:
        raise JwkError("unknown kty")
    row = ALGORITHMS.get(alg)
    if row is None:
        raise JwkError("unknown alg or crv")
    if row.kty != kty:
        raise JwkError("alg and kty do not belong together")
    if row.crv is not None and _text(jwk, "crv") != row.crv:
        raise JwkError("alg and crv do not belong together")
    return row


def _require_purpose(jwk: Mapping[str, Any], operation: str) -> None:
    """Refuse a key that says it is for something else (RFC 7517 §4.2, §4.3)."""
    if jwk.get("use", "sig") != "sig":
        raise JwkError("use is not sig")
    if "key_ops" in jwk:
        key_ops = jwk["key_ops"]
        if not isinstance(key_ops, list) or operation not in key_ops:
            raise JwkError(f"key_ops does not include {operation}")


def _kid_of(jwk: Mapping[str, Any]) -> str | None:
    if "kid" not in jwk:
        return None
    kid = _text(jwk, "kid")
    if not 0 < len(kid) <= MAX_KID_LENGTH:
        raise JwkError("kid is empty or too long")
    return kid


def _ec_public_numbers(jwk: Mapping[str, Any], row: Algorithm) -> ec.EllipticCurvePublicKey:
    if row.curve is None:
        raise JwkError("the algorithm has no curve")
    x = int.from_bytes(_octets(jwk, "x", row.size), "big")
    y = int.from_bytes(_octets(jwk, "y", row.size), "big")
    try:
        return ec.EllipticCurvePublicNumbers(x, y, row.curve).public_key()
    except ValueError:
        raise JwkError("the point is not on the curve") from None


def _rsa_public_numbers(jwk: Mapping[str, Any]) -> rsa.RSAPublicNumbers:
    n, e = _uint(jwk, "n"), _uint(jwk, "e")
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:
        raise JwkError(f"an RSA modulus has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    if not 3 <= e <= MAX_RSA_EXPONENT or e % 2 == 0 or n % 2 == 0:
        # e = 1 makes every message its own signature.
        raise JwkError("the RSA exponent or modulus is degenerate")
    if has_roca_fingerprint(n):
        raise JwkError("the RSA key comes from a broken generator (ROCA)")
    return rsa.RSAPublicNumbers(e, n)


def _ed25519_public(jwk: Mapping[str, Any]) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(_octets(jwk, "x", 32))
    except ValueError:
        raise JwkError("x is not an Ed25519 key") from None


def _hmac_secret(jwk: Mapping[str, Any]) -> bytes:
    secret = _octets(jwk, "k", None)
    if len(secret) < MIN_HMAC_BYTES:
        raise JwkError(f"an HS256 secret has at least {MIN_HMAC_BYTES} bytes")
    if _KEY_TEXT.search(secret) is not None or _is_der_public_key(secret):
        raise JwkError("a public key is no secret")
    return secret


def _is_der_public_key(data: bytes) -> bool:
    if data[0] != 0x30:
        return False
    try:
        serialization.load_der_public_key(data)
    except Exception:  # whatever it raises: it is not a public key then
        return False
    return True


def _text(jwk: Mapping[str, Any], member: str) -> str:
    value = jwk.get(member)
    if not isinstance(value, str):
        raise JwkError(f"{member} is missing or no string")
    return value


def _octets(jwk: Mapping[str, Any], member: str, size: int | None) -> bytes:
    try:
        value = base64url.decode(_text(jwk, member))
    except Base64UrlError:
        raise JwkError(f"{member} is not base64url") from None
    if size is not None and len(value) != size:
        # RFC 7518 §6.2.1.2: coordinates have their full length.
        raise JwkError(f"{member} has not {size} bytes")
    return value


def _uint(jwk: Mapping[str, Any], member: str) -> int:
    """Base64urlUInt (RFC 7518 §2): the shortest form."""
    value = _octets(jwk, member, None)
    if not value or value[0] == 0:
        raise JwkError(f"{member} is not the shortest form of a number")
    return int.from_bytes(value, "big")


def _uint_text(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _thumbprint_of(members: Mapping[str, str]) -> str:
    return base64url.encode(hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest())
