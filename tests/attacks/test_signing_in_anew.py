"""Somebody at an unlocked browser, whom an application asks to sign in anew at another provider."""

from __future__ import annotations

from typing import Any

import pytest

from portero.core.transitions import LinkedKey
from tests.authorization_server.browser.harness import Server
from tests.authorization_server.browser.lying_provider import LyingProvider
from tests.authorization_server.browser.test_openid import acme, come_back, leave, server  # noqa: F401


@pytest.mark.parametrize("asked", [{"prompt": "login"}, {"max_age": "60"}])
@pytest.mark.parametrize("auth_time", [-3600, None])
def test_taking_prompt_out_of_the_url_gains_nothing(
    server: Server,  # noqa: F811
    acme: LyingProvider,  # noqa: F811
    asked: dict[str, str],
    auth_time: int | None,
) -> None:
    """The request goes by the browser: only `auth_time` says that the provider asked (OpenID Connect Core §3.1.2.1)."""
    claims: dict[str, Any] = {"auth_time": None if auth_time is None else int(acme.now()) + auth_time}
    browser = server.browser()
    request = leave(browser, acme, **asked)
    assert (request["prompt"], request["max_age"]) == ("login", "0")
    acme.claims = claims
    answer = come_back(browser, request)

    assert answer.status == 422
    assert "did not say that you signed in anew" in answer.text
    assert server.read(LinkedKey(acme.issuer, "ada-1")) is None


def test_who_signed_in_there_goes_on(server: Server, acme: LyingProvider) -> None:  # noqa: F811
    """A provider that asked says so, give or take the clocks."""
    browser = server.browser()

    assert "code" in come_back(browser, leave(browser, acme, prompt="login")).answer
