"""Keys for whoever verifies now and then: one fetch for everybody, and nobody's fetch that was given up."""

from __future__ import annotations

import asyncio

from portero.adapters.fetch.issuer_keys import IssuerKeys
from portero.core.jose.jwk_set import JWKSet, jwk_set_of
from portero.core.jose.jws import FindKey
from portero.testing.clock import FakeClock
from portero.testing.tokens import new_key


def test_a_caller_who_goes_away_while_it_fetches_leaves_the_fetch_to_the_next() -> None:
    """A browser that was closed cancels its request; the clock stands still, so that nothing runs out."""
    key = new_key(kid="k")

    async def story() -> tuple[bool, int]:
        began, fetches = asyncio.Event(), 0

        async def obtain() -> JWKSet:
            nonlocal fetches
            fetches += 1
            if fetches == 1:
                began.set()
                await asyncio.Event().wait()
            return jwk_set_of([key.public])

        def verify(find_key: FindKey) -> bool:
            return find_key("k", key.alg) is not None

        keys = IssuerKeys("https://issuer.test", obtain=obtain, clock=FakeClock())
        leaving = asyncio.create_task(keys.verified(verify))
        await began.wait()
        waiting = asyncio.create_task(keys.verified(verify))
        await asyncio.sleep(0)
        leaving.cancel()
        return await waiting and await keys.verified(verify), fetches

    assert asyncio.run(story()) == (True, 2)
