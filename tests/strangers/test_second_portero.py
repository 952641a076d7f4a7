"""A second Portero that sends its people to the first: as strange to it as any other relying party."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from portero.core.types import ClientId
from tests.authorization_server.browser.harness import Answer
from tests.strangers.person import Person
from tests.strangers.world import CONFIDENTIAL, SECRET, World, eavesdropper, strange_world


@pytest.fixture(scope="module")
def second(world: World) -> Iterator[World]:
    """A server without passwords, whose one door leads to the first."""
    table = {
        "issuer": world.issuer,
        "client_id": "second",
        "client_secret_env": "FIRST_SECRET",
        "algorithms": ["ES256"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_SECRET", SECRET)
        with strange_world(sign_in={"openid": {"first": {**table, "algorithms": ["ES256"]}}}) as second:
            here = f"{second.issuer}/sign-in/openid/first"
            world.register(
                replace(
                    CONFIDENTIAL,
                    client_id=ClientId("second"),
                    redirect_uris=(f"{here}/callback",),
                    backchannel_logout_uri=f"{here}/backchannel-logout",
                )
            )
            yield second


def sign_in(second: World, ana: Person) -> Answer:
    """Open the account page of the second, go through the door, and come back."""
    page = ana.visit(f"{second.issuer}/account")
    door = re.search(r'href="(/sign-in/openid/first/start\?[^"]*)"', page.text)
    assert door is not None, page.text
    return ana.visit(second.issuer + html.unescape(door[1]))


def test_a_second_portero_signs_in_and_is_signed_out_from_the_first(world: World, ana: Person, second: World) -> None:
    """The password is typed at the first alone; signing out there ends the sign-in here, by the back channel."""
    page = sign_in(second, ana)
    assert (page.status, page.url) == (200, f"{second.issuer}/account")
    assert ana.asked == ["/sign-in"]

    ana.sign_out_everywhere()

    deadline = time.monotonic() + 60
    while ana.visit(f"{second.issuer}/account").url == f"{second.issuer}/account":
        assert time.monotonic() < deadline, "the second was not told"
        time.sleep(0.05)


def test_a_second_portero_refuses_a_tampered_answer(world: World, ana: Person, second: World) -> None:
    """An ID token that was changed on its way signs nobody in."""
    with eavesdropper(world):
        assert sign_in(second, ana).status == 422
    assert "/sign-in" in ana.visit(f"{second.issuer}/account").url
