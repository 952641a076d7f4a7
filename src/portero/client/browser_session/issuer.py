"""The authorization server, as a browser session knows it: its metadata, its keys, its token endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from portero.adapters.fetch.discovery import discover
from portero.adapters.fetch.http import AsyncFetcher
from portero.adapters.fetch.issuer_keys import IssuerKeys, key_set_at
from portero.adapters.fetch.requests import FetchRequest
from portero.client.errors import DiscoveryFailed
from portero.client.protocol.metadata import ServerMetadata, discovery_request, process_discovery_response
from portero.client.protocol.token import ClientIdentity, NoAnswer, TokenOutcome, json_object, process_token_response
from portero.core.errors import Unavailable
from portero.core.jose.jwk_set import JWKSet
from portero.core.jose.jws import FindKey
from portero.core.types import Issuer, Secret
from portero.ports import Clock

T = TypeVar("T")


class AuthorizationServer:
    """What is asked of the server, one fetch at a time for everybody."""

    def __init__(self, issuer: str, identity: ClientIdentity, *, fetcher: AsyncFetcher, clock: Clock) -> None:
        self.issuer = issuer
        self.identity = identity
        self._fetcher = fetcher
        self._clock = clock
        self._metadata: ServerMetadata | None = None
        self._keys = IssuerKeys(issuer, obtain=self._obtain_keys, clock=clock)
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
        return await self._keys.verified(verify)

    async def _obtain_keys(self) -> JWKSet:
        uri = (await self._fetcher.drive(discover(Issuer(self.issuer)))).jwks_uri
        return await self._fetcher.drive(key_set_at(uri))
