"""Guessing a device's code (RFC 8628 §5.1): many guesses at once are as many guesses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.authorization_server.browser.harness import Server
from tests.authorization_server.browser.test_device import signed_in, type_code, waiting


def test_forty_guesses_at_once_are_not_forty_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are under way before the first is answered, over a store that takes its time: ten are looked up."""
    server = Server()
    browser = signed_in(server)
    form = browser.get("/device").form(user_code="BCDF-GHJL")
    body = urlencode({name: value for name, value in form.items() if name}).encode()
    monkeypatch.setattr(server.store, "read", _slowly(server.store.read))

    async def guesses() -> list[int]:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answers = await asyncio.gather(*(browser.sent("POST", "/device", body, headers=headers) for _ in range(40)))
        return [answer.status for answer in answers]

    statuses = asyncio.run(guesses())
    assert (statuses.count(400), statuses.count(429)) == (10, 30)


def test_right_codes_cost_nothing() -> None:
    """Whoever signs in twenty devices waits for none of them."""
    server = Server()
    waiting(server)
    browser = signed_in(server)

    assert {type_code(browser).status for _ in range(20)} == {200}


def _slowly(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def slow(key: Any) -> Any:
        for _ in range(50):
            await asyncio.sleep(0)
        return await read(key)

    return slow
