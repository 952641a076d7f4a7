"""Tokens of other issuers, in the shapes their documentation shows, by the settings of docs/how-to/other-issuers.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from portero.adapters.keys.generate import generate_private_key
from portero.core.jose.jwk_set import parse_jwk_set, render_jwk_set
from portero.core.policy.refusal import Case
from portero.resource_server import Guard, Principal, Refusal, TrustedIssuer
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import new_key

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/other-issuers.md"
CLOCK = FakeClock()
NOW = int(CLOCK.now())


def _settings() -> dict[str, Any]:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    return names


SETTINGS = _settings()

SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "KEYCLOAK": (
        {"typ": "JWT"},
        {
            "exp": NOW + 300,
            "iat": NOW,
            "auth_time": NOW - 30,
            "jti": "onrtac:9f1c0f6e-0b4e-4b8e-a5f3-2d1d37a4f0ce",
            "iss": "https://keycloak.example/realms/shop",
            "aud": ["orders", "account"],
            "sub": "f7a1c1be-6f5a-4b8d-8c0b-4a3c8f1f2b11",
            "typ": "Bearer",
            "azp": "shop-web",
            "sid": "0b9ff9d3-6a6c-4d8d-a1c5-a5b1ef2f33aa",
            "acr": "1",
            "allowed-origins": ["https://shop.example"],
            "realm_access": {"roles": ["manager", "offline_access"]},
            "resource_access": {"orders": {"roles": ["refunds"]}},
            "scope": "openid orders:read",
            "email_verified": True,
            "preferred_username": "bob",
        },
    ),
    "AUTH0": (
        {"typ": "at+jwt"},
        {
            "iss": "https://shop.eu.auth0.com/",
            "sub": "auth0|123456",
            "aud": ["https://shop.example/orders", "https://shop.eu.auth0.com/userinfo"],
            "client_id": "my_client_id",
            "exp": NOW + 300,
            "iat": NOW,
            "jti": "73WakrfVbNJBaAmhQtEeDv",
            "scope": "openid orders:read",
            "permissions": ["manager"],
        },
    ),
    "AUTH0_OWN_PROFILE": (
        {"typ": "JWT"},
        {
            "iss": "https://shop.us.auth0.com/",
            "sub": "auth0|123456",
            "aud": ["https://shop.example/orders", "https://shop.us.auth0.com/userinfo"],
            "azp": "my_client_id",
            "exp": NOW + 300,
            "iat": NOW,
            "scope": "openid orders:read",
            "permissions": ["manager"],
        },
    ),
    "ENTRA_ID": (
        {"typ": "JWT"},
        {
            "aud": "66666666-7777-8888-9999-000000000000",
            "iss": "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 300,
            "aio": "AXQAi/8IAAAA",
            "azp": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            "azpacr": "0",
            "oid": "99999999-8888-7777-6666-555555555555",
            "preferred_username": "bob@shop.example",
            "rh": "0.AXoA",
            "roles": ["manager"],
            "scp": "orders:read",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
            "tid": "11111111-2222-3333-4444-555555555555",
            "uti": "fqiBqXLPj0eQa82S-IYFAA",
            "ver": "2.0",
        },
    ),
    "GOOGLE": (
        {"typ": "JWT"},
        {
            "iss": "https://accounts.google.com",
            "azp": "113774264463038321964",
            "aud": "https://orders-abc123-ew.a.run.app",
            "sub": "113774264463038321964",
            "email": "shipping@shop.iam.gserviceaccount.com",
            "email_verified": True,
            "exp": NOW + 300,
            "iat": NOW,
        },
    ),
    "ZITADEL": (
        {"typ": "JWT"},
        {
            "iss": "https://shop-abc123.zitadel.cloud",
            "sub": "171717171717171717",
            "aud": ["292929292929292929@shop", "282828282828282828"],
            "exp": NOW + 300,
            "iat": NOW,
            "nbf": NOW,
            "jti": "303030303030303030",
            "urn:zitadel:iam:org:project:roles": {"manager": {"161616161616161616": "shop.zitadel.cloud"}},
        },
    ),
}


def issued(name: str, *, header: dict[str, Any] | None = None, **changes: Any) -> tuple[Guard, str]:
    """The page's Guard with one key of the issuer, and a token of its shape."""
    members, claims = SHAPES[name]
    settings: list[TrustedIssuer] = [SETTINGS[one] for one in SHAPES]
    guard = Guard(issuers=settings, audience=SETTINGS["guard"].audience, revocation=None, clock=CLOCK)
    issuer = InMemoryIssuer(SETTINGS[name].issuer, alg="RS256", clock=CLOCK)
    guard.trust(issuer.url).keys.fetched(parse_jwk_set(issuer.jwk_set()), now=CLOCK.monotonic())
    kept = {key: value for key, value in {**claims, **changes}.items() if value is not None}
    return guard, issuer.tokens.compose({**members, **(header or {})}, kept)


def admitted(name: str, **changes: Any) -> Principal | Refusal:
    guard, token = issued(name, **changes)
    return guard.admit(token.encode(), guard.requires())


@pytest.mark.parametrize("name", SHAPES)
def test_a_token_in_the_issuers_own_shape_is_accepted(name: str) -> None:
    """Its client, scopes and roles arrive where every service looks for them."""
    principal = admitted(name)

    assert isinstance(principal, Principal), principal
    claims = SHAPES[name][1]
    assert principal.subject == claims["sub"]
    assert principal.client_id == claims.get("azp", claims.get("client_id", ""))
    if name != "GOOGLE":
        assert "manager" in principal.roles
    if name not in {"GOOGLE", "ZITADEL"}:
        assert principal.has_scope("orders:read")


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "changes",
    [{"aud": "somebody else"}, {"exp": None}, {"exp": NOW - 60}, {"sub": None}, {"iss": "https://other.example"}],
)
def test_what_no_issuer_may_leave_out_is_still_asked_for(name: str, changes: dict[str, Any]) -> None:
    """A relaxation relaxes one thing."""
    outcome = admitted(name, **changes)

    assert isinstance(outcome, Refusal)
    assert outcome.case is Case.INVALID_TOKEN


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("KEYCLOAK", {"typ": "ID"}),
        ("KEYCLOAK", {"typ": "Refresh"}),
        ("KEYCLOAK", {"typ": None}),
        ("ENTRA_ID", {"ver": "1.0"}),
        ("ENTRA_ID", {"ver": 2}),
        ("GOOGLE", {"email_verified": False}),
        ("GOOGLE", {"email_verified": 1}),
        ("AUTH0", {"header": {"typ": "JWT"}}),
        ("KEYCLOAK", {"header": {"typ": "logout+jwt"}}),
        ("ZITADEL", {"urn:zitadel:iam:org:project:roles": ["manager"]}),
    ],
)
def test_what_tells_an_access_token_from_others_is_asked_for(name: str, changes: dict[str, Any]) -> None:
    """Where the type does not, something else must, and a value is that very value."""
    assert isinstance(admitted(name, **changes), Refusal)


def test_one_issuers_key_verifies_none_of_anothers_tokens() -> None:
    """All of them are trusted, each for itself, whatever key a token names."""
    guard, _ = issued("KEYCLOAK")
    thief = generate_private_key("RS256")
    for name in SHAPES:
        own = thief if name == "KEYCLOAK" else new_key("RS256", kid=thief.kid)
        keys = parse_jwk_set(render_jwk_set([own.public]))
        guard.trust(SETTINGS[name].issuer).keys.fetched(keys, now=CLOCK.monotonic())
    tokens = InMemoryIssuer(clock=CLOCK).tokens

    admitted_by = []
    for name, (members, claims) in SHAPES.items():
        token = tokens.compose({**members, "alg": "RS256", "kid": thief.kid}, claims, key=thief)
        if isinstance(guard.admit(token.encode(), guard.requires()), Principal):
            admitted_by.append(name)

    assert admitted_by == ["KEYCLOAK"]
