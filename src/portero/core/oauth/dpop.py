"""DPoP: proofs of possession and the server's nonces (RFC 9449).

A proof is checked in the order of §4.3. The nonce is stateless: a time slot and an HMAC
over it, so that every server of a fleet knows it and nothing is stored. Leaves to the
caller: committing the `ReplayMark` of a proof, and comparing the thumbprint with what a
code, family or token is bound to.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from portero.core.digests import namespaced_digest
from portero.core.jose import base64url
from portero.core.jose.jwk import JwkError, PublicKey, parse_public_jwk
from portero.core.jose.jws import JwsError, unverified_header, verify_compact
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.oauth.errors import invalid_dpop_proof, use_dpop_nonce
from portero.core.transitions import ReplayMark
from portero.core.types import NumericDate, Secret

PROOF_TYP = "dpop+jwt"
PROOF_ALGORITHMS = ("ES256", "RS256", "PS256", "Ed25519")
MAX_PROOF_LENGTH = 4096
"""Characters."""
MAX_JTI_LENGTH = 256
NONCE_SLOT = 60
"""Seconds a nonce is the current one. It is accepted for one slot more."""

_MAC_BYTES = 16
_OCTET: Final = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """A proof that belongs to this request."""

    jkt: str
    """JWK SHA-256 thumbprint (RFC 7638) of the key that was proven."""
    replay: ReplayMark
    """To be committed; a mark seen before is `invalid_dpop_proof`."""
    renew_nonce: bool = False
    """The nonce is not this slot's: the answer brings the client the next one (RFC 9449 §8.2)."""


def issue_nonce(key: Secret[bytes], *, now: NumericDate) -> str:
    """Return the nonce of this time slot: the same for everybody, as every server of the fleet would make it."""
    return _nonce(key, now // NONCE_SLOT)


def validate_nonce(nonce: str, *, key: Secret[bytes], now: NumericDate) -> bool:
    """Say whether the nonce is of this slot or the last (or, as clocks differ within a fleet, of the next)."""
    slot = now // NONCE_SLOT
    presented = nonce.encode("utf-8", "replace")
    return any(hmac.compare_digest(presented, _nonce(key, near).encode()) for near in (slot, slot - 1, slot + 1))


def verify_proof(
    proof: str,
    *,
    htm: str,
    htu: str | Collection[str],
    now: NumericDate,
    leeway: int,
    nonce_key: Secret[bytes] | None,
    expected_ath: Secret[str] | None = None,
) -> VerifiedProof:
    """Check a DPoP proof (RFC 9449 §4.3).

    Args:
        proof: the header's one value.
        htm: the request's method.
        htu: the URL clients are told for this endpoint, or those it has, never built from request headers.
        now: NumericDate.
        leeway: seconds of clock difference tolerated for `iat`.
        nonce_key: the fleet's key; `None`: nonces are not asked for, and `iat` alone bounds the proof's life.
        expected_ath: the access token that comes with the proof, where one does.

    Does not check: that the proof's `jti` was not seen before; commit `replay` for that.

    Raises:
        RequestError: `invalid_dpop_proof`, or `use_dpop_nonce` for a proof that is good but for
            its nonce. Nothing was committed.
    """
    key, claims = _verified(proof)
    # Items 8 and 9.
    if claims.get("htm") != htm:
        raise invalid_dpop_proof("the DPoP proof's htm is not this request's method")
    presented_htu = claims.get("htu")
    accepted = (htu,) if isinstance(htu, str) else htu
    if not isinstance(presented_htu, str) or _normal(presented_htu) not in map(_normal, accepted):
        raise invalid_dpop_proof("the DPoP proof's htu is not this endpoint")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_LENGTH:
        raise invalid_dpop_proof("the DPoP proof has no jti")
    iat = claims.get("iat")
    if type(iat) is not int:
        raise invalid_dpop_proof("the DPoP proof has no iat")
    # Item 12 (ath) before the nonce: what can be told without a second try is told first.
    if expected_ath is not None:
        digest = base64url.encode(hashlib.sha256(expected_ath.reveal().encode()).digest())
        if claims.get("ath") != digest:
            raise invalid_dpop_proof("the DPoP proof's ath is not the access token's")
    # Item 10: a nonce of ours says when the proof was made, whatever the client's clock shows (§8);
    # so it comes before iat, and its answer tells the client our time.
    nonce = claims.get("nonce")
    if nonce_key is not None and not (isinstance(nonce, str) and validate_nonce(nonce, key=nonce_key, now=now)):
        raise use_dpop_nonce()
    # Item 11.
    if not now - leeway - NONCE_SLOT <= iat <= now + leeway:
        raise invalid_dpop_proof("the DPoP proof's iat is too far from the server's time")
    # The nonce bounds the proof's life whatever its iat says; the mark has to outlive both.
    expires = NumericDate(now + 3 * NONCE_SLOT + 2 * leeway)
    return VerifiedProof(
        key.thumbprint,
        ReplayMark(namespaced_digest(f"dpop {key.thumbprint}", jti), expires),
        renew_nonce=nonce_key is not None and nonce != issue_nonce(nonce_key, now=now),
    )


def _verified(proof: str) -> tuple[PublicKey, dict[str, Any]]:
    """Items 2 to 7: well formed, `typ`, `alg`, `jwk` without private part, signature."""
    try:
        jwk = unverified_header(proof, max_length=MAX_PROOF_LENGTH).members.get("jwk")
        if not isinstance(jwk, dict):
            raise invalid_dpop_proof("the DPoP proof's header has no jwk")
        key = parse_public_jwk({**jwk, "alg": jwk.get("alg", unverified_header(proof).alg)})
        jws = verify_compact(
            proof,
            # The one place where a key comes from a header: what is proven is possession, not identity.
            find_key=lambda _kid, _alg: key,
            algorithms=PROOF_ALGORITHMS,
            expected_typ=frozenset({PROOF_TYP}),
            max_length=MAX_PROOF_LENGTH,
        )
        return key, parse_object(jws.payload)
    except (JwsError, JwkError, StrictJsonError) as error:
        raise invalid_dpop_proof(f"DPoP proof refused: {error}") from None


def _normal(url: str) -> str:
    """As RFC 9449 §4.3 item 9 compares: without query and fragment, normalized by syntax (RFC 3986 §6.2.2) and scheme.

    Empty for what is no URL; nothing that is accepted is empty, for configured URLs are.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").lower(), parts.port
    except ValueError:
        return ""
    if port is not None and (scheme, port) not in {("https", 443), ("http", 80)}:
        host = f"{host}:{port}"
    return f"{scheme}://{host}{_OCTET.sub(_as_written, parts.path) or '/'}"


def _as_written(octet: re.Match[str]) -> str:
    character = chr(int(octet[1], 16))
    return character if character in _UNRESERVED else octet[0].upper()


def _nonce(key: Secret[bytes], slot: int) -> str:
    mac = hmac.digest(key.reveal(), b"dpop nonce " + slot.to_bytes(8, "big"), "sha256")
    return base64url.encode(mac[:_MAC_BYTES])
