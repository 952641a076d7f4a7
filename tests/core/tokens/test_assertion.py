"""The internal assertion: what it carries, and what it is never mistaken for (design §3.6)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from portero.core.jose.jws import sign_compact
from portero.core.policy.principal import Principal
from portero.core.tokens.access_token import AccessTokenRules, Fault, InvalidToken, verify_access_token
from portero.core.tokens.assertion import (
    ASSERTION_TYP,
    LONGEST_LIFE,
    assertion_claims,
    assertion_rules,
    verify_assertion,
)
from portero.core.types import ClientId, Issuer, Jti, Kid, NumericDate, Sid, Subject
from portero.testing.tokens import new_key

GATEWAY, SERVICE, ISSUER = "https://gateway.test", "https://service.test/api", "https://issuer.test"
NOW = 1_700_000_000
KEY = new_key(kid="gateway-1")
RULES = assertion_rules(issuer=GATEWAY, audience=SERVICE, algorithms=("ES256",), leeway=0)


def principal(**changes: Any) -> Principal:
    return Principal(
        **{
            "issuer": Issuer(ISSUER),
            "subject": Subject("alice"),
            "client_id": ClientId("shop"),
            "scopes": frozenset({"orders:read", "orders:write"}),
            "roles": frozenset({"manager"}),
            "jti": Jti("token-1"),
            "sid": Sid("session-1"),
            "audience": (SERVICE,),
            "issued_at": NumericDate(NOW - 10),
            "expires_at": NumericDate(NOW + 100),
            "auth_time": NumericDate(NOW - 20),
            "acr": "pwd",
            "amr": ("pwd",),
            "kid": Kid("issuer-1"),
            "cnf_jkt": None,
            "claims": {"tenant": "acme", "aud": "elsewhere", "exp": 1, "sub_id": {"iss": "forged"}},
            **changes,
        }
    )


def signed(claims: dict[str, Any], typ: str = ASSERTION_TYP) -> str:
    return sign_compact({"typ": typ}, orjson.dumps(claims), KEY)


def asserted(one: Principal, *, now: int = NOW) -> str:
    return signed(assertion_claims(one, issuer=GATEWAY, audience=SERVICE, now=now))


def fault(token: str, *, now: float = NOW, original_issuer: str = ISSUER) -> Fault | None:
    try:
        verify_assertion(token, rules=RULES, original_issuer=original_issuer, find_key=lambda *_: KEY.public, now=now)
    except InvalidToken as error:
        return error.fault
    return None


def test_a_service_learns_what_the_token_said() -> None:
    """Caller, session, rights and the issuer of the token: all but the token itself."""
    verified = verify_assertion(
        asserted(principal()), rules=RULES, original_issuer=ISSUER, find_key=lambda *_: KEY.public, now=NOW
    )

    assert (verified.issuer, verified.subject, verified.client_id) == (ISSUER, "alice", "shop")
    assert ({"orders:read", "orders:write"}, {"manager"}) == (verified.scope, verified.roles)
    assert (verified.sid, verified.jti, verified.auth_time, verified.acr) == ("session-1", "token-1", NOW - 20, "pwd")
    assert verified.claims["tenant"] == "acme"


@pytest.mark.parametrize(
    ("left", "lives"), [(100, 100), (LONGEST_LIFE, LONGEST_LIFE), (86_400, LONGEST_LIFE), (-5, -5)]
)
def test_it_never_outlives_its_token(left: int, lives: int) -> None:
    """`exp` no later than the token's, and no later than five minutes."""
    claims = assertion_claims(principal(expires_at=NumericDate(NOW + left)), issuer=GATEWAY, audience=SERVICE, now=NOW)

    assert claims["exp"] == NOW + lives


def test_a_bound_token_is_asserted_after_its_proof_only() -> None:
    """Else a stolen bound token would become a bearer token inside."""
    with pytest.raises(ValueError, match="proof"):
        assertion_claims(principal(cnf_jkt="thumb"), issuer=GATEWAY, audience=SERVICE, now=NOW)
    with pytest.raises(ValueError, match="proof"):
        assertion_claims(principal(cnf_x5t_s256="thumb"), issuer=GATEWAY, audience=SERVICE, now=NOW)

    proven = principal(cnf_jkt="thumb", sender_constraint_proven=True)
    assert assertion_claims(proven, issuer=GATEWAY, audience=SERVICE, now=NOW)["cnf"] == {"jkt": "thumb"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"iss": ISSUER}, Fault.ISSUER),
        ({"aud": "https://other.test"}, Fault.AUDIENCE),
        ({"sub_id": None}, Fault.ISSUER),
        ({"sub_id": {"format": "opaque", "iss": ISSUER}}, Fault.ISSUER),
        ({"sub_id": {"format": "iss_sub", "iss": "https://other.test"}}, Fault.ISSUER),
        ({"exp": NOW}, Fault.EXPIRED),
    ],
)
def test_each_check_of_an_assertion_is_its_own_reason(changes: dict[str, Any], expected: Fault | None) -> None:
    """Only that one thing is changed."""
    claims = assertion_claims(principal(), issuer=GATEWAY, audience=SERVICE, now=NOW)

    assert fault(signed({**claims, **changes})) == expected


@pytest.mark.attack(row=80)
def test_no_kind_of_token_passes_for_the_other() -> None:
    """Only `typ` is changed: a caller's token is no assertion, an assertion no access token (RFC 8725 §3.11)."""
    claims = assertion_claims(principal(), issuer=GATEWAY, audience=SERVICE, now=NOW)
    as_token = AccessTokenRules(issuer=GATEWAY, audience=SERVICE, leeway=0)

    assert fault(signed(claims, "at+jwt")) is Fault.TYPE
    with pytest.raises(InvalidToken) as refused:
        verify_access_token(signed(claims), rules=as_token, find_key=lambda *_: KEY.public, now=NOW)
    assert refused.value.fault is Fault.TYPE
