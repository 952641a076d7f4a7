"""The life of a session: signing in, calls, refreshes, signing out. Wherever sessions are kept."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from portero.client.browser_session import SealedSessions, Sessions
from portero.client.browser_session.cookies import Cookies
from tests.client.browser_session.world import HEADERS, SESSION_SECRET, World


@pytest.fixture
def kept(sessions: Sessions) -> Iterator[World]:
    """A world for each place where sessions can be kept."""
    with World(sessions=sessions) as world:
        yield world


def test_a_person_signs_in_calls_and_signs_out(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    """The page never sees a token, the service never a cookie; after sign-out neither opens anything."""
    caplog.set_level(logging.DEBUG)
    with kept.browser() as browser:
        said: list[str] = []
        browser.client.event_hooks["response"] = [
            lambda answer: said.append(f"{answer.headers}{answer.read().decode()}")
        ]

        assert browser.sign_in() == f"{kept.origin}/orders?page=2"
        assert browser.get("/session").json()["name"] == "Ana"
        assert browser.get("/api/orders/7?x=1").json()["path"] == "/orders/7"
        seen = kept.service.seen[-1]
        assert seen.headers["authorization"].startswith("Bearer ey")
        assert {"cookie", "x-portero", "origin"}.isdisjoint(seen.headers)
        assert seen.query == "x=1"
        kept.pass_minutes(6)
        assert browser.get("/api/orders").status_code == 200
        token = kept.service.seen[-1].headers["authorization"].removeprefix("Bearer ")
        cookie = browser.cookie()
        assert browser.post("/session/sign-out").status_code == 200
        assert browser.cookie() is None
        assert browser.get("/api/orders").status_code == 401

        old = httpx2.get(kept.origin + "/session", headers={**HEADERS, "Cookie": f"{name_of(kept)}={cookie}"})
        assert old.status_code == 401, "the cookie of before still opens the session"
    assert len(kept.revocations()) == 1
    secrets = [token, *(call["refresh_token"] for call in kept.refreshes()), kept.revocations()[0]["token"]]
    for text in [*said, caplog.text]:
        assert not any(secret in text for secret in secrets)


def test_the_cookie_is_for_this_host_and_no_script(kept: World) -> None:
    """HttpOnly, SameSite=Strict, Path=/, no Domain, and it ends with the session (RFC 10017 §6.1.3.2)."""
    with kept.browser() as browser:
        callback = browser.callback_of(browser.begin())
        landing = browser.client.get(callback)

    (cookie,) = [one for one in landing.headers.get_list("set-cookie") if f"{name_of(kept)}=" in one]
    assert re.fullmatch(r"[^;]+; Max-Age=\d+; Path=/; HttpOnly; SameSite=Strict", cookie)
    assert 29 * 86400 < int(re.search(r"Max-Age=(\d+)", cookie)[1]) <= 30 * 86400  # type: ignore[index]


@pytest.mark.behaviour(13)
def test_a_hundred_calls_at_expiry_are_one_refresh(kept: World) -> None:
    """Whoever comes while a refresh is under way waits for that one."""
    with kept.browser() as browser:
        browser.sign_in()
        cookies = dict(browser.client.cookies)
        kept.pass_minutes(6)

        statuses = asyncio.run(calls(kept, cookies, 100))

    assert statuses == [200] * 100
    assert len(kept.refreshes()) == 1


@pytest.mark.behaviour(55)
def test_a_server_that_is_away_ends_nothing(kept: World) -> None:
    """While the token lives the calls go on; afterwards they are told to come back, and the cookie stays."""
    with kept.browser() as browser:
        browser.sign_in()
        before = browser.cookie()
        with kept.server_is_away():
            kept.pass_minutes(4)
            assert browser.get("/api/orders").status_code == 200
            kept.pass_minutes(3)
            refused = browser.get("/api/orders")
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert "set-cookie" not in refused.headers
            assert browser.cookie() == before
        kept.pass_minutes(1)

        assert browser.get("/api/orders").status_code == 200


@pytest.mark.behaviour(30)
def test_an_answer_lost_after_the_commit_signs_nobody_out(kept: World) -> None:
    """The same refresh token again, proven by the client's own authentication, brings the same successor."""
    with kept.browser() as browser:
        browser.sign_in()
        kept.pass_minutes(6)
        kept.lose_answers = 1
        assert browser.get("/api/orders").status_code == 503
        kept.pass_minutes(1)

        assert browser.get("/api/orders").status_code == 200
        kept.pass_minutes(6)
        assert browser.get("/api/orders").status_code == 200


@pytest.mark.behaviour(45)
@pytest.mark.behaviour(44)
def test_a_refresh_that_lands_after_the_sign_out_brings_nobody_back(kept: World) -> None:
    """No cookie is set for a session that was closed meanwhile, and what the refresh brought is revoked."""
    with kept.browser() as browser:
        browser.sign_in()
        cookies = dict(browser.client.cookies)
        kept.pass_minutes(6)
        gate = kept.hold = asyncio.Event()
        with ThreadPoolExecutor() as pool:
            call = pool.submit(httpx2.get, kept.origin + "/api/orders", headers=HEADERS, cookies=cookies, timeout=60)
            kept.eventually(lambda: len(kept.refreshes()) == 1, "the refresh is under way")
            leaving = {**HEADERS, "Origin": kept.origin}
            url = kept.origin + "/session/sign-out"
            leave = pool.submit(httpx2.post, url, headers=leaving, cookies=cookies, timeout=60)
            kept.eventually(lambda: len(kept.revocations()) == 1, "the sign-out is under way")
            kept.hold = None
            kept.loop.loop.call_soon_threadsafe(gate.set)
            late, left = call.result(), leave.result()

        assert left.status_code == 200
        assert late.status_code == 401
        assert not [one for one in late.headers.get_list("set-cookie") if "Max-Age=0" not in one]
        assert browser.get("/session").status_code == 401
        # Both are of one family: to name either is enough, and neither may be forgotten.
        kept.eventually(lambda: len(kept.revocations()) == 2, "what the late refresh brought is revoked")


@pytest.mark.behaviour(50)
def test_the_server_ends_one_session_and_the_others_go_on(kept: World) -> None:
    """Back-channel sign-out reaches the session it names, and no other."""
    with kept.browser() as browser, kept.browser() as phone:
        browser.sign_in()
        phone.sign_in()
        assert browser.get("/api/orders").status_code == 200
        kept.end_session(kept.sid_of_last_call())

        kept.eventually(lambda: browser.get("/session").status_code == 401, "the session is over")
        assert phone.get("/session").status_code == 200


def test_another_person_in_the_same_browser_replaces_the_first(kept: World) -> None:
    """The old session ends, here and at the server; the cookie has a new value (no fixation)."""
    with kept.browser() as browser:
        browser.sign_in("ana")
        before = browser.cookie()
        browser.sign_in("bruno", query="return_to=/&prompt=login")

        assert browser.get("/session").json()["sub"] == "subject-bruno"
        old = httpx2.get(kept.origin + "/session", headers={**HEADERS, "Cookie": f"{name_of(kept)}={before}"})
        assert old.status_code == 401
        assert browser.get("/session").status_code == 200


async def calls(world: World, cookies: dict[str, str], count: int) -> list[int]:
    """Many calls at once."""
    async with httpx2.AsyncClient(base_url=world.origin, cookies=cookies, timeout=60) as client:
        answers = await asyncio.gather(*(client.get("/api/orders", headers=HEADERS) for _ in range(count)))
    return [answer.status_code for answer in answers]


def name_of(world: World) -> str:
    """Name of the session's cookie."""
    return Cookies.of(origin=world.origin, client_id="shop-web").session


@pytest.mark.behaviour(55)
def test_who_loses_a_race_takes_no_cookie_away() -> None:
    """A machine with an old sealed cookie is told `superseded`: 401, and the cookie of the winner stays."""
    sealed = SealedSessions(secrets=[SESSION_SECRET])
    with World(sessions=sealed) as world, world.browser() as browser:
        browser.sign_in()
        old = f"{name_of(world)}={browser.cookie()}"
        for _ in range(2):
            world.pass_minutes(6)
            assert browser.get("/api/orders").status_code == 200
        sealed._recent.clear()  # another machine, which saw none of this

        lost = httpx2.get(world.origin + "/session", headers={**HEADERS, "Cookie": old})
        assert lost.status_code == 401
        assert "set-cookie" not in lost.headers
        assert browser.get("/api/orders").status_code == 200
