"""Stand in for the issuers of a Guard: a service's tests need no authorization server and no network.

    with stand_in_for(guard) as issuer:
        client.get("/orders", headers=issuer.bearer(scope="orders:read"))

The Guard checks as it does in production (signature, claims, revocation, the route's
requirement); only its keys are ours, and nothing is fetched or followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from portero.core.keys.key_cache import KeyCache, KeyCachePolicy
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal, unavailable
from portero.core.policy.requirement import Requirement
from portero.core.revocation.subscription import Subscription
from portero.ports import Clock
from portero.resource_server import Guard
from portero.resource_server.sender import Sender
from portero.resource_server.trust import KeysWanted, Trust
from portero.resource_server.verified_tokens import VerifiedTokens
from portero.testing.issuer import InMemoryIssuer


class StandIn(InMemoryIssuer):
    """An `InMemoryIssuer` whose rotations and revocations the Guard hears of before its next decision."""

    def bearer(self, **changes: Any) -> dict[str, str]:
        """The header of a request with a token of this issuer; the arguments are `mint`'s."""
        return {"Authorization": f"Bearer {self.mint(**changes)}"}


@contextmanager
def stand_in_for(guard: Guard, *, issuer: str | None = None, clock: Clock | None = None) -> Iterator[StandIn]:
    """Be one of a Guard's issuers until the block ends; tokens of the others are refused with 503.

    Args:
        guard: the service's own.
        issuer: which of its issuers; the first by default.
        clock: what Guard and issuer take for the time; the Guard's own by default.
    """
    clock = clock or guard.clock
    stand_in = StandIn(issuer or next(iter(guard._trusts)), audience=guard.audience, clock=clock)
    # What was learned from the real issuer, and what will be learned from this one, are kept apart.
    trusts = {url: _forgetful(trust) for url, trust in guard._trusts.items()}

    def decide(token: bytes, requirement: Requirement, sender: Sender | None = None) -> Principal | Refusal:
        stand_in.trust_in(guard)
        try:
            return guard.admit(token, requirement, sender)
        except KeysWanted as wanted:
            return unavailable(wanted)

    async def decide_async(token: bytes, requirement: Requirement, sender: Sender | None = None) -> Principal | Refusal:
        return decide(token, requirement, sender)

    async def nothing_async() -> None:
        return

    def nothing() -> None:
        return

    with patch.multiple(
        guard,
        clock=clock,
        _now=clock.now,
        _trusts=trusts,
        _only_trust=next(iter(trusts.values())) if len(trusts) == 1 else None,
        _cache=VerifiedTokens(max_entries=1000, max_bytes=2**24),
        started=False,
        check=decide_async,
        check_sync=decide,
        start=nothing_async,
        start_sync=nothing,
        aclose=nothing_async,
        close=nothing,
    ):
        stand_in.trust_in(guard)
        yield stand_in


def _forgetful(trust: Trust) -> Trust:
    feed = trust.feed
    return replace(
        trust,
        keys=KeyCache(KeyCachePolicy()),
        subscription=None if feed is None else Subscription(trust.issuer, stale_after=feed.stale_after.total_seconds()),
    )
