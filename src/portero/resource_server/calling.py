"""Calling the next service for the caller: pass their token on, or trade it for a narrower one (RFC 8693).

    exchange = TokenExchange(
        issuer="https://id.example", client_id="orders-service", client_secret=secret,
        resource="https://shop.example/stock", to="https://stock.example",
    )
    source = exchange.on_behalf_of(received_token(request))     # or PassOn(received_token(request), to=…)

A source goes into `calling_httpx2.NextServiceAuth`, `calling_httpx.NextServiceAuth`, or the
interceptors of `calling_grpc`. Tokens go to the origin that was named and nowhere else.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from hashlib import sha256
from typing import Protocol
from urllib.parse import urlsplit

from portero.adapters.fetch.discovery import discover
from portero.adapters.fetch.http import AsyncFetcher, Fetcher
from portero.adapters.fetch.requests import Conversation, ForbiddenUrl, checked_url
from portero.adapters.fetch.token_exchange import ExchangeRefused, exchange_token
from portero.core.errors import ConfigurationError, Unavailable
from portero.core.types import Issuer, Secret
from portero.resource_server.received import ReceivedToken

__all__ = ["ExchangeRefused", "PassOn", "ReceivedToken", "TokenExchange", "TokenSource", "WrongDestination"]

_USED_OF_LIFE = 0.8
"""The part of an exchanged token's life in which it is used."""


class WrongDestination(Exception):
    """A token was about to be sent to another origin than the one it is for. A programming error."""


class Destination:
    """The one origin a token may be sent to.

    Args:
        url: any URL of the next service: https, or http on this machine.
        insecure_plain_http: also http over a network, where something else keeps it private (a mesh).

    Raises:
        ConfigurationError: a token would be readable on its way.
    """

    def __init__(self, url: str, *, insecure_plain_http: bool = False) -> None:
        parts = urlsplit(url)
        try:
            checked_url(url.replace("http://", "https://", 1) if insecure_plain_http else url)
        except ForbiddenUrl as error:
            raise ConfigurationError("to", url, "must be an https URL, or http on this machine") from error
        self._origin = _origin(parts.scheme, parts.hostname, parts.port)

    def check(self, url: str) -> None:
        """Raise `WrongDestination` unless `url` is at this origin."""
        parts = urlsplit(url)
        if _origin(parts.scheme, parts.hostname, parts.port) != self._origin:
            raise WrongDestination("the request goes to another origin than the token is for")


class TokenSource(Protocol):
    """Where the token for one call comes from."""

    to: Destination

    def token(self) -> Secret[str]:
        """The token, from a thread; may fetch."""

    async def atoken(self) -> Secret[str]:
        """The token, from an event loop; may fetch."""

    def refused(self) -> None:
        """The next service answered 401: do not use it again."""


class PassOn:
    """Sends the caller's own token on. Only for services that share its audience.

    Args:
        received: of the request that is being handled.
        to: a URL of the next service.

    Raises:
        ValueError: the token is bound to the caller's key or certificate, so that nobody else can use it:
            exchange it.
        ConfigurationError: as `Destination`.
    """

    def __init__(self, received: ReceivedToken, *, to: str, insecure_plain_http: bool = False) -> None:
        if received.principal.cnf_jkt is not None or received.principal.cnf_x5t_s256 is not None:
            raise ValueError("a token that is bound to its sender cannot be passed on: exchange it")
        self.to = Destination(to, insecure_plain_http=insecure_plain_http)
        self._token = received.token

    def token(self) -> Secret[str]:
        return self._token

    async def atoken(self) -> Secret[str]:
        return self._token

    def refused(self) -> None:
        return


class TokenExchange:
    """Trades callers' tokens at the authorization server, and keeps what it got until near its end.

    One for each next service, made at start and shared by all requests, threads and tasks.

    Args:
        issuer: the authorization server; its metadata says where the token endpoint is.
        client_id, client_secret: this service's own confidential client, with the grant
            `urn:ietf:params:oauth:grant-type:token-exchange`.
        resource: what the next service is called in `aud`.
        scope: what is asked for; `None`: all the caller's that this client may have.
        to: a URL of the next service.
        max_entries: how many tokens are kept; the one unused longest goes first.
        monotonic: seconds, for tests.

    Raises:
        ConfigurationError: a value cannot be meant.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: Secret[str],
        resource: str,
        to: str,
        scope: Iterable[str] | None = None,
        insecure_plain_http: bool = False,
        max_entries: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            checked_url(issuer)
        except ForbiddenUrl as error:
            raise ConfigurationError("issuer", issuer, "must be an https URL, or http on this machine") from error
        if isinstance(scope, str):
            raise ConfigurationError("scope", scope, "must be a list of scopes, not one text")
        self.to = Destination(to, insecure_plain_http=insecure_plain_http)
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._resource = resource
        self._scope = None if scope is None else " ".join(scope)
        self._max_entries = max_entries
        self._monotonic = monotonic
        self._kept: OrderedDict[bytes, tuple[Secret[str], float]] = OrderedDict()
        self._lock = threading.Lock()
        self._flights: dict[bytes, Future[Secret[str]]] = {}
        self._tasks: dict[tuple[int, bytes], asyncio.Task[Secret[str]]] = {}
        self._fetcher: Fetcher | None = None
        self._token_endpoint: str | None = None

    def on_behalf_of(self, received: ReceivedToken) -> TokenSource:
        """The source of tokens for calls in the name of a request's caller."""
        return _Exchanged(self, received)

    def close(self) -> None:
        """Let go of connections and tokens."""
        with self._lock:
            self._kept.clear()
            fetcher, self._fetcher = self._fetcher, None
        if fetcher is not None:
            fetcher.close()

    def kept(self, digest: bytes) -> Secret[str] | None:
        """A token that was exchanged before and has life left."""
        with self._lock:
            return self._find(digest)

    def drop(self, digest: bytes) -> None:
        """Use a token no more."""
        with self._lock:
            self._kept.pop(digest, None)

    def fetch(self, subject: Secret[str], digest: bytes) -> Secret[str]:
        """Exchange from a thread; many that ask for one at once wait for one exchange.

        Raises:
            ExchangeRefused: the authorization server says no.
            Unavailable: it does not answer.
        """
        with self._lock:
            # An exchange may have ended since it was looked for.
            found = self._find(digest)
            if found is not None:
                return found
            flight = self._flights.get(digest)
            mine = flight is None
            if flight is None:
                flight = self._flights[digest] = Future()
            if self._fetcher is None:
                self._fetcher = Fetcher()
            fetcher = self._fetcher
        if mine:
            try:
                flight.set_result(fetcher.drive(self._exchange(subject, digest)))
            except BaseException as error:
                # What stops this thread (an interrupt) is not the others' to raise.
                mine_alone = not isinstance(error, Exception)
                flight.set_exception(Unavailable("the exchange was given up") if mine_alone else error)
                if mine_alone:
                    raise
            finally:
                with self._lock:
                    self._flights.pop(digest, None)
        return flight.result()

    async def afetch(self, subject: Secret[str], digest: bytes) -> Secret[str]:
        """As `fetch`, from an event loop."""
        loop = asyncio.get_running_loop()
        key = (id(loop), digest)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = loop.create_task(self._fetch_on_loop(subject, digest))
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        # Shielded: who gives up waiting does not take the exchange away from the others.
        return await asyncio.shield(task)

    async def _fetch_on_loop(self, subject: Secret[str], digest: bytes) -> Secret[str]:
        # A client of its own: it belongs to this loop, and an exchange happens once in minutes per caller.
        fetcher = AsyncFetcher()
        try:
            return await fetcher.drive(self._exchange(subject, digest))
        finally:
            await fetcher.aclose()

    def _find(self, digest: bytes) -> Secret[str] | None:
        token, until = self._kept.get(digest, (None, 0.0))
        if token is None or self._monotonic() >= until:
            self._kept.pop(digest, None)
            return None
        self._kept.move_to_end(digest)
        return token

    def _exchange(self, subject: Secret[str], digest: bytes) -> Conversation[Secret[str]]:
        if self._token_endpoint is None:
            metadata = yield from discover(Issuer(self._issuer))
            if metadata.token_endpoint is None:
                raise ConfigurationError("issuer", self._issuer, "must have a token_endpoint in its metadata")
            self._token_endpoint = metadata.token_endpoint
        asked_at = self._monotonic()
        exchanged = yield from exchange_token(
            token_endpoint=self._token_endpoint,
            client_id=self._client_id,
            client_secret=self._client_secret,
            subject_token=subject,
            resource=self._resource,
            scope=self._scope,
        )
        with self._lock:
            self._kept[digest] = (exchanged.token, asked_at + _USED_OF_LIFE * exchanged.expires_in)
            self._kept.move_to_end(digest)
            while len(self._kept) > self._max_entries:
                self._kept.popitem(last=False)
        return exchanged.token


class _Exchanged:
    """One caller's source."""

    def __init__(self, exchange: TokenExchange, received: ReceivedToken) -> None:
        self.to = exchange.to
        self._exchange = exchange
        self._subject = received.token
        self._digest = sha256(received.token.reveal().encode()).digest()

    def token(self) -> Secret[str]:
        return self._exchange.kept(self._digest) or self._exchange.fetch(self._subject, self._digest)

    async def atoken(self) -> Secret[str]:
        kept = self._exchange.kept(self._digest)
        return kept if kept is not None else await self._exchange.afetch(self._subject, self._digest)

    def refused(self) -> None:
        self._exchange.drop(self._digest)


def _origin(scheme: str, host: str | None, port: int | None) -> tuple[str, str, int]:
    return scheme, (host or "").lower(), port if port is not None else {"https": 443, "http": 80}.get(scheme, 0)
