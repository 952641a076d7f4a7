"""A relay: one process of a host follows the issuers' feeds and hands them on to the others over a Unix socket.

It speaks the feed's own format (design §3.3), as little HTTP/1.1 as that needs: `GET /revocations/snapshot` and `GET
/revocations/stream?after=<cursor>`, both with `iss`, because one socket serves every issuer of a host. There are no
tokens: who may open the socket may read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qs, urlsplit

from portero.adapters.fetch.http import AsyncFetcher
from portero.core.errors import RequestError
from portero.core.keys.key_cache import KeyCache, KeyCachePolicy
from portero.core.revocation.entry import Revocation
from portero.core.revocation.feed import parse_cursor
from portero.core.revocation.relayed import RelayedFeed
from portero.core.revocation.subscription import Subscription
from portero.core.types import Issuer, NumericDate
from portero.ports import Clock
from portero.resource_server.issuers import RevocationFeed, TrustedIssuer
from portero.resource_server.relay_socket import Listening
from portero.resource_server.revocations import AsyncRevocations
from portero.resource_server.trust import Trust

HEARTBEAT_SECONDS: Final = 1.0
MAX_READERS: Final = 1000
_REQUEST_SECONDS: Final = 5.0
_READ_SECONDS: Final = 10.0
"""A reader that takes longer to read a piece is cut, and resumes."""
_MAX_HEAD: Final = 8192


@dataclass(frozen=True, slots=True)
class RelayedIssuer:
    """Whose feed is handed on, and how it is followed."""

    issuer: TrustedIssuer
    feed: RevocationFeed


class Relay:
    """Follows feeds and serves them; `run` does both until it is cancelled.

    Args:
        issuers: each once.
        clock: of the heartbeats.
    """

    def __init__(self, issuers: Sequence[RelayedIssuer], *, clock: Clock) -> None:
        self._clock = clock
        self._trusts = [_followed(one) for one in issuers]
        self.feeds = {trust.issuer: RelayedFeed(subscription) for trust, subscription in self._trusts}
        self._news = asyncio.Event()
        self._readers: set[asyncio.Task[None]] = set()

    @property
    def readers(self) -> int:
        """How many connections are open."""
        return len(self._readers)

    async def run(self, listening: Listening) -> None:
        """Follow and serve until cancelled; closes every connection and the socket."""
        fetcher = AsyncFetcher()
        followers = [
            asyncio.create_task(self._follow(trust, subscription, fetcher), name=f"relay of {trust.issuer}")
            for trust, subscription in self._trusts
        ]
        server = await asyncio.start_unix_server(self._serve, sock=listening.sock, limit=_MAX_HEAD)
        try:
            await asyncio.gather(*followers)
        finally:
            listening.forget()
            server.close()
            for task in (*followers, *self._readers):
                task.cancel()
            await asyncio.gather(*followers, *self._readers, return_exceptions=True)
            await fetcher.aclose()

    async def _follow(self, trust: Trust, subscription: Subscription, fetcher: AsyncFetcher) -> None:
        feed = self.feeds[trust.issuer]

        def learned(revocations: Iterable[Revocation]) -> None:
            feed.took(revocations, now=NumericDate(int(self._clock.now())))
            news, self._news = self._news, asyncio.Event()
            news.set()

        await AsyncRevocations(trust, fetcher=fetcher, clock=self._clock, on_revoked=learned).follow(subscription)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of the server runs in a task
        self._readers.add(task)
        try:
            with suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                if len(self._readers) > MAX_READERS:
                    await _answer(writer, b"503 Service Unavailable", (b"{}",))
                else:
                    async with asyncio.timeout(_REQUEST_SECONDS):
                        head = await reader.readuntil(b"\r\n\r\n")
                    await self._respond(head, writer)
        except asyncio.CancelledError:
            # The relay ends: the reader finds out by the closed connection.
            pass
        finally:
            self._readers.discard(task)
            writer.close()

    async def _respond(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        target = urlsplit(rest.partition(b" ")[0].decode("latin-1"))
        query = parse_qs(target.query)
        feed = self.feeds.get(Issuer(query.get("iss", [""])[0]))
        if method != b"GET" or feed is None:
            # Never an empty feed for an issuer that is not followed here: that would look like "nothing is revoked".
            await _answer(writer, b"404 Not Found", (b"{}",))
        elif target.path == "/revocations/snapshot":
            await self._snapshot(feed, writer)
        elif target.path == "/revocations/stream":
            await self._stream(feed, query.get("after", [""])[0], writer)
        else:
            await _answer(writer, b"404 Not Found", (b"{}",))

    async def _snapshot(self, feed: RelayedFeed, writer: asyncio.StreamWriter) -> None:
        parts = feed.snapshot(time=self._clock.now(), monotonic=self._clock.monotonic())
        if parts is None:
            await _answer(writer, b"503 Service Unavailable", (b"{}",))
        else:
            await _answer(writer, b"200 OK", parts)

    async def _stream(self, feed: RelayedFeed, after: str, writer: asyncio.StreamWriter) -> None:
        try:
            place = feed.place_of(parse_cursor(after))
        except RequestError:
            place = None
        cursor = feed.cursor
        if place is None or cursor is None:
            await _answer(writer, b"409 Conflict" if cursor else b"503 Service Unavailable", (b"{}",))
            return
        await _write(writer, _head(b"200 OK", b"text/event-stream"))
        beaten = float("-inf")
        while True:
            news, now = self._news, self._clock.monotonic()
            here = feed.cursor
            if here is not None and here.epoch != cursor.epoch:
                return  # a restored database, of which the relay has a snapshot by now
            piece, place = feed.events_after(place), feed.place
            if now >= beaten + HEARTBEAT_SECONDS:
                beaten = now
                piece += feed.heartbeat(time=self._clock.now(), monotonic=now)
            if piece:
                await _write(writer, piece)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, beaten + HEARTBEAT_SECONDS - self._clock.monotonic())):
                    await news.wait()


def _followed(one: RelayedIssuer) -> tuple[Trust, Subscription]:
    # From the issuer itself: a process that serves the relay beside its own work would ask itself.
    issuer, feed = one.issuer, replace(one.feed, relay=None, serve_relay=False)
    subscription = Subscription(Issuer(issuer.issuer), stale_after=feed.stale_after.total_seconds())
    trust = Trust(
        configured=issuer,
        rules=issuer.rules(audience=issuer.issuer, leeway=0),  # a relay verifies no access tokens
        keys=KeyCache(KeyCachePolicy()),
        feed=feed,
        subscription=subscription,
    )
    return trust, subscription


def _head(status: bytes, content_type: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: %b\r\nconnection: close\r\n\r\n" % (status, content_type)


async def _answer(writer: asyncio.StreamWriter, status: bytes, parts: Sequence[bytes]) -> None:
    await _write(writer, _head(status, b"application/json"))
    for part in parts:
        await _write(writer, part)


async def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    async with asyncio.timeout(_READ_SECONDS):
        writer.write(piece)
        await writer.drain()
