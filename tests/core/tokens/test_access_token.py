"""An access token that is accepted says all RFC 9068 asks for; each refusal has its own reason."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import orjson
import pytest

from portero.core.errors import ConfigurationError
from portero.core.jose.jws import sign_compact
from portero.core.tokens.access_token import (
    MAX_NUMERIC_DATE,
    AccessTokenRules,
    Fault,
    InvalidToken,
    VerifiedAccessToken,
    access_token_claims,
    unverified_header_of,
    unverified_issuer_of,
    verify_access_token,
)
from tests.core.jose.minting import AUDIENCE, ISSUER, NOW, RULES, claims, fault_of, finding, header, mint, private_key


def verified(body: dict[str, Any], rules: AccessTokenRules = RULES) -> VerifiedAccessToken:
    return verify_access_token(mint(body=body), rules=rules, find_key=finding(private_key()), now=NOW)


def rules(**changes: Any) -> AccessTokenRules:
    return AccessTokenRules(ISSUER, AUDIENCE, **changes)


def test_what_is_issued_is_what_is_verified() -> None:
    """RFC 9068 §2.2: every claim comes back as it went in."""
    key = private_key()
    issued = access_token_claims(
        issuer=ISSUER,
        subject="ana",
        audience=[AUDIENCE, "https://shop.example/stock"],
        client_id="shop",
        scope=["orders:read", "orders:write"],
        jti="j-1",
        iat=NOW,
        exp=NOW + 300,
        sid="s-1",
        auth_time=NOW - 60,
        acr="pwd",
        amr=["pwd"],
        roles=["manager"],
        cnf_jkt="thumb",
        cnf_x5t_s256="cert",
        act={"sub": "gateway"},
    )

    token = verify_access_token(
        sign_compact({"typ": "at+jwt"}, orjson.dumps(issued), key), rules=RULES, find_key=finding(key), now=NOW
    )

    assert token == VerifiedAccessToken(
        issuer=ISSUER,
        subject="ana",
        client_id="shop",
        audience=(AUDIENCE, "https://shop.example/stock"),
        scope=frozenset({"orders:read", "orders:write"}),
        roles=frozenset({"manager"}),
        jti="j-1",
        sid="s-1",
        iat=NOW,
        exp=NOW + 300,
        auth_time=NOW - 60,
        acr="pwd",
        amr=("pwd",),
        cnf_jkt="thumb",
        cnf_x5t_s256="cert",
        kid=key.kid,
        alg="ES256",
        claims=issued,
    )


def test_claims_without_content_are_left_out() -> None:
    """One audience is a string, and nothing is written that says nothing."""
    issued = access_token_claims(
        issuer=ISSUER, subject="ana", audience=AUDIENCE, client_id="shop", scope=(), jti="j", iat=NOW, exp=NOW + 1
    )

    assert issued == {
        "iss": ISSUER,
        "sub": "ana",
        "aud": AUDIENCE,
        "exp": NOW + 1,
        "iat": NOW,
        "jti": "j",
        "client_id": "shop",
    }


def test_a_token_without_audience_or_life_is_not_issued() -> None:
    """A mistake of ours, found before it is signed."""
    base: dict[str, Any] = {"issuer": ISSUER, "subject": "a", "client_id": "c", "scope": (), "jti": "j", "iat": NOW}
    for audience, exp in (((), NOW + 1), ("", NOW + 1), ([""], NOW + 1), (AUDIENCE, NOW), (AUDIENCE, NOW - 1)):
        with pytest.raises(ValueError, match=r"audience|exp"):
            access_token_claims(**base, audience=audience, exp=exp)


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "sub", "iat", "jti", "client_id"])
def test_each_required_claim_is_required(name: str) -> None:
    """RFC 9068 §2.2: absent, null, empty or of another type, it is refused."""
    assert fault_of(mint(body=claims())) is None

    wrong: tuple[Any, ...] = (..., None, "", {}, True, [None])
    faults = [fault_of(mint(body=claims(**{name: value}))) for value in wrong]

    expected = {"iss": Fault.ISSUER, "aud": Fault.AUDIENCE}.get(name, Fault.CLAIMS)
    assert faults == [expected] * len(faults)


@pytest.mark.parametrize("leeway", [0, 60])
def test_exp_ends_at_its_edge(leeway: int) -> None:
    """RFC 7519 §4.1.4: *on* or after `exp` (and the leeway) it is over; just before, it is not."""
    token = mint(body=claims(iat=NOW - 300, exp=NOW))
    edge = NOW + leeway

    assert fault_of(token, rules=rules(leeway=leeway), now=edge - 0.001) is None
    assert fault_of(token, rules=rules(leeway=leeway), now=edge) is Fault.EXPIRED


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("leeway", [0, 60])
def test_nbf_and_iat_begin_at_their_edge(name: str, leeway: int) -> None:
    """RFC 7519 §4.1.5: from the time on (less the leeway) it is valid; just before, it is not."""
    token = mint(body=claims(**{name: NOW}))
    edge = NOW - leeway

    assert fault_of(token, rules=rules(leeway=leeway), now=edge) is None
    assert fault_of(token, rules=rules(leeway=leeway), now=edge - 0.001) is Fault.NOT_YET_VALID


def test_dates_are_bounded() -> None:
    """The year 9999 is accepted, the second after it is a mistake; fractions are dates too (RFC 7519 §2)."""
    assert fault_of(mint(body=claims(exp=MAX_NUMERIC_DATE))) is None
    assert fault_of(mint(body=claims(exp=MAX_NUMERIC_DATE + 1))) is Fault.CLAIMS
    assert verified(claims(exp=NOW + 1.5)).exp == NOW + 1


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"sid": 5}, Fault.CLAIMS),
        ({"sid": ""}, Fault.CLAIMS),
        ({"sid": ["s"]}, Fault.CLAIMS),
        ({"acr": 1}, Fault.CLAIMS),
        ({"amr": "pwd"}, Fault.CLAIMS),
        ({"amr": [1]}, Fault.CLAIMS),
        ({"auth_time": "1"}, Fault.CLAIMS),
        ({"auth_time": True}, Fault.CLAIMS),
        ({"roles": "manager"}, Fault.CLAIMS),
        ({"roles": [1]}, Fault.CLAIMS),
        ({"roles": {"manager": {}}}, Fault.CLAIMS),
        ({"scope": ["orders:read"]}, Fault.CLAIMS),
        ({"scope": 5}, Fault.CLAIMS),
        ({"cnf": "x"}, Fault.CLAIMS),
        ({"cnf": None}, Fault.CLAIMS),
        ({"cnf": {}}, Fault.CLAIMS),
        ({"cnf": {"jkt": 5}}, Fault.CLAIMS),
        ({"cnf": {"jwk": {}}}, Fault.CLAIMS),
        ({"nbf": None}, Fault.CLAIMS),
    ],
)
def test_an_optional_claim_is_right_or_the_token_is_refused(changes: dict[str, Any], fault: Fault) -> None:
    """A claim somebody decides by is never read as absent because its type was unexpected."""
    assert fault_of(mint(body=claims(**changes))) is fault


def test_an_unknown_binding_does_not_become_a_bearer_token() -> None:
    """RFC 7800 §3.1: `cnf` that names nothing we can check refuses; beside one we can, it is ignored."""
    assert fault_of(mint(body=claims(cnf={"kid": "x"}))) is Fault.CLAIMS
    assert verified(claims(cnf={"kid": "x", "jkt": "t"})).cnf_jkt == "t"


def test_the_rules_refuse_to_be_empty() -> None:
    """Absent configuration never means unchecked."""
    settings: tuple[dict[str, Any], ...] = (
        {"issuer": "", "audience": AUDIENCE},
        {"issuer": ISSUER, "audience": ""},
        {"issuer": ISSUER, "audience": ()},
        {"issuer": ISSUER, "audience": (AUDIENCE, "")},
        {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ()},
        {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ("none",)},
        {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ("ES256", "HS256")},
        {"issuer": ISSUER, "audience": AUDIENCE, "leeway": -1},
        {"issuer": ISSUER, "audience": AUDIENCE, "leeway": 601},
        {"issuer": ISSUER, "audience": AUDIENCE, "insecure_optional_claims": frozenset({"exp"})},
    )
    for wrong in settings:
        with pytest.raises(ConfigurationError):
            AccessTokenRules(**wrong)
    assert rules(leeway=0).leeway == 0
    assert rules(leeway=600).leeway == 600
    assert rules(algorithms=("HS256",), insecure_accept_symmetric=True)


def test_several_audiences_may_be_ours() -> None:
    """One of ours in `aud` is enough."""
    ours = AccessTokenRules(ISSUER, ("https://other.example", AUDIENCE))

    assert verified(claims(), ours).audience == (AUDIENCE,)
    assert fault_of(mint(body=claims(aud="https://third.example")), rules=ours) is Fault.AUDIENCE


def test_typ_jwt_needs_an_explicit_choice() -> None:
    """Keycloak, Auth0 and Entra ID write `JWT`; another type, or none, stays refused."""
    relaxed = rules(insecure_accept_typ_jwt=True)

    assert fault_of(mint(header(typ="JWT"))) is Fault.TYPE
    assert fault_of(mint(header(typ="JWT")), rules=relaxed) is None
    assert fault_of(mint(header(typ="logout+jwt")), rules=relaxed) is Fault.TYPE
    assert fault_of(mint(header(typ=...)), rules=relaxed) is Fault.TYPE
    assert fault_of(mint(header(typ=...)), rules=rules(insecure_accept_missing_typ=True)) is None
    assert fault_of(mint(), rules=relaxed) is None


@pytest.mark.parametrize("name", ["sub", "iat", "jti", "client_id"])
def test_a_claim_an_issuer_leaves_out_needs_an_explicit_choice(name: str) -> None:
    """Absent is then accepted; a wrong type still is not, and the other claims stay required."""
    relaxed = rules(insecure_optional_claims=frozenset({name}))

    assert fault_of(mint(body=claims(**{name: ...})), rules=relaxed) is None
    assert fault_of(mint(body=claims(**{name: True})), rules=relaxed) is Fault.CLAIMS
    for other in {"sub", "iat", "jti", "client_id"} - {name}:
        assert fault_of(mint(body=claims(**{other: ...})), rules=relaxed) is Fault.CLAIMS


def test_claims_of_other_issuers_are_mapped() -> None:
    """Entra ID: `azp`, `uti`, `scp`."""
    entra = rules(client_id_claim="azp", jti_claim="uti", scope_claim="scp")

    token = verified(claims(client_id=..., jti=..., scope="x", azp="app", uti="u", scp="a b"), entra)

    assert (token.client_id, token.jti, token.scope) == ("app", "u", frozenset({"a", "b"}))


def test_scopes_as_an_array_need_an_explicit_choice() -> None:
    """Okta's `scp` is an array; RFC 9068 §2.2.3 wants a string."""
    okta = rules(scope_claim="scp", insecure_accept_scope_list=True)

    assert verified(claims(scp=["a", "b"]), okta).scope == frozenset({"a", "b"})
    assert fault_of(mint(body=claims(scp=["a", 1])), rules=okta) is Fault.CLAIMS
    assert fault_of(mint(body=claims(scp={"a": 1})), rules=okta) is Fault.CLAIMS


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("roles", {"roles": ["a", "b"]}, {"a", "b"}),
        ("roles", {}, set()),
        ("realm_access.roles", {"realm_access": {"roles": ["a"]}}, {"a"}),
        ("resource_access.shop.roles", {"resource_access": {"shop": {"roles": ["a"]}}}, {"a"}),
        ("realm_access.roles", {"realm_access": {}}, set()),
        ("realm_access.roles", {"realm_access": "x"}, set()),
        ("https://shop.example/roles", {"https://shop.example/roles": ["a"]}, {"a"}),
        ("urn:project:roles.*", {"urn:project:roles": {"a": {"org": "1"}, "b": {}}}, {"a", "b"}),
        ("x.roles.*", {"x": {"roles": {"a": 1}}}, {"a"}),
    ],
)
def test_roles_are_found_where_the_issuer_puts_them(path: str, content: dict[str, Any], expected: set[str]) -> None:
    """Keycloak nests them, Auth0 names the claim with a URL, Zitadel makes them member names."""
    assert verified(claims(**content), rules(roles_claim=path)).roles == expected


def test_roles_of_an_unexpected_shape_are_refused() -> None:
    """A list where member names were expected, an object where a list was."""
    assert fault_of(mint(body=claims(roles=["a"])), rules=rules(roles_claim="roles.*")) is Fault.CLAIMS
    assert fault_of(mint(body=claims(x={"roles": {"a": 1}})), rules=rules(roles_claim="x.roles")) is Fault.CLAIMS


def test_further_required_claims_are_required() -> None:
    """A rule may ask for more, never for less."""
    strict = rules(required_claims=("sid",))

    assert fault_of(mint(body=claims()), rules=strict) is Fault.CLAIMS
    assert fault_of(mint(body=claims(sid="s")), rules=strict) is None


def test_the_unverified_parts_choose_only_what_to_try() -> None:
    """Readable without a key; nonsense is `invalid_token`."""
    token = mint()

    assert unverified_issuer_of(token) == ISSUER
    assert unverified_header_of(token).kid == private_key().kid
    assert unverified_header_of(token).typ == "at+jwt"
    for broken in ("", "a.b", "a.b.c", mint(body=b"[]"), mint(body=b'{"iss":5}')):
        with pytest.raises(InvalidToken):
            unverified_issuer_of(broken)


def test_a_refusal_never_quotes_the_token() -> None:
    """Neither the wire text nor the log text carries a claim's value."""
    secret = "hunter2-hunter2"
    with pytest.raises(InvalidToken) as refused:
        verify_access_token(
            mint(body=claims(iss=secret, sub=secret)), rules=RULES, find_key=finding(private_key()), now=NOW
        )

    assert secret not in f"{refused.value} {refused.value.description} {refused.value.detail}"


def test_claims_are_read_only() -> None:
    """What was verified stays what was verified."""
    with pytest.raises(TypeError):
        verified(claims()).claims["sub"] = "root"  # type: ignore[index]  # refused on purpose


def test_a_verified_token_is_frozen() -> None:
    """What was verified is what everybody behind sees: no member can be set, and none was forgotten."""
    token = verified(claims())

    for each in fields(VerifiedAccessToken):
        with pytest.raises(FrozenInstanceError):
            setattr(token, each.name, getattr(token, each.name))
    assert type(token) is VerifiedAccessToken
