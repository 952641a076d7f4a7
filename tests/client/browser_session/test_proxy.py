"""The proxy: what is passed on, what is repeated, and what is not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx2
import pytest

from tests.client.browser_session.world import HEADERS, World


def test_a_refused_token_is_replaced_and_the_request_repeated_byte_for_byte(world: World) -> None:
    """The page sees one answer: the second."""
    body = os.urandom(50_000)
    with world.browser() as browser:
        browser.sign_in()
        world.service.refusals = [401]

        answer = browser.post("/api/orders", content=body)
        assert answer.json()["bytes"] == len(body)
    first, second = world.service.seen
    assert second.body == body
    assert first.headers["authorization"] != second.headers["authorization"]
    assert len(world.refreshes()) == 1


def test_a_body_that_was_not_kept_is_never_resent_empty(world: World) -> None:
    """The session is refreshed, and the caller is told to send it again: 503, not 401."""

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield os.urandom(10_000)

    with world.browser() as browser:
        browser.sign_in()
        world.service.refusals = [401]

        answer = browser.post("/api/orders", content=chunks())
        assert answer.status_code == 503
        assert "send it again" in answer.json()["detail"]
        assert len(world.service.seen) == 1
        assert browser.post("/api/orders", content=chunks()).json()["bytes"] == 200_000


@pytest.mark.behaviour(24)
def test_a_refusal_that_no_token_cures_comes_back_as_it_is(world: World) -> None:
    """403, and a second 401, reach the page; the session goes on."""
    with world.browser() as browser:
        browser.sign_in()
        world.service.refusals = [403]
        assert browser.get("/api/orders").status_code == 403
        assert world.refreshes() == []
        world.service.refusals = [401, 401]
        assert browser.get("/api/orders").status_code == 401
        assert len(world.refreshes()) == 1

        assert browser.get("/api/orders").status_code == 200


def test_an_event_stream_arrives_while_it_lasts(world: World) -> None:
    """Nothing is held back until the end."""
    with world.browser() as browser:
        browser.sign_in()

        with browser.client.stream("GET", "/api/orders/events", headers=HEADERS) as stream:
            chunks = stream.iter_raw()
            assert b"one" in next(chunks)
            world.service.finish_stream.set()
            assert b"two" in b"".join(chunks)


def test_no_cookie_of_a_service_reaches_the_browser(world: World) -> None:
    """It could otherwise take the place of ours."""
    with world.browser() as browser:
        browser.sign_in()

        assert "set-cookie" not in browser.get("/api/orders").headers
        seen = world.service.seen[-1]
        assert "cookie" not in seen.headers


def test_a_service_that_is_away_is_no_fault_of_the_caller(world: World) -> None:
    """503 with Retry-After, and not a word about the session."""
    with world.browser() as browser:
        browser.sign_in()
        world.browser_session._upstreams._places[0] = ("/api/orders", httpx2.URL("http://127.0.0.1:9/orders"))

        answer = browser.get("/api/orders")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert browser.get("/session").status_code == 200
