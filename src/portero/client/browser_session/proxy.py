"""The allow-list proxy: a request with the cookie becomes a request with the token (RFC 10017 §6.1.3.1).

Both bodies are streamed. What identifies the browser to us stays here: no cookie goes to a service, none comes from
one. A 401 that a new token can cure is cured here, once, where the request can be repeated unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx2

from portero.adapters.fetch.http import no_cookies
from portero.client.browser_session.exchange import Exchange, Gone, Headers
from portero.client.browser_session.records import Session
from portero.client.browser_session.refreshing import Refresher
from portero.client.protocol.challenge import token_challenge
from portero.core.errors import Unavailable
from portero.core.policy.path import normal_path

REPLAYED: Final = 64 * 1024
"""Bytes of a body that are kept, so that the request can be sent a second time."""
_CONNECT: Final = 5.0
_ANSWER_BEGINS: Final = 60.0
"""Seconds from the end of the request to the head of the answer, and for the service to take a piece of the request.
The answer's body may take for ever (event streams do)."""
_HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"proxy-authenticate", b"proxy-authorization"),
    }
)
_NOT_SENT: Final = _HOP_BY_HOP | {b"cookie", b"authorization", b"dpop", b"host", b"expect", b"x-portero", b"origin"}
_NOT_RETURNED: Final = _HOP_BY_HOP | {b"set-cookie", b"clear-site-data", b"date", b"server"}


class OneShotBody(Unavailable):
    """The service refused the token of a request whose body cannot be sent again; the next request has a new one."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    base: httpx2.URL
    raw_path: bytes

    @property
    def url(self) -> httpx2.URL:
        """The address at the service."""
        return self.base.copy_with(raw_path=self.raw_path)


class Upstreams:
    """The allow-list, and the connections to what is on it."""

    def __init__(self, upstreams: Mapping[str, str], refresher: Refresher) -> None:
        # The longest first: `/api/orders` before `/api`.
        self._places = sorted(
            ((place, httpx2.URL(url)) for place, url in upstreams.items()), key=lambda one: -len(one[0])
        )
        self._refresher = refresher
        self._client = httpx2.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            cookies=no_cookies(),
            timeout=httpx2.Timeout(_CONNECT, read=None, write=_ANSWER_BEGINS),
            limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
        )
        self._client.headers.clear()

    def target_of(self, scope: Mapping[str, object]) -> Target | None:
        """Where a request goes; None: it is not on the list.

        Raises:
            RequestError: the path means different things to different programs.
        """
        raw = scope.get("raw_path")
        path = normal_path(raw if isinstance(raw, bytes) else str(scope["path"]).encode())
        for place, base in self._places:
            if path == place or path.startswith(place + "/"):
                query = scope.get("query_string") or b""
                tail = path[len(place) :].encode()
                head = base.raw_path.rstrip(b"/") or (b"" if tail else b"/")
                return Target(base, head + tail + (b"?" + query if isinstance(query, bytes) and query else b""))
        return None

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def pass_on(
        self, exchange: Exchange, target: Target, session: Session, *, cookies: Callable[[Session], list[str]]
    ) -> None:
        """Send a request on and its answer back.

        Args:
            exchange: the request.
            target: of `target_of`.
            session: whose token goes with it.
            cookies: the `Set-Cookie` values that go with the answer, for the session as it was used.

        Raises:
            SessionOver: the session ended.
            RequestError: the body is broken.
            Unavailable: the service does not answer, or no token is to be had.
        """
        session = await self._refresher.usable(session)
        body = _Body(exchange)
        await body.begin()
        response = await self._send(exchange, target, session, body)
        try:
            challenge = (
                token_challenge(response.headers.get("www-authenticate")) if response.status_code == 401 else None
            )
            if challenge is not None and challenge.parameters.get("error", "invalid_token") == "invalid_token":
                session = await self._refresher.replaced(session)
                if not body.can_be_sent_again:
                    raise OneShotBody("the token was refused, and the body cannot be sent again")
                await response.aclose()
                response = await self._send(exchange, target, session, body)
            exchange.cookies_to_set += cookies(session)
            await self._answer(exchange, response)
        finally:
            await response.aclose()

    async def _send(self, exchange: Exchange, target: Target, session: Session, body: _Body) -> httpx2.Response:
        headers = _forwarded(exchange.scope["headers"], _NOT_SENT)
        headers.append((b"host", target.base.netloc))
        headers.append((b"authorization", b"Bearer " + session.access_token.reveal().encode("latin-1")))
        request = self._client.build_request(exchange.method, target.url, headers=headers, content=body.content())
        try:
            async with asyncio.timeout(None if body.streams else _ANSWER_BEGINS) as limit:
                # A streamed body takes as long as the browser does; what follows it does not.
                body.when_sent = lambda: limit.reschedule(asyncio.get_running_loop().time() + _ANSWER_BEGINS)
                return await self._client.send(request, stream=True)
        except (httpx2.HTTPError, httpx2.StreamError, TimeoutError) as error:
            raise Unavailable(f"{target.base.host}: {type(error).__name__}") from error

    async def _answer(self, exchange: Exchange, response: httpx2.Response) -> None:
        headers = _forwarded(response.headers.raw, _NOT_RETURNED)
        headers += [(b"set-cookie", cookie.encode("latin-1")) for cookie in exchange.cookies_to_set]
        await exchange.send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        gone = asyncio.ensure_future(_until_gone(exchange))
        copying = asyncio.ensure_future(_copy(exchange, response))
        try:
            await asyncio.wait({gone, copying}, return_when=asyncio.FIRST_COMPLETED)
            if copying.done():
                copying.result()
        finally:
            for task in (gone, copying):
                task.cancel()
            await asyncio.gather(gone, copying, return_exceptions=True)


async def _copy(exchange: Exchange, response: httpx2.Response) -> None:
    async for chunk in response.aiter_raw():
        await exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass


def _forwarded(headers: Headers, left_out: frozenset[bytes]) -> Headers:
    # RFC 9110 §7.6.1: what Connection names is for one connection only.
    named = {
        name.strip().lower()
        for header, value in headers
        if header.lower() == b"connection"
        for name in value.split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in left_out and name.lower() not in named]


class _Body:
    """A request's body: kept while it is small, streamed from where it is not."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._kept = bytearray()
        self.streams = False
        self.when_sent: Callable[[], None] = lambda: None
        """Called when a streamed body is at its end."""

    @property
    def can_be_sent_again(self) -> bool:
        """Whether all of it was kept."""
        return not self.streams

    async def begin(self) -> None:
        """Read it, as far as it is kept."""
        more = True
        while more and len(self._kept) <= REPLAYED:
            more = await self._read(self._kept)
        self.streams = more

    def content(self) -> bytes | AsyncIterator[bytes]:
        """What to send."""
        return self._stream() if self.streams else bytes(self._kept)

    async def _stream(self) -> AsyncIterator[bytes]:
        yield bytes(self._kept)
        more = True
        while more:
            chunk = bytearray()
            more = await self._read(chunk)
            if chunk:
                yield bytes(chunk)
        self.when_sent()

    async def _read(self, into: bytearray) -> bool:
        message = await self._exchange.receive()
        if message["type"] == "http.disconnect":
            raise Gone
        into += message.get("body", b"")
        return bool(message.get("more_body", False))
