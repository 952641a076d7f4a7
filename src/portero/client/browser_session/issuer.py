"""The authorization server, as a browser session knows it: its metadata, its keys, its token endpoint."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from portero.adapters.fetch.discovery import discover
from portero.adapters.fetch.http import AsyncFetcher
from portero.adapters.fetch.requests import FetchRequest
from portero.client.errors import DiscoveryFailed
from portero.client.protocol.metadata import ServerMetadata, discovery_request, process_discovery_response
from portero.client.protocol.token import ClientIdentity, NoAnswer, TokenOutcome, json_object, process_token_response
from portero.core.errors import Unavailable
from portero.core.jose.jwk import PublicKey
from portero.core.jose.jwk_set import MAX_SET_BYTES, JwkSetError, parse_jwk_set
from portero.core.jose.jws import FindKey
from portero.core.keys.key_cache import Fetch, KeyCache, KeyCachePolicy, NoKeys, Unknown, Use, Wait
from portero.core.types import Issuer, Secret
from portero.ports import Clock

T = TypeVar("T")
_TRIES: Final = 4


class _KeysWanted(Exception):
    def __init__(self, action: Fetch | Wait | NoKeys) -> None:
        super().__init__("keys wanted")
        self.action = action


class AuthorizationServer:
    """What is asked of the server, one fetch at a time for everybody."""

    def __init__(self, issuer: str, identity: ClientIdentity, *, fetcher: AsyncFetcher, clock: Clock) -> None:
        self.issuer = issuer
        self.identity = identity
        self._fetcher = fetcher
        self._clock = clock
        self._metadata: ServerMetadata | None = None
        self._keys = KeyCache(KeyCachePolicy())
        self._lock = asyncio.Lock()

    async def metadata(self) -> ServerMetadata:
        """The server's metadata, asked for once; a failure is asked again.

        Raises:
            Unavailable: no answer.
            DiscoveryFailed: not this issuer's metadata.
        """
        if self._metadata is None:
            async with self._lock:
                if self._metadata is None:
                    answer = await self._fetcher.fetch(discovery_request(self.issuer))
                    self._metadata = process_discovery_response(answer, expected_issuer=self.issuer)
        return self._metadata

    async def ask(self, request: Callable[[str, ClientIdentity], FetchRequest]) -> TokenOutcome:
        """Ask the token endpoint; whatever happens is an outcome."""
        try:
            metadata = await self.metadata()
            answer = await self._fetcher.fetch(request(metadata.token_endpoint, self.identity))
        except Unavailable:
            return NoAnswer("network")
        except DiscoveryFailed as error:
            return NoAnswer(error.code)
        return process_token_response(answer, now=self._clock.now())

    async def revoke(self, request: Callable[[str, ClientIdentity], FetchRequest]) -> bool:
        """Ask the revocation endpoint; whether it was done."""
        try:
            metadata = await self.metadata()
            if metadata.revocation_endpoint is None:
                return True
            return (await self._fetcher.fetch(request(metadata.revocation_endpoint, self.identity))).status == 200
        except (Unavailable, DiscoveryFailed):
            return False

    async def userinfo(self, access_token: Secret[str], *, subject: str) -> Mapping[str, Any]:
        """What the server says of the person beside the ID token (OpenID Connect Core §5.3); nothing where it does not
        answer, or speaks of somebody else (§5.3.2)."""
        try:
            metadata = await self.metadata()
            if metadata.userinfo_endpoint is None:
                return {}
            headers = {"authorization": f"Bearer {access_token.reveal()}"}
            answer = await self._fetcher.fetch(FetchRequest(metadata.userinfo_endpoint, headers=headers))
        except (Unavailable, DiscoveryFailed):
            return {}
        document = json_object(answer.body) if answer.status == 200 else {}
        return document if document.get("sub") == subject else {}

    async def verified(self, verify: Callable[[FindKey], T]) -> T:
        """Run a verification with the server's keys, fetching them as far as it needs.

        Raises:
            Unavailable: the keys are not to be had.
        """
        for _ in range(_TRIES):
            try:
                return verify(self._find)
            except _KeysWanted as wanted:
                if isinstance(wanted.action, NoKeys):
                    raise Unavailable(f"no keys of {self.issuer}") from None
                await self._fetch_keys()
        raise Unavailable(f"no keys of {self.issuer}")

    def _find(self, kid: str | None, alg: str) -> PublicKey | None:
        action = self._keys.lookup(kid, alg, now=self._clock.monotonic())
        match action:
            case Use():
                return action.key
            case Unknown():
                return None
            case _:
                raise _KeysWanted(action)

    async def _fetch_keys(self) -> None:
        async with self._lock:
            monotonic = self._clock.monotonic()
            try:
                uri = (await self._fetcher.drive(discover(Issuer(self.issuer)))).jwks_uri
                answer = await self._fetcher.fetch(FetchRequest(uri))
                if answer.status != 200:
                    raise Unavailable(f"{uri} answers {answer.status}")
                keys = parse_jwk_set(answer.body, max_bytes=MAX_SET_BYTES)
            except (Unavailable, JwkSetError) as error:
                self._keys.fetch_failed(now=monotonic, jitter=random.random())  # noqa: S311 - no secret
                raise Unavailable(f"no keys of {self.issuer}: {error}") from error
            self._keys.fetched(keys, now=monotonic)
