"""Fetches over HTTP with hard limits, sync and async, by httpx2.

No redirect is followed, no cookie kept, no proxy or netrc taken from the environment, no compressed
body unpacked (a small answer could become a large one). Every failure is `Unavailable`: who
asked decides what that means, and it never means that a caller's token is bad.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import TypeVar

import httpx2

from portero.adapters.fetch.requests import Conversation, Fetched, FetchRequest, Limits
from portero.core.errors import Unavailable

T = TypeVar("T")

_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "portero"}
_CONNECTIONS = httpx2.Limits(max_connections=8, max_keepalive_connections=4, keepalive_expiry=30.0)

_BROKEN = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, UnicodeError)
"""What httpx2 raises where there is no answer; `UnicodeError`: a host with a label that no name has."""


@cache
def system_tls() -> ssl.SSLContext:
    """The system's authorities, read once in a process: it takes 20 ms, which no event loop has."""
    return httpx2.create_ssl_context(trust_env=False)


def no_cookies() -> CookieJar:
    """A jar that takes none. A client keeps one jar for everybody: one caller's cookie would go with the next one's
    request."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=()))


class TooSlow(Unavailable):
    """There was no whole answer in time."""


class Fetcher:
    """Fetches from threads. One per Guard or client session; closed with it.

    Args:
        limits: of each fetch.
        socket: a Unix socket that answers whatever host a URL names.
        trust_env: take proxies and certificates from the environment, as a program on a person's machine should.
        ssl_context: whom to trust; None: the system's.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        socket: Path | None = None,
        trust_env: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits or Limits()
        tls = ssl_context or (_nobody() if socket is not None else True if trust_env else system_tls())
        self._client = httpx2.Client(
            follow_redirects=False,
            trust_env=trust_env,
            verify=tls,
            timeout=self._limits.timeout,
            limits=_CONNECTIONS,
            headers=_HEADERS,
            cookies=no_cookies(),
            transport=None if socket is None else httpx2.HTTPTransport(uds=str(socket), verify=tls, trust_env=False),
        )

    def fetch(self, request: FetchRequest, *, max_bytes: int | None = None) -> Fetched:
        """Do one request.

        Raises:
            Unavailable: no answer in time, an answer too large, or a redirect.
        """
        deadline = time.monotonic() + self._limits.timeout
        limit = max_bytes or self._limits.max_bytes
        try:
            with self._client.stream(
                _method(request), request.url, headers=request.headers, data=request.form, content=request.body
            ) as response:
                _refuse_what_is_not_read(response)
                body = bytearray()
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > limit:
                        raise Unavailable(f"{_place(request.url)} answers with more than {limit} bytes")
                    if time.monotonic() > deadline:
                        raise TooSlow(f"{_place(request.url)} does not finish within {self._limits.timeout:g} s")
                return _fetched(response, bytes(body))
        except httpx2.TimeoutException as error:
            raise TooSlow(f"{_place(request.url)}: {type(error).__name__}") from error
        except _BROKEN as error:
            raise Unavailable(f"{_place(request.url)}: {type(error).__name__}") from error

    def drive(self, conversation: Conversation[T], *, max_bytes: int | None = None) -> T:
        """Run a conversation to its end and return what it learned."""
        return _drive(conversation, lambda request: self.fetch(request, max_bytes=max_bytes))

    @contextmanager
    def stream(self, request: FetchRequest, *, silence: float) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Open a stream; yields the status and the chunks as they come.

        Args:
            request: what to open.
            silence: seconds without a byte after which the stream counts as dead.

        Raises:
            Unavailable: while opening or reading.
        """
        timeout = httpx2.Timeout(self._limits.timeout, read=silence)
        headers = {**request.headers, "accept": "text/event-stream", "cache-control": "no-cache"}
        try:
            with self._client.stream("GET", request.url, headers=headers, timeout=timeout) as response:
                _refuse_what_is_not_read(response)
                yield response.status_code, response.iter_raw()
        except _BROKEN as error:
            raise Unavailable(f"{_place(request.url)}: {type(error).__name__}") from error

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


class AsyncFetcher:
    """Fetches from an event loop. One per Guard and loop; closed with it. Arguments as `Fetcher`.

    No step holds the loop long: what takes milliseconds is done in a thread, once in a process.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        socket: Path | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._socket = socket
        self._tls = ssl_context or (None if socket is None else _nobody())
        self._client: httpx2.AsyncClient | None = None
        self._closed = False

    async def fetch(self, request: FetchRequest, *, max_bytes: int | None = None) -> Fetched:
        """Do one request; limits and errors as `Fetcher.fetch`."""
        limit = max_bytes or self._limits.max_bytes
        try:
            async with asyncio.timeout(self._limits.timeout), self._response(request) as response:
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > limit:
                        raise Unavailable(f"{_place(request.url)} answers with more than {limit} bytes")
                return _fetched(response, bytes(body))
        except (*_BROKEN, TimeoutError) as error:
            raise Unavailable(f"{_place(request.url)}: {type(error).__name__}") from error

    async def drive(self, conversation: Conversation[T], *, max_bytes: int | None = None) -> T:
        """Run a conversation to its end and return what it learned."""
        try:
            request = next(conversation)
            while True:
                try:
                    answer = None if request is None else await self.fetch(request, max_bytes=max_bytes)
                except Unavailable as error:
                    request = conversation.throw(error)
                else:
                    # Understanding an answer is work of its own: whoever waits for the loop goes first.
                    await asyncio.sleep(0)
                    request = next(conversation) if answer is None else conversation.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    @asynccontextmanager
    async def stream(self, request: FetchRequest, *, silence: float) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Open a stream; as `Fetcher.stream`."""
        patience = httpx2.Timeout(self._limits.timeout, read=silence)
        headers = {**request.headers, "accept": "text/event-stream", "cache-control": "no-cache"}
        try:
            async with self._response(FetchRequest(request.url, headers), patience=patience) as response:
                yield response.status_code, response.aiter_raw()
        except _BROKEN as error:
            raise Unavailable(f"{_place(request.url)}: {type(error).__name__}") from error

    async def aclose(self) -> None:
        """Let go of the connections."""
        self._closed = True
        if self._client is not None:
            await self._client.aclose()

    @asynccontextmanager
    async def _response(
        self, request: FetchRequest, *, patience: httpx2.Timeout | None = None
    ) -> AsyncIterator[httpx2.Response]:
        client = await self._ready()
        made = client.build_request(
            _method(request),
            request.url,
            headers=request.headers,
            data=request.form,
            content=request.body,
            timeout=patience or self._limits.timeout,
            extensions={"trace": _breathe},
        )
        await _breathe("request.made", None)
        response = await client.send(made, stream=True)
        try:
            _refuse_what_is_not_read(response)
            yield response
        finally:
            await response.aclose()

    async def _ready(self) -> httpx2.AsyncClient:
        if self._closed:
            raise RuntimeError("this fetcher was closed")
        if self._tls is None:
            self._tls = await asyncio.to_thread(system_tls)
        if self._client is None:
            self._client = httpx2.AsyncClient(
                follow_redirects=False,
                trust_env=False,
                verify=self._tls,
                limits=_CONNECTIONS,
                headers=_HEADERS,
                cookies=no_cookies(),
                transport=None
                if self._socket is None
                else httpx2.AsyncHTTPTransport(uds=str(self._socket), verify=self._tls, trust_env=False),
            )
        return self._client


async def _breathe(_event: str, _info: object) -> None:
    """Between what a request consists of (connecting, TLS, sending, reading) whoever waits for the loop goes first."""
    await asyncio.sleep(0)


def _nobody() -> ssl.SSLContext:
    # Over a socket of this machine nothing is proven by TLS: no authority is trusted, and none is read.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _drive(conversation: Conversation[T], fetch: Callable[[FetchRequest], Fetched]) -> T:
    try:
        request = next(conversation)
        while True:
            if request is None:
                request = next(conversation)
                continue
            try:
                answer = fetch(request)
            except Unavailable as error:
                request = conversation.throw(error)
            else:
                request = conversation.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


def _method(request: FetchRequest) -> str:
    return "GET" if request.form is None and request.body is None else "POST"


def _refuse_what_is_not_read(response: httpx2.Response) -> None:
    if response.is_redirect:
        raise Unavailable(f"{_place(str(response.url))} redirects, and redirects are not followed")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Unavailable(f"{_place(str(response.url))} sends a compressed body that was not asked for")


def _fetched(response: httpx2.Response, body: bytes) -> Fetched:
    return Fetched(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def _place(url: str) -> str:
    # For the log: never the query, which may hold anything.
    return url.partition("?")[0]
