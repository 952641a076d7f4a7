"""Row 96 in its smallest form: a token that is taken back between the check and the stream's first byte."""

from __future__ import annotations

import asyncio

import pytest

from portero.core.policy.refusal import REVOKED, Refusal
from portero.resource_server import Guard, Principal
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE
from tests.resource_server.conftest import FEED


@pytest.mark.attack(row=96)
def test_a_revocation_between_check_and_watch_still_ends_the_connection() -> None:
    """The feed says it once; whoever registers afterwards is told at once."""

    async def story() -> list[Refusal]:
        issuer = InMemoryIssuer()
        guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=FEED, clock=issuer.clock)
        issuer.trust_in(guard)
        admitted = guard.admit(issuer.mint().encode(), guard.requires())
        assert isinstance(admitted, Principal)

        issuer.revoke(sid="session-1")
        issuer.trust_in(guard)
        told: list[Refusal] = []
        guard.watch(admitted, told.append)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return told

    assert asyncio.run(story()) == [REVOKED]
