"""What keeps a crowd from coming back at once, and what a client plans by."""

from __future__ import annotations

import asyncio
from typing import Any

from portero.authorization_server.config import Config
from tests.authorization_server.back_channel import ISSUER, BackChannel, claims_of


def test_a_crowd_that_signs_in_together_does_not_come_back_together() -> None:
    """Lifetimes differ by a tenth at most, always downward, and the hint for a proactive refresh moves with them."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner, Config(issuer=ISSUER))
        tokens = [server.signed_in() for _ in range(40)]

    lifetimes = [each["expires_in"] for each in tokens]
    assert len(set(lifetimes)) > 10
    assert max(lifetimes) <= 300
    assert min(lifetimes) > 300 * 0.9 - 1
    for each in tokens:
        claims = claims_of(each["access_token"])
        assert claims["exp"] - claims["iat"] == each["expires_in"]
        assert each["refresh_after"] == each["expires_in"] * 80 // 100


def test_the_remaining_session_shrinks_and_nothing_outlives_it(server: BackChannel) -> None:
    """`session_expires_in` counts down to the absolute end, which never moves; tokens end with it (design §3.2)."""
    day = 86400
    tokens: dict[str, Any] = server.signed_in()
    seen = []
    for number, seconds in enumerate([6 * day] * 4 + [6 * day - 100]):
        server.clock.advance(seconds)
        answer = server.refresh(tokens["refresh_token"], attempt=f"{number:022d}")
        assert answer.status == 200, answer.body
        tokens = answer.json
        seen.append(tokens["session_expires_in"])

    assert seen == [24 * day, 18 * day, 12 * day, 6 * day, 100]
    assert tokens["expires_in"] == tokens["refresh_token_expires_in"] == 100
    assert tokens["refresh_after"] == 80


def test_both_tokens_tell_when_and_how_the_person_signed_in(server: BackChannel) -> None:
    """`auth_time` and `acr` (RFC 9470 §6, OIDC Core §2), and a refresh does not make a sign-in younger."""
    began = server.now()
    tokens = server.signed_in()
    server.clock.advance(200)
    later = server.refresh(tokens["refresh_token"]).json

    for token in (tokens["access_token"], tokens["id_token"], later["access_token"], later["id_token"]):
        assert (claims_of(token)["auth_time"], claims_of(token)["acr"]) == (began, "pwd")
