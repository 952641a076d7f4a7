"""Keys for whoever verifies now and then: one fetch for everybody, and nobody's fetch that was given up."""

from __future__ import annotations

import asyncio

import pytest

from portero.adapters.fetch.issuer_keys import IssuerKeys
from portero.core.jose.jwk_set import JWKSet, jwk_set_of
from portero.core.jose.jws import FindKey
from portero.core.keys.key_cache import KeyCachePolicy
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


def test_a_forged_token_that_is_told_to_fetch_holds_nobody_up() -> None:
    """A token by a known key, with any signature, comes when a fetch is due; then one by the key that came since."""
    old, new = new_key(kid="old"), new_key(kid="new")
    clock = FakeClock()

    async def story() -> bool:
        published = [old]

        async def obtain() -> JWKSet:
            return jwk_set_of([key.public for key in published])

        def verify(find_key: FindKey) -> bool:
            return find_key(published[-1].kid, old.alg) is not None

        def forged(find_key: FindKey) -> bool:
            find_key("old", old.alg)
            raise ValueError("the signature is not valid")

        keys = IssuerKeys("https://issuer.test", obtain=obtain, clock=clock)
        assert await keys.verified(verify)
        clock.advance(KeyCachePolicy().refresh_after + 1)
        published.append(new)
        with pytest.raises(ValueError, match="signature"):
            await keys.verified(forged)
        return await keys.verified(verify)

    assert asyncio.run(story())
