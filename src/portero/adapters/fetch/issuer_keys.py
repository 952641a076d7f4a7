"""The keys of one issuer for an event loop, by the rules of `core.keys.key_cache`: one fetch at a time for everybody.

For whoever verifies now and then. A Guard has a keeper beside it as well, which refreshes ahead of need.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from portero.adapters.fetch.requests import Conversation, FetchRequest
from portero.core.errors import Unavailable
from portero.core.jose.jwk import PublicKey
from portero.core.jose.jwk_set import JWKSet, JwkSetError, read_jwk_set
from portero.core.jose.jws import FindKey
from portero.core.keys.key_cache import Fetch, KeyCache, KeyCachePolicy, NoKeys, Unknown, Use, Wait
from portero.ports import Clock

T = TypeVar("T")
_TRIES: Final = 4


def key_set_at(uri: str) -> Conversation[JWKSet]:
    """Ask for a JWK Set (RFC 7517 §5).

    Raises:
        Unavailable: no answer, or one that is no key set.
    """
    answer = yield FetchRequest(uri)
    if answer.status != 200:
        raise Unavailable(f"{uri} answers {answer.status}")
    try:
        return (yield from read_jwk_set(answer.body))
    except JwkSetError as error:
        raise Unavailable(f"{uri}: {error}") from error


class _KeysWanted(Exception):
    def __init__(self, action: Fetch | Wait | NoKeys) -> None:
        super().__init__("keys wanted")
        self.action = action


class IssuerKeys:
    """One issuer's keys.

    Args:
        issuer: for errors.
        obtain: fetches the set; raises `Unavailable` where it cannot.
    """

    def __init__(self, issuer: str, *, obtain: Callable[[], Awaitable[JWKSet]], clock: Clock) -> None:
        self._issuer = issuer
        self._obtain = obtain
        self._clock = clock
        self._cache = KeyCache(KeyCachePolicy())
        self._lock = asyncio.Lock()
        self._refresh_claimed = False

    async def verified(self, verify: Callable[[FindKey], T]) -> T:
        """Run a verification with the issuer's keys, fetching them as far as it needs.

        Raises:
            Unavailable: the keys are not to be had.
        """
        for _ in range(_TRIES):
            try:
                result = verify(self._find)
            except _KeysWanted as wanted:
                match wanted.action:
                    case Fetch():
                        await self._fetch()
                    case Wait():
                        async with self._lock:  # whoever fetches holds it
                            pass
                    case NoKeys(retry_after):
                        wait = max(1, math.ceil(retry_after))
                        raise Unavailable(f"no keys of {self._issuer}", retry_after=wait) from None
            except Exception:
                # What was claimed is fetched for a refused token, too: a forged one would hold up who comes next.
                await self._refresh()
                raise
            else:
                await self._refresh()
                return result
        raise Unavailable(f"no keys of {self._issuer}")

    def _find(self, kid: str | None, alg: str) -> PublicKey | None:
        action = self._cache.lookup(kid, alg, now=self._clock.monotonic())
        match action:
            case Use():
                self._refresh_claimed |= action.refresh
                return action.key
            case Unknown():
                return None
            case _:
                raise _KeysWanted(action)

    async def _refresh(self) -> None:
        """Fetch ahead of need where this caller was told to; what is known goes on where that fails."""
        if self._refresh_claimed:
            self._refresh_claimed = False
            with suppress(Unavailable):
                await self._fetch()

    async def _fetch(self) -> None:
        try:
            async with self._lock:
                monotonic = self._clock.monotonic()
                try:
                    keys = await self._obtain()
                except Unavailable:
                    self._cache.fetch_failed(now=monotonic, jitter=random.random())  # noqa: S311 - no secret
                    raise
                self._cache.fetched(keys, now=monotonic)
        except Unavailable:
            raise
        except BaseException:
            # This caller went away, or there is a bug: whoever comes next is told to fetch.
            self._cache.fetch_given_up()
            raise
