"""The ID token: claims to issue, verification by a client, and as a hint at sign-out (OpenID Connect Core §2, §3.1.3).

An ID token tells a client who signed in. It opens no API: its `typ` is `JWT`, which no
strict verifier of access tokens accepts.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from portero.core.errors import RequestError
from portero.core.jose import base64url
from portero.core.jose.algorithms import ALGORITHMS
from portero.core.jose.jws import FindKey, JwsError, VerifiedJws, verify_compact
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.tokens.access_token import MAX_NUMERIC_DATE

TYP: Final = "JWT"
_TYPS: Final = frozenset({"jwt", None})
"""`typ` of ID tokens is not registered; many issuers leave it out."""
_OWN_CLAIMS: Final = frozenset(
    {"iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid"}
)


class InvalidIdToken(RequestError):
    """The ID token is refused. Never carries any part of it."""

    def __init__(self, description: str) -> None:
        super().__init__("invalid_token", description, status=401)


@dataclass(frozen=True, slots=True)
class VerifiedIdToken:
    """What a verified ID token says. Times are NumericDate."""

    issuer: str
    subject: str
    audience: tuple[str, ...]
    exp: int
    iat: int
    auth_time: int | None
    acr: str | None
    amr: tuple[str, ...]
    sid: str | None
    claims: Mapping[str, Any]
    """All claims, read-only."""


@dataclass(frozen=True, slots=True)
class IdTokenHint:
    """Whose sign-in an `id_token_hint` names. It may long have expired."""

    subject: str
    sid: str | None
    audience: tuple[str, ...]


def id_token_claims(
    *,
    issuer: str,
    subject: str,
    client_id: str,
    iat: int,
    exp: int,
    auth_time: int | None = None,
    nonce: str | None = None,
    acr: str | None = None,
    amr: Iterable[str] = (),
    sid: str | None = None,
    at_hash: str | None = None,
    claims: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compose the claims of an ID token to issue (OpenID Connect Core §2). Sign them with `typ: JWT`.

    Args:
        client_id: becomes `aud`.
        iat, exp, auth_time: NumericDate.
        nonce: the authorization request's, unchanged; absent when that had none.
        at_hash: of `at_hash_of`, when an access token is issued beside it.
        claims: further claims about the person, such as `name`; never one of the above.

    Raises:
        ValueError: `exp` is not after `iat`, or `claims` names a claim of the protocol.
    """
    if exp <= iat:
        raise ValueError("exp is after iat")
    further = dict(claims or {})
    if not _OWN_CLAIMS.isdisjoint(further):
        raise ValueError("claims about the person do not replace claims of the protocol")
    protocol: tuple[tuple[str, Any], ...] = (
        ("auth_time", auth_time),
        ("nonce", nonce),
        ("acr", acr),
        ("amr", list(amr) or None),
        ("sid", sid),
        ("at_hash", at_hash),
    )
    present = {name: value for name, value in protocol if value is not None}
    return {"iss": issuer, "sub": subject, "aud": client_id, "exp": exp, "iat": iat, **present, **further}


def at_hash_of(access_token: str, *, alg: str) -> str:
    """Hash an access token for `at_hash`: the left half, with the hash of the ID token's `alg` (§3.1.3.6).

    Ed25519 hashes with SHA-512.

    Raises:
        KeyError: `alg` is not in the table of algorithms.
    """
    row = ALGORITHMS[alg]
    name = "sha512" if alg == "Ed25519" else row.hash.name
    digest = hashlib.new(name, access_token.encode()).digest()
    return base64url.encode(digest[: len(digest) // 2])


def verify_id_token(
    token: str,
    *,
    issuer: str,
    client_id: str,
    expected_nonce: str | None,
    find_key: FindKey,
    now: float,
    algorithms: tuple[str, ...] = ("ES256",),
    leeway: int = 60,
    max_age: int | None = None,
    access_token: str | None = None,
) -> VerifiedIdToken:
    """Verify an ID token as the client it is for (OpenID Connect Core §3.1.3.7).

    Args:
        expected_nonce: what this client put into its request; `None` only where it sent none.
        leeway, max_age: seconds.
        access_token: the one issued beside it; compared with `at_hash` when that is present.

    Does not check: `acr` against what was asked for.

    Raises:
        InvalidIdToken: with the first check that failed.
    """
    jws, claims = _verified_claims(token, find_key, algorithms)
    hint = validate_id_token_hint(claims, issuer=issuer, client_id=client_id)
    # §3.1.3.7 step 4 and 5: further audiences are strangers unless this client is the authorized party.
    azp = claims.get("azp")
    if (len(hint.audience) > 1 or azp is not None) and azp != client_id:
        raise InvalidIdToken("azp is not this client")
    exp, iat = _date(claims, "exp"), _date(claims, "iat")
    if now >= exp + leeway:
        raise InvalidIdToken("the ID token has expired")
    if now < iat - leeway:
        raise InvalidIdToken("the ID token is from the future")
    if expected_nonce is not None and not _same(claims.get("nonce"), expected_nonce):
        raise InvalidIdToken("nonce is not the one of this sign-in")
    auth_time = _date(claims, "auth_time") if claims.get("auth_time") is not None else None
    if max_age is not None and (auth_time is None or now > auth_time + max_age + leeway):
        raise InvalidIdToken("the sign-in is older than max_age, or does not say")
    if access_token is not None and "at_hash" in claims:
        expected = at_hash_of(access_token, alg=jws.key.alg)
        if not _same(claims["at_hash"], expected):
            raise InvalidIdToken("at_hash belongs to another access token")
    amr = claims.get("amr", [])
    if type(amr) is not list or not all(type(name) is str for name in amr):
        raise InvalidIdToken("amr is no array of strings")
    return VerifiedIdToken(
        issuer=issuer,
        subject=hint.subject,
        audience=hint.audience,
        exp=int(exp),
        iat=int(iat),
        auth_time=None if auth_time is None else int(auth_time),
        acr=_optional_text(claims, "acr"),
        amr=tuple(amr),
        sid=hint.sid,
        claims=MappingProxyType(claims),
    )


def verify_id_token_hint(
    token: str, *, issuer: str, client_id: str | None, find_key: FindKey, algorithms: tuple[str, ...]
) -> IdTokenHint:
    """Verify an `id_token_hint` this server issued (OpenID Connect RP-Initiated Logout §2).

    Does not check: `exp`: the hint of an expired sign-in is still a hint.

    Raises:
        InvalidIdToken: not ours, not an ID token, or not for this client.
    """
    _, claims = _verified_claims(token, find_key, algorithms)
    return validate_id_token_hint(claims, issuer=issuer, client_id=client_id)


def validate_id_token_hint(claims: Mapping[str, Any], *, issuer: str, client_id: str | None) -> IdTokenHint:
    """Validate claims whose signature and `typ` have been verified.

    Args:
        client_id: who presents it; `None` when the request does not say, then `audience` does.

    Does not check: `exp`.

    Raises:
        InvalidIdToken: another issuer or client, or no subject.
    """
    if claims.get("iss") != issuer:
        raise InvalidIdToken("the ID token is from another issuer")
    aud = claims.get("aud")
    audience = (aud,) if type(aud) is str else tuple(aud) if type(aud) is list else ()
    if not audience or not all(type(name) is str and name for name in audience):
        raise InvalidIdToken("aud is missing or no string or array of strings")
    if client_id is not None and client_id not in audience:
        raise InvalidIdToken("the ID token is for another client")
    subject = _optional_text(claims, "sub")
    if subject is None:
        raise InvalidIdToken("sub is missing")
    return IdTokenHint(subject, _optional_text(claims, "sid"), audience)


def _verified_claims(token: str, find_key: FindKey, algorithms: tuple[str, ...]) -> tuple[VerifiedJws, dict[str, Any]]:
    try:
        jws = verify_compact(token, find_key=find_key, algorithms=algorithms, expected_typ=_TYPS)
        return jws, parse_object(jws.payload)
    except JwsError as error:
        raise InvalidIdToken(error.description) from None
    except StrictJsonError as error:
        raise InvalidIdToken(f"the claims are no acceptable JSON object: {error}") from None


def _date(claims: Mapping[str, Any], name: str) -> int | float:
    value = claims.get(name)
    if (type(value) is int or type(value) is float) and 0 <= value <= MAX_NUMERIC_DATE:
        return value
    raise InvalidIdToken(f"{name} is missing or no acceptable NumericDate")


def _optional_text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None or (type(value) is str and value):
        return value
    raise InvalidIdToken(f"{name} is no text")


def _same(value: Any, expected: str) -> bool:
    return type(value) is str and hmac.compare_digest(value.encode(), expected.encode())
