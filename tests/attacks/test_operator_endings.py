"""A session that an operator ended stays ended, at verifiers whose clock is late too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from portero.authorization_server.operations import Operations
from portero.core.transitions import FeedKey
from portero.core.types import ClientId, Sid, Subject
from tests.authorization_server.back_channel import ANA, SPA, BackChannel, claims_of

ENDINGS: dict[str, Callable[[Operations, Sid], Awaitable[object]]] = {
    "a session": lambda operations, sid: operations.end_session(sid),
    "all of a person's": lambda operations, _: operations.end_sessions(Subject(ANA.subject)),
    "a disabled person's": lambda operations, _: operations.set_user_enabled(Subject(ANA.subject), enabled=False),
    "a disabled client's": lambda operations, _: operations.set_client_enabled(ClientId(SPA.client_id), enabled=False),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_an_operator_ends_is_named_as_long_as_any_verifier_would_take_it(ending: str) -> None:
    """A verifier a leeway behind takes a token until `exp` and two leeways: so long its entry stands in the feed."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner)
        claims = claims_of(server.signed_in()["access_token"])
        server.run(ENDINGS[ending](Operations(server.context, by="console"), Sid(claims["sid"])))
        feed = server.run(server.store.read(FeedKey(-1, server.now())))

        assert feed.entries
        margin = int(server.config.revocation_margin.total_seconds())
        assert all(entry.revocation.until >= claims["exp"] + margin for entry in feed.entries)
