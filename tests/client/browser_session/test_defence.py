"""Who may use the cookie: our own page, and nobody beside it (RFC 10017 §6.1.3.3)."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from portero.client.browser_session.cookies import Cookies
from tests.client.browser_session.world import Browser, World

FOREIGN = [
    ({"X-Portero": "1", "Origin": "https://evil.example"}, "another site"),
    ({"X-Portero": "1", "Origin": "null"}, "a sandboxed frame"),
    ({"X-Portero": "1", "Sec-Fetch-Site": "same-site"}, "another host of the same site"),
    ({"X-Portero": "1", "Sec-Fetch-Site": "cross-site"}, "another site, without Origin"),
    ({"X-Portero": "1"}, "nobody says from where"),
    ({"Sec-Fetch-Site": "same-origin"}, "no header, as forms and images"),
]


@pytest.mark.behaviour(54)
def test_only_the_page_itself_uses_the_cookie(world: World) -> None:
    """Each of the endpoints and the proxy refuses before anything is looked up; nothing is signed out by it."""
    with world.browser() as browser:
        browser.sign_in()
        for headers, who in FOREIGN:
            for method, path in (("GET", "/session"), ("POST", "/session/sign-out"), ("POST", "/api/orders")):
                assert browser.client.request(method, path, headers=headers).status_code == 403, (who, path)
        origin = world.origin.replace("localhost", "localhost.")
        assert browser.get("/session", Origin=origin).status_code == 403

        assert world.service.seen == []
        assert browser.get("/session", Origin=world.origin).status_code == 200
        assert browser.get("/session").status_code == 200


@pytest.mark.attack(row=82)
@pytest.mark.parametrize("name", ["Authorization", "DPoP"])
def test_a_cookie_and_a_token_in_one_request_are_refused(world: World, name: str) -> None:
    """RFC 6750 §2: none of the two is tried. A session of another mode signs out first."""
    with world.browser() as browser:
        browser.sign_in()

        refused = browser.get("/api/orders", **{name: "Bearer mine"})
        assert refused.status_code == 400
        assert "sign out" in refused.json()["detail"]
        assert world.service.seen == []
        browser.client.cookies.clear()
        assert browser.get("/api/orders", Authorization="Bearer mine").status_code == 401


def test_a_repeated_cookie_is_refused(world: World) -> None:
    """Another host of the same site may have set one of them."""
    with world.browser() as browser:
        browser.sign_in()
        name = Cookies.of(origin=world.origin, client_id="shop-web").session

        both = f"{name}={browser.cookie()}; {name}=other"
        browser.client.cookies.clear()
        assert browser.get("/session", Cookie=both).status_code == 400


def test_our_own_401_is_told_from_a_services(world: World) -> None:
    """The page ends its session for ours only."""
    with world.browser() as browser:
        assert browser.get("/session").headers["www-authenticate"] == "Portero-Session"
        browser.sign_in()
        world.service.refusals = [401, 401]

        assert browser.get("/api/orders").headers["www-authenticate"].startswith("Bearer")
        assert browser.get("/session").status_code == 200


def test_methods_and_paths_that_are_not_there(world: World) -> None:
    """What is not on the list is not passed on, however it is written (RFC 10017 §6.1.3.1)."""
    with world.browser() as browser:
        browser.sign_in()

        assert browser.get("/session/sign-out").status_code == 405
        assert browser.post("/session/sign-in").status_code == 405
        assert browser.get("/session/other").status_code == 404
        assert browser.get("/api/other").status_code == 404
        assert browser.get("/api/ordersmore").status_code == 404
        assert browser.get("/api/orders/%2e%2e/admin").status_code == 400
        assert browser.get("/api/orders/a%2fb").status_code == 400
        assert world.service.seen == []


async def handshake(world: World, browser: Browser, origin: str | None, *, cookie: bool = True) -> str:
    name = Cookies.of(origin=world.origin, client_id="shop-web").session
    headers = {"Cookie": f"{name}={browser.cookie()}"} if cookie else {}
    if origin is not None:
        headers["Origin"] = origin
    url = world.origin.replace("http", "ws", 1) + "/api/orders/live"
    async with connect(url, additional_headers=headers, proxy=None, open_timeout=60) as connection:
        await connection.send("hello")
        return str(await connection.recv())


def test_a_websocket_needs_the_exact_origin(world: World) -> None:
    """A handshake takes no header and asks no preflight: the Origin alone says who asks (RFC 6455 §10.2)."""
    with world.browser() as browser:
        browser.sign_in()

        assert asyncio.run(handshake(world, browser, world.origin)) == "echo hello"
        for origin in ("https://evil.example", world.origin + ".evil.example", None):
            with pytest.raises(InvalidStatus) as refused:
                asyncio.run(handshake(world, browser, origin))
            assert refused.value.response.status_code == 403
        with pytest.raises(InvalidStatus):
            asyncio.run(handshake(world, browser, world.origin, cookie=False))


def test_a_websocket_takes_no_second_credential(world: World) -> None:
    """As every request: a cookie and a token are refused."""
    name = Cookies.of(origin=world.origin, client_id="shop-web").session
    with world.browser() as browser:
        browser.sign_in()
        headers = {"Cookie": f"{name}={browser.cookie()}", "Origin": world.origin, "Authorization": "Bearer mine"}

        async def both() -> None:
            url = world.origin.replace("http", "ws", 1) + "/api/orders/live"
            async with connect(url, additional_headers=headers, proxy=None, open_timeout=60):
                raise AssertionError("it was opened")

        with pytest.raises(InvalidStatus):
            asyncio.run(both())
