"""The internal assertion: what a gateway tells a service about the caller, signed (design §3.6).

In the layout `gateway` a service never sees the caller's token. It gets this instead: an access
token of the gateway's own, with its own `typ` and issuer, for that one service, and no longer valid
than the token it stands for. A token whose issuer is trusted at the edge is refused here, so nobody
comes around the gateway.

Whose caller it is stands in `sub_id` (RFC 9493 §3.2.3, format `iss_sub`): `iss` is the gateway's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from portero.core.jose.jws import FindKey, JwsError, unverified_payload
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.policy.principal import Principal
from portero.core.tokens.access_token import Fault, InvalidToken, VerifiedAccessToken, verify_access_token
from portero.core.tokens.access_token_rules import AccessTokenRules

ASSERTION_TYP: Final = "portero-assertion+jwt"
"""A `typ` of its own: no access token passes for an assertion, nor the other way round (RFC 8725 §3.11)."""
LONGEST_LIFE: Final = 300
"""Seconds. A token that lives for a day is asserted anew every five minutes, with the roles the edge then sees."""
_SET_HERE: Final = ("iss", "aud", "exp", "iat", "nbf", "jti", "sub", "sub_id", "client_id", "scope", "roles", "sid")
_PROVEN_HERE: Final = ("cnf", "auth_time", "acr", "amr")


def assertion_claims(principal: Principal, *, issuer: str, audience: str, now: int) -> dict[str, Any]:
    """Compose the claims of an assertion. Sign them with `typ: portero-assertion+jwt`.

    Args:
        principal: who was admitted. One bound to a key must have proven it at the edge.
        issuer: the gateway.
        audience: the service.
        now: NumericDate.

    Raises:
        ValueError: the caller's key or certificate was not proven.
    """
    bound = principal.cnf_jkt is not None or principal.cnf_x5t_s256 is not None
    if bound and not principal.sender_constraint_proven:
        raise ValueError("a bound token is asserted after its proof only")
    claims = {name: value for name, value in principal.claims.items() if name not in _SET_HERE + _PROVEN_HERE}
    claims |= {
        "iss": issuer,
        "sub_id": {"format": "iss_sub", "iss": principal.issuer, "sub": principal.subject},
        "aud": audience,
        "iat": now,
        "exp": min(principal.expires_at, now + LONGEST_LIFE),
    }
    # What the caller's issuer may leave out stays out.
    optional: tuple[tuple[str, Any], ...] = (
        ("sub", principal.subject),
        ("jti", principal.jti),
        ("client_id", principal.client_id),
        ("scope", " ".join(sorted(principal.scopes))),
        ("roles", sorted(principal.roles)),
        ("sid", principal.sid),
        ("auth_time", principal.auth_time),
        ("acr", principal.acr),
        ("amr", list(principal.amr)),
        ("cnf", {} if principal.cnf_jkt is None else {"jkt": principal.cnf_jkt}),
    )
    claims.update((name, value) for name, value in optional if value not in (None, "", [], {}))
    return claims


def assertion_rules(*, issuer: str, audience: str, algorithms: tuple[str, ...], leeway: int) -> AccessTokenRules:
    """What an acceptable assertion is: strict, and of the one gateway.

    `sub`, `client_id` and `jti` are as the caller's issuer gave them, which may leave one out.
    """
    return AccessTokenRules(
        issuer=issuer,
        audience=audience,
        algorithms=algorithms,
        leeway=leeway,
        typ=ASSERTION_TYP,
        insecure_optional_claims=frozenset({"sub", "client_id", "jti"}),
    )


def unverified_original_issuer_of(assertion: str) -> str:
    """Read whose caller this is, to choose which revocations apply. Decides nothing else.

    Raises:
        InvalidToken: no assertion: a caller's own token has no such claim.
    """
    try:
        return original_issuer_in(parse_object(unverified_payload(assertion)))
    except (JwsError, StrictJsonError):
        raise InvalidToken(Fault.MALFORMED, "the token is no assertion of the gateway") from None


def original_issuer_in(claims: Mapping[str, Any]) -> str:
    """The issuer of the token the assertion stands for.

    Raises:
        InvalidToken: it does not say.
    """
    named = claims.get("sub_id")
    issuer = named.get("iss") if isinstance(named, Mapping) and named.get("format") == "iss_sub" else None
    if not isinstance(issuer, str) or not issuer:
        raise InvalidToken(Fault.ISSUER, "the token is no assertion of the gateway")
    return issuer


def verify_assertion(
    assertion: str, *, rules: AccessTokenRules, original_issuer: str, find_key: FindKey, now: float
) -> VerifiedAccessToken:
    """Verify an assertion as any token, and that it stands for a token of `original_issuer`.

    Returns:
        What the caller's own token said; `issuer` is that of the token.

    Raises:
        InvalidToken: with the first check that failed.
    """
    verified = verify_access_token(assertion, rules=rules, find_key=find_key, now=now)
    if original_issuer_in(verified.claims) != original_issuer:
        raise InvalidToken(Fault.ISSUER, "the assertion is about another issuer's caller")
    return replace(verified, issuer=original_issuer)
