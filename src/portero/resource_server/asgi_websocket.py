"""A WebSocket behind the Guard: checked at the handshake, closed when its token is over (design §3.5).

The token comes in the `Authorization` header; from a browser, as the subprotocol
`portero.bearer.<token>` beside the application's own; where the route says so, in the Guard's
cookie, or as the first message, `Bearer <token>`. Never in the query string. A refusal
before the handshake is the HTTP status; a browser page cannot see that, so one that brought its
token as subprotocol or first message is accepted and then closed with the code of the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from portero.core.policy.credentials import token_of, token_of_header, token_of_subprotocols
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import NO_TOKEN, Refusal, two_tokens
from portero.core.policy.rendering import close_reason
from portero.core.policy.requirement import Carrier, Requirement
from portero.resource_server.asgi_request import request_seen
from portero.resource_server.guard import Guard
from portero.resource_server.open_connections import OpenConnection
from portero.resource_server.sender import Presented

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

WEBSOCKET = "portero.websocket"
"""Where an edge leaves the connection in the scope, for routes that decide for themselves."""
SUBPROTOCOL = "portero.bearer"
"""What a page offers beside the token when its application has no subprotocol of its own."""
FIRST_MESSAGE_WITHIN = 10.0
"""Seconds a client has for its first message, where that brings the token."""


async def guard_websocket(
    app: App, scope: Scope, receive: Receive, send: Send, *, guard: Guard, requirement: Requirement
) -> None:
    """Serve one WebSocket connection."""
    connection = GuardedWebSocket(scope, receive, send)
    try:
        outcome = await connection.admit(guard, requirement)
        if isinstance(outcome, Refusal):
            await connection.refuse(outcome, guard)
        else:
            await app(scope, connection.receive, connection.send)
    finally:
        await connection.settle()


class GuardedWebSocket:
    """The application's view of the connection, which ends when the token does."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._over: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        self._credential: Presented | Refusal | None = None
        self._by_page = False
        """The token came in a way that a page chooses: it is told by a close code."""
        self._connect: Message | None = None
        """`websocket.connect`, taken for the application and not yet handed to it."""
        self._accepted = False
        self._closed = False
        self._default_subprotocol: str | None = None
        self._watched: OpenConnection | None = None
        self._closing: asyncio.Task[None] | None = None
        self._pending: asyncio.Future[Message] | None = None

    async def admit(self, guard: Guard, requirement: Requirement) -> Principal | Refusal:
        """Check the connection's token; once admitted, the connection is closed when it is over.

        The token is taken out of `scope["subprotocols"]` and the header, so that no application
        and no log sees it there.
        """
        if self._credential is None:
            self._credential = self._handshake_token(guard, requirement)
        if self._credential is NO_TOKEN and Carrier.FIRST_MESSAGE in requirement.carriers and not self._accepted:
            first = await self._first_message()
            seen = request_seen(self._scope)
            self._credential = guard.presented(first, seen, requirement, websocket=True)
        if isinstance(self._credential, Refusal):
            return self._credential
        outcome = await guard.check(self._credential.token, requirement, self._credential.sender)
        if isinstance(outcome, Principal):
            self._scope["portero.principal"] = outcome
            if self._watched is None:
                self._watched = guard.watch(outcome, self._end)
        return outcome

    async def refuse(self, refusal: Refusal, guard: Guard) -> None:
        """End an unadmitted connection."""
        if self._connect is None and not self._accepted:
            await self._receive()
        if self._by_page and not self._accepted:
            offered = self._scope.get("subprotocols") or []
            await self._accept(offered[0] if offered else None)
        if self._accepted or "websocket.http.response" not in (self._scope.get("extensions") or {}):
            await self._close(refusal)
            return
        self._closed = True
        written = guard.http_refusal(refusal, origin=None)
        headers = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in written.headers]
        await self._send({"type": "websocket.http.response.start", "status": written.status, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": written.body})

    async def receive(self) -> Message:
        """The application's `receive`."""
        if self._connect is not None:
            connect, self._connect = self._connect, None
            return connect
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._receive())
        either: set[asyncio.Future[Any]] = {self._pending, self._over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            return {"type": "websocket.disconnect", "code": self._over.result().row.close_code}
        pending, self._pending = self._pending, None
        return pending.result()

    async def send(self, message: Message) -> None:
        """The application's `send`."""
        if self._over.done():
            # As a server does when the peer is gone: an application that only sends must notice.
            raise OSError("the connection was closed because its access token is over")
        kind = message["type"]
        if kind == "websocket.accept":
            if self._accepted:
                return  # already, for its first message
            self._accepted = True
            if not message.get("subprotocol") and self._default_subprotocol is not None:
                message = {**message, "subprotocol": self._default_subprotocol}
        elif kind == "websocket.close":
            if self._closed:
                return
            self._closed = True
        await self._send(message)

    async def settle(self) -> None:
        """Leave nothing running."""
        if self._watched is not None:
            self._watched.forget()
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending})
        if self._closing is not None:
            await self._closing

    def _handshake_token(self, guard: Guard, requirement: Requirement) -> Presented | Refusal:
        scope = self._scope
        seen = request_seen(scope)
        in_header = token_of(scope["headers"], seen.query)
        token = guard.presented(in_header, seen, requirement, websocket=True)
        offered = token_of_subprotocols(scope.get("subprotocols") or ())
        if isinstance(offered, Refusal):
            self._by_page = True
            return offered
        in_subprotocol, rest = offered
        if in_subprotocol is None:
            return token
        self._by_page = True
        self._default_subprotocol = SUBPROTOCOL if SUBPROTOCOL in rest else None
        scope["subprotocols"] = list(rest)
        scope["headers"] = [
            (name, ", ".join(rest).encode("latin-1") if name == b"sec-websocket-protocol" else value)
            for name, value in scope["headers"]
        ]
        if token is not NO_TOKEN:
            return two_tokens("subprotocol and another")
        return guard.presented(in_subprotocol, seen, requirement, websocket=True)

    async def _first_message(self) -> bytes | Refusal:
        self._by_page = True
        self._connect = await self._receive()
        # The application cannot choose among the subprotocols any more: the first one it is.
        await self._accept(next(iter(self._scope.get("subprotocols") or ()), None))
        try:
            async with asyncio.timeout(FIRST_MESSAGE_WITHIN):
                message = await self._receive()
        except TimeoutError:
            return NO_TOKEN
        if message["type"] != "websocket.receive":
            self._closed = True
            return NO_TOKEN
        text = message.get("text")
        return token_of_header((message.get("bytes") or b"") if text is None else text.encode("latin-1", "replace"))

    async def _accept(self, subprotocol: str | None) -> None:
        self._accepted = True
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    def _end(self, refusal: Refusal) -> None:
        """The token is over: close, whatever the application does."""
        if not self._over.done():
            self._over.set_result(refusal)
            self._closing = asyncio.ensure_future(self._close(refusal))

    async def _close(self, refusal: Refusal) -> None:
        if not self._closed:
            self._closed = True
            reason = close_reason(refusal)
            await self._send({"type": "websocket.close", "code": refusal.row.close_code, "reason": reason})
