"""openid-client and oauth4webapi, unmodified, sign in, refresh, call an API, and are signed out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portero.core.types import ClientId
from tests.strangers.node import Stranger
from tests.strangers.person import Person
from tests.strangers.world import CONFIDENTIAL, PUBLIC, SECRET, World, eavesdropper

CALLBACK = CONFIDENTIAL.redirect_uris[0]
BYE = CONFIDENTIAL.post_logout_redirect_uris[0]


def openid_client(world: World, **arguments: Any) -> Stranger:
    world.register(replace(CONFIDENTIAL, client_id=ClientId("openid-client")))
    return Stranger(
        "openid_client.mjs",
        issuer=world.issuer,
        api=world.api,
        client_id="openid-client",
        secret=SECRET,
        redirect_uri=CALLBACK,
        post_logout_redirect_uri=BYE,
        **arguments,
    )


def oauth4webapi(world: World, **arguments: Any) -> Stranger:
    world.register(replace(PUBLIC, client_id=ClientId("oauth4webapi"), first_party=False))
    return Stranger(
        "oauth4webapi.mjs",
        issuer=world.issuer,
        api=world.api,
        client_id="oauth4webapi",
        redirect_uri=CALLBACK,
        **arguments,
    )


def visits(person: Person) -> Any:
    return lambda url: person.visit(url, until="http://localhost:1/").location


def test_openid_client_signs_in_refreshes_and_calls_an_api(world: World, ana: Person) -> None:
    """The whole story with a confidential client, up to the sign-out that the person makes on another device."""
    with openid_client(world) as stranger:
        claims = stranger.until("claims", visit=visits(ana))
        assert (claims["sub"], claims["iss"], claims["aud"]) == ("u-ana", world.issuer, "openid-client")
        assert stranger.until("userinfo") == {
            "sub": "u-ana",
            "name": "Ana",
            "preferred_username": "ana",
            "email": "ana@example.org",
        }

        stranger.lives_until(ana.sign_out_everywhere)


def test_openid_client_signs_out(world: World, ana: Person) -> None:
    """RP-Initiated Logout 1.0 §2: with its ID token as hint nobody is asked, and everything under the sign-in ends."""
    with openid_client(world, law="leaves") as stranger:
        left = stranger.until("claims", visit=visits(ana)) and [stranger.until("userinfo"), stranger.until("api")]
        assert left[1] == 200
        stranger.until("refreshed")
        stranger.until("api")

        assert stranger.until("left", visit=visits(ana)) == f"{BYE}?state=left"
        assert ana.asked == ["/sign-in"]
        assert stranger.until("refused") == "invalid_grant"
        assert stranger.until("api") == 401


def test_openid_client_pushes_its_request(world: World, ana: Person) -> None:
    """RFC 9126: it finds the endpoint in the metadata, and the browser carries a reference."""
    with openid_client(world, par=True) as stranger:
        assert stranger.until("claims", visit=visits(ana))["sub"] == "u-ana"


@pytest.mark.parametrize("parameter", ["state", "iss"])
def test_openid_client_refuses_a_tampered_answer(world: World, ana: Person, parameter: str) -> None:
    """RFC 6749 §10.12, RFC 9207 §2.4: what we send with every answer lets a client notice."""
    with openid_client(world, law="refuses", tamper=parameter) as stranger:
        assert stranger.until("refused", visit=visits(ana)) == "OAUTH_INVALID_RESPONSE"


def test_openid_client_refuses_a_tampered_id_token(world: World, ana: Person) -> None:
    """OpenID Connect Core §3.1.3.7: signature and nonce are what it checks."""
    with openid_client(world, law="refuses") as stranger, eavesdropper(world):
        assert stranger.until("refused", visit=visits(ana)) == "OAUTH_JWT_CLAIM_COMPARISON_FAILED"


def test_oauth4webapi_signs_in_refreshes_and_calls_an_api(world: World, ana: Person) -> None:
    """A public client of somebody else: the person is asked whether they agree."""
    with oauth4webapi(world) as stranger:
        assert stranger.until("token_type", visit=visits(ana)) == "bearer"
        assert ana.asked == ["/sign-in", "/consent"]
        assert stranger.until("claims")["sub"] == "u-ana"

        stranger.lives_until(ana.sign_out_everywhere)


def test_oauth4webapi_binds_its_tokens_to_a_key(world: World, ana: Person) -> None:
    """RFC 9449 §5, §8: it proves its key at the token endpoint, with the nonce that the first refusal hands out."""
    with oauth4webapi(world, dpop=True) as stranger:
        assert stranger.until("token_type", visit=visits(ana)) == "dpop"
        stranger.until("claims")
        stranger.until("api")
        assert stranger.until("refreshed")


def test_oauth4webapi_refuses_a_tampered_answer(world: World, ana: Person) -> None:
    """Another state, and another ID token."""
    with oauth4webapi(world, law="refuses", tamper="state") as stranger:
        assert stranger.until("refused", visit=visits(ana)) == "OAUTH_INVALID_RESPONSE"
    with oauth4webapi(world, law="refuses") as stranger, eavesdropper(world):
        assert stranger.until("refused", visit=visits(ana)) == "OAUTH_JWT_CLAIM_COMPARISON_FAILED"
