"""Apache's mod_auth_openidc, unmodified, from Debian's package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from portero.core.types import ClientId
from portero.testing.ports import free_port
from tests.strangers.apache import apache_site, awaited
from tests.strangers.person import Person
from tests.strangers.world import CONFIDENTIAL, World, eavesdropper


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[str]:
    """The site's address; it listens."""
    port = free_port()
    callback = f"http://localhost:{port}/protected/callback"
    client = world.register(
        replace(
            CONFIDENTIAL,
            client_id=ClientId("apache"),
            redirect_uris=(callback,),
            post_logout_redirect_uris=(f"http://localhost:{port}/",),
            backchannel_logout_uri=f"{callback}?logout=backchannel",
        )
    )
    with apache_site(world, port=port, client_id=client.client_id) as address:
        yield address


def test_apache_signs_in_refreshes_and_calls_an_api(world: World, ana: Person, site: str) -> None:
    """Its pages open after the sign-in, it hands the access token on to an API, and it can have a new one."""
    page = ana.visit(f"{site}/protected/")
    assert (page.status, page.text) == (200, "<h1>Members</h1>")
    assert page.header("x-signed-in").startswith("u-ana")
    assert json.loads(ana.visit(f"{site}/protected/orders").body) == {"caller": "u-ana"}

    before = json.loads(ana.visit(f"{site}/protected/callback?info=json").body)
    assert before["userinfo"]["email"] == "ana@example.org"
    ana.visit(f"{site}/protected/callback?refresh={site}/&access_token={before['access_token']}")
    after = json.loads(ana.visit(f"{site}/protected/callback?info=json").body)
    assert after["access_token"] != before["access_token"]
    assert json.loads(ana.visit(f"{site}/protected/orders").body) == {"caller": "u-ana"}


def test_apache_is_told_of_a_sign_out_elsewhere(world: World, ana: Person, site: str) -> None:
    """Back-Channel Logout 1.0 §2.5: the person ends everything on the account page, and the site knows."""
    ana.visit(f"{site}/protected/")
    assert ana.visit(f"{site}/protected/orders").status == 200

    ana.sign_out_everywhere()

    awaited(lambda: ana.visit(f"{site}/protected/orders").status == 401)


def test_apache_signs_out(world: World, ana: Person, site: str) -> None:
    """RP-Initiated Logout 1.0 §2: its logout ends the sign-in at the server, and comes back."""
    ana.visit(f"{site}/protected/")
    back = ana.visit(f"{site}/protected/callback?logout={site}/")

    assert (back.url, back.text) == (f"{site}/", "<h1>Everybody</h1>")
    ana.visit(f"{site}/protected/")
    assert ana.asked == ["/sign-in", "/sign-in"]


def test_apache_refuses_a_tampered_answer(world: World, ana: Person, site: str) -> None:
    """It checks state and ID token; nobody is signed in after either."""
    answer = ana.visit(f"{site}/protected/", until=f"{site}/protected/callback").location
    assert "Members" not in ana.visit(answer.replace("state=", "state=x")).text
    with eavesdropper(world):
        assert "Members" not in ana.visit(f"{site}/protected/").text
    assert ana.visit(f"{site}/protected/orders").status == 401
