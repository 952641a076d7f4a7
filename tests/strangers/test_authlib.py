"""Authlib, unmodified, in a Starlette application."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from portero.core.types import ClientId
from portero.testing.ports import free_port
from tests.strangers.authlib_site import authlib_site
from tests.strangers.person import Person
from tests.strangers.world import CONFIDENTIAL, SECRET, World, eavesdropper


@pytest.fixture(scope="module")
def site(world: World) -> str:
    """The application's address."""
    port = free_port()
    client = world.register(
        replace(CONFIDENTIAL, client_id=ClientId("authlib"), redirect_uris=(f"http://localhost:{port}/callback",))
    )
    app = authlib_site(world.issuer, client_id=client.client_id, client_secret=SECRET)
    return world.serve(app, port=port)


def test_authlib_signs_in_refreshes_and_calls_an_api(world: World, ana: Person, site: str) -> None:
    """From the redirect to the sign-out that the person makes on another device."""
    claims = json.loads(ana.visit(f"{site}/login").body)
    assert (claims["sub"], claims["iss"], claims["aud"]) == ("u-ana", world.issuer, "authlib")
    assert json.loads(ana.visit(f"{site}/me").body)["email"] == "ana@example.org"
    assert ana.visit(f"{site}/orders?api={world.api}/").status == 200
    assert json.loads(ana.visit(f"{site}/refresh").body)["expires_in"] > 0
    assert ana.visit(f"{site}/orders?api={world.api}/").status == 200

    ana.sign_out_everywhere()

    assert json.loads(ana.visit(f"{site}/refresh").body) == {"refused": "invalid_grant"}
    assert ana.visit(f"{site}/orders?api={world.api}/").status == 401


def test_authlib_refuses_a_tampered_answer(world: World, ana: Person, site: str) -> None:
    """It checks the state of the redirect, and the signature of the ID token."""
    answer = ana.visit(f"{site}/login", until=f"{site}/callback").location
    other_state = answer.replace("state=", "state=x")
    assert json.loads(ana.visit(other_state).body) == {"refused": "mismatching_state"}
    with eavesdropper(world):
        assert json.loads(ana.visit(f"{site}/login").body) == {"refused": "bad_signature"}
