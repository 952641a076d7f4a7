"""Fetching from an address that a stranger chose: resolved once, judged, and connected to that address and no other.

As `post`, for reading: no redirect is followed, no proxy is asked, the answer is small and comes in time. TLS still
proves the name (the address stands in the URL, the name in `Host` and in the handshake).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import httpx2

from portero.adapters.fetch.post import judged_address
from portero.core.errors import Unavailable
from portero.core.logout.receivers import Network

TIMEOUT: Final = 5.0
"""Seconds for one answer in all."""


class JudgedFetcher:
    """Fetches small documents.

    Args:
        networks: where a document may be beside the public internet.
        max_bytes: the largest one that is read.
        at_once: how many may be under way; one more is refused, so that nobody can hold us up.
    """

    def __init__(self, *, networks: Sequence[Network], max_bytes: int, at_once: int = 8) -> None:
        self._networks = tuple(networks)
        self._max_bytes = max_bytes
        self._places = asyncio.Semaphore(at_once)

    async def fetch(self, url: str) -> tuple[int, httpx2.Headers, bytes]:
        """Get a document: status, headers, body.

        Raises:
            Unavailable: an address that is not asked, no whole answer in time, one too large, a redirect.
        """
        host = urlsplit(url).hostname or ""
        if self._places.locked():
            raise Unavailable("too many documents are being fetched")
        async with self._places:
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await self._fetched(url, host)
            except (OSError, TimeoutError, ValueError, httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise Unavailable(f"{host}: {type(error).__name__}") from error

    async def _fetched(self, url: str, host: str) -> tuple[int, httpx2.Headers, bytes]:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = await judged_address(host, port, networks=self._networks)
        pinned = urlunsplit(parts._replace(netloc=f"[{address}]:{port}" if ":" in address else f"{address}:{port}"))
        headers = {"host": parts.netloc, "accept": "application/json", "accept-encoding": "identity"}
        async with (
            httpx2.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT) as client,
            client.stream("GET", pinned, headers=headers, extensions={"sni_hostname": host}) as response,
        ):
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._max_bytes:
                    raise Unavailable(f"{host} answers with more than {self._max_bytes} bytes")
            return response.status_code, response.headers, bytes(body)
