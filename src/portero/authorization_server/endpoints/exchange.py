"""One HTTP exchange of a protocol endpoint: bytes in, a handler's `Answer` out. Raw ASGI: `/token` is the hot path.

What every endpoint shares stands here once: methods (405 with `Allow`), `HEAD`, preflights,
the body's limit (413), and the translation of errors. A handler only parses, transitions
and renders.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, cast

from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.cors import Audience, preflight, readable
from portero.authorization_server.endpoints.responses import (
    Answer,
    StreamingAnswer,
    method_not_allowed,
    refusal,
    too_large,
    unavailable,
)
from portero.core.errors import RequestError, Unavailable
from portero.core.oauth.errors import invalid_request
from portero.core.oauth.forms import MAX_BODY_BYTES, Parameters, parse_form, parse_query

SEND_SECONDS = 10.0
"""A reader of a stream that takes longer to read a piece is cut: what it knows is stale by then anyway."""

_log = logging.getLogger("portero.endpoints")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose body is in memory. Its repr shows neither headers nor body."""

    method: str
    unverified_headers: list[tuple[bytes, bytes]]
    query_string: bytes
    body: bytes
    peer: str | None = None
    """The address of the socket's other end, which may be a proxy."""
    path: str = ""
    """Decoded, without the query."""

    def header(self, name: bytes) -> str | None:
        """Return the one value of a header (`name` in lower case), or None.

        Raises:
            RequestError: `invalid_request` where it is sent twice: which of two a reader
                takes must not matter.
        """
        found: bytes | None = None
        for key, value in self.unverified_headers:
            if key == name:
                if found is not None:
                    raise invalid_request(f"the header {name.decode('ascii')} is repeated")
                found = value
        return None if found is None else found.decode("latin-1")

    def form(self) -> Parameters:
        """Parse the body as a form, and refuse parameters in the query (RFC 6749 §2.3.1, §3.2: in the body only).

        Raises:
            RequestError: `invalid_request`.
        """
        if self.query_string:
            raise invalid_request("parameters belong in the body, not in the URL")
        return parse_form(self.body, content_type=self.header(b"content-type"))

    def query(self) -> Parameters:
        """Parse the query string.

        Raises:
            RequestError: `invalid_request`.
        """
        return parse_query(self.query_string)

    def __repr__(self) -> str:
        return f"Request({self.method})"


Handler = Callable[[Request], Awaitable[Answer]] | Callable[[Request], Awaitable[Answer | StreamingAnswer]]
Refusal = Callable[[Request, RequestError], Answer]


class BodyTooLarge(Exception):
    """The request's body is longer than an endpoint reads."""


class Disconnected(Exception):
    """The peer went away before its request was whole."""


def refuse(request: Request, error: RequestError) -> Answer:
    """Render a refusal that needs no header of its own."""
    return refusal(error)


class Endpoint:
    """An ASGI application for one path.

    Args:
        handlers: method → handler. `GET` also serves `HEAD`.
        clients: where the registered origins come from.
        audience: whose scripts may read the answers.
        refuse: renders a `RequestError`, for endpoints whose refusals carry a challenge.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        clients: Clients,
        audience: Audience = Audience.NOBODY,
        refuse: Refusal = refuse,
    ) -> None:
        self._handlers = dict(handlers)
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]
        self._allow = ", ".join(sorted({*self._handlers, "OPTIONS"}))
        self._clients = clients
        self._audience = audience
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        origin = _origin(headers)
        if method == "OPTIONS":
            permission = await preflight(self._audience, origin=origin, allow=self._allow, clients=self._clients)
            await send_answer(send, permission, method=method)
            return
        try:
            answer = await self._answer(method, scope, receive)
        except Disconnected:
            return
        if isinstance(answer, StreamingAnswer):
            await send_stream(send, receive, answer, method=method)
            return
        answer = await readable(answer, self._audience, origin=origin, clients=self._clients)
        await send_answer(send, answer, method=method)

    async def _answer(self, method: str, scope: Scope, receive: Receive) -> Answer | StreamingAnswer:
        handler = self._handlers.get(method)
        if handler is None:
            return method_not_allowed(self._allow)
        try:
            body = await read_body(scope["headers"], receive)
        except BodyTooLarge:
            return too_large(MAX_BODY_BYTES)
        peer = scope.get("client")
        address = None if peer is None else peer[0]
        request = Request(method, scope["headers"], scope["query_string"], body, address, scope["path"])
        try:
            return await handler(request)
        except RequestError as error:
            # The path, never the query; the error's texts never hold a secret.
            _log.info("%s %s refused: %s", method, scope["path"], error)
            return self._refuse(request, error)
        except Unavailable as failure:
            _log.warning("%s %s cannot be served: %s", method, scope["path"], failure)
            return unavailable(failure)


async def read_body(headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
    """Read at most `MAX_BODY_BYTES` bytes.

    Raises:
        BodyTooLarge: announced or found to be longer.
        Disconnected: the peer went away.
    """
    for name, value in headers:
        if name == b"content-length" and (len(value) > 8 or not value.isdigit() or int(value) > MAX_BODY_BYTES):
            raise BodyTooLarge
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge
    if not message.get("more_body", False):
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge
        parts.append(part)
    return b"".join(parts)


async def send_answer(send: Send, answer: Answer, *, method: str) -> None:
    """Send the answer; for `HEAD` its headers only."""
    headers = [*answer.headers]
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})


async def send_stream(send: Send, receive: Receive, answer: StreamingAnswer, *, method: str) -> None:
    """Send piece by piece until the parts end, the peer is gone, or it reads nothing for `SEND_SECONDS`.

    A server's `send` only waits while its own buffer is full, and says nothing when the
    peer is gone: that is read off `receive`.
    """
    gone = asyncio.create_task(_disconnected(receive), name="waiting for the peer to leave")
    try:
        async with aclosing(cast("AsyncGenerator[bytes, None]", answer.parts)) as parts:
            await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers]})
            if method != "HEAD":
                async for part in parts:
                    if gone.done():
                        return
                    async with asyncio.timeout(SEND_SECONDS):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _origin(headers: list[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"origin":
            return value.decode("latin-1")
    return None
