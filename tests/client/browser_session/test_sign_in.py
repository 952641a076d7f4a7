"""Signing in: what the callback accepts, and where it leads."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from portero.client.browser_session.return_to import safe_return_to
from tests.client.browser_session.world import World

ORIGIN = "https://shop.example"


@pytest.mark.behaviour(6)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/orders?page=2#top", "/orders?page=2#top"),
        ("https://shop.example/orders", "/orders"),
        ("orders", "/orders"),
        (None, "/"),
        ("", "/"),
        ("//evil.example", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://shop.example//evil.example", "/"),
        ("https://shop.example.evil.example/", "/"),
        ("https://shop.example@evil.example/", "/"),
        ("http://shop.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("data:text/html,x", "/"),
        ("/a\nb", "/"),
        ("/\t/evil.example", "/"),
        ("/" + "a" * 2000, "/"),
        ('/a"><script>', "/a%22%3E%3Cscript%3E"),
    ],
)
def test_nobody_lands_outside_our_origin(value: str | None, expected: str) -> None:
    """Only what leads to this origin with http(s) counts; everything else is the front page."""
    assert safe_return_to(value, origin=ORIGIN) == expected


@pytest.mark.behaviour(1)
def test_every_authorization_request_carries_an_s256_challenge(world: World) -> None:
    """And a state and a nonce of its own; what the page adds changes neither client nor scope."""
    with world.browser() as browser:
        wishes = "return_to=/&prompt=login&login_hint=ana&scope=admin&client_id=x&redirect_uri=https://evil.example"
        query = parse_qs(urlsplit(browser.begin(query=wishes).headers["location"]).query)
        other = parse_qs(urlsplit(browser.begin().headers["location"]).query)

    assert query["code_challenge_method"] == ["S256"]
    assert query["prompt"] == ["login"]
    assert (query["client_id"], query["scope"]) == (["shop-web"], ["openid profile orders:read"])
    assert query["redirect_uri"] == [world.settings.redirect_uri]
    assert query["state"] != other["state"]
    assert query["nonce"] != other["nonce"]


@pytest.mark.behaviour(2)
def test_two_tabs_that_sign_in_at_once_both_succeed(world: World) -> None:
    """Each sign-in has a cookie of its own."""
    with world.browser() as browser:
        first, second = browser.begin(query="return_to=/one"), browser.begin(query="return_to=/two")

        assert browser.answer_of(first) == world.origin + "/one"
        assert browser.answer_of(second) == world.origin + "/two"


@pytest.mark.behaviour(3)
def test_a_callback_that_runs_twice_exchanges_the_code_once(world: World) -> None:
    """The second says so, and leaves the session alone."""
    with world.browser() as browser:
        callback = browser.callback_of(browser.begin())
        assert browser.client.get(callback).status_code == 200
        before = browser.cookie()

        again = browser.client.get(callback, headers={"Accept-Language": "es-AR"})
        assert again.status_code == 400
        assert "El inicio de sesión no terminó" in again.text
        assert len(world.codes()) == 1
        assert browser.cookie() == before
        assert browser.get("/session").status_code == 200


def test_an_answer_of_another_browsers_sign_in_is_refused(world: World) -> None:
    """Nobody can be signed in as somebody else by a link (login CSRF)."""
    with world.browser() as attacker, world.browser() as browser:
        callback = attacker.callback_of(attacker.begin(), "bruno")

        assert browser.client.get(callback).status_code == 400
        assert browser.cookie() is None
        assert world.codes() == []


@pytest.mark.behaviour(4)
def test_a_sign_in_that_took_too_long_is_over(world: World) -> None:
    """Its cookie opens nothing afterwards."""
    with world.browser() as browser:
        redirect = browser.begin()
        callback = browser.callback_of(redirect)
        world.pass_minutes(16)

        assert browser.client.get(callback).status_code == 400
        assert world.codes() == []


@pytest.mark.behaviour(9)
@pytest.mark.parametrize("change", ["iss=https://evil.example", ""])
def test_an_answer_that_names_another_issuer_is_refused_unused(world: World, change: str) -> None:
    """RFC 9207 §2.4: compared as text; and missing where the server announced it."""
    with world.browser() as browser:
        url = urlsplit(browser.callback_of(browser.begin()))
        rest = "&".join(part for part in url.query.split("&") if not part.startswith("iss="))

        answer = browser.client.get(f"{url.path}?{rest}&{change}")
        assert answer.status_code == 400
        assert world.codes() == []
        assert browser.cookie() is None


def test_a_sign_in_that_was_cancelled_ends_on_a_page_and_not_in_a_loop(world: World) -> None:
    """Only where nobody was asked (prompt=none) nobody is told."""
    with world.browser() as browser:
        state = parse_qs(urlsplit(browser.begin().headers["location"]).query)["state"][0]
        answer = browser.client.get(f"/session/callback?error=access_denied&state={state}&iss={world.issuer}")
        assert answer.status_code == 400
        assert "Sign in again" in answer.text
        state = parse_qs(urlsplit(browser.begin().headers["location"]).query)["state"][0]

        quiet = browser.client.get(f"/session/callback?error=login_required&state={state}&iss={world.issuer}")
        assert quiet.status_code == 200
        assert "url=" + world.origin + '/orders"' in quiet.text


def test_what_begins_a_sign_in_is_a_navigation(world: World) -> None:
    """An image of another page begins none."""
    with world.browser() as browser:
        refused = browser.client.get("/session/sign-in", headers={"Sec-Fetch-Dest": "image"})

    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


def test_a_browser_keeps_few_sign_ins_under_way(world: World) -> None:
    """The oldest gives way."""
    with world.browser() as browser:
        for _ in range(9):
            world.clock.advance(1)
            browser.begin()

        names = [name for name in browser.client.cookies if "sign-in" in name]
        assert len(names) == 5


def test_a_server_that_is_away_is_said_in_plain_words(world: World) -> None:
    """503 with a page; the sign-in can be begun again."""
    with world.browser() as browser:
        callback = browser.callback_of(browser.begin())
        with world.server_is_away():
            answer = browser.client.get(callback)

        assert answer.status_code == 503
        assert "Something of ours does not answer" in answer.text
        assert browser.cookie() is None
