"""A WebSocket behind the Guard: checked at the handshake, closed when its token is over (design §3.5).

The token comes in the `Authorization` header, or, from a browser, as the subprotocol
`portero.bearer.<token>` beside the application's own. Never in the query string. A refusal
before the handshake is the HTTP status; a browser page cannot see that, so one that brought
its token as a subprotocol is accepted and then closed with the code of the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from portero.core.policy.credentials import token_of, token_of_subprotocols
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import NO_TOKEN, Refusal, two_tokens
from portero.core.policy.rendering import close_reason
from portero.core.policy.requirement import Requirement
from portero.resource_server.guard import Guard

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SUBPROTOCOL = "portero.bearer"
"""What a page offers beside the token when its application has no subprotocol of its own."""


async def guard_websocket(
    app: App, scope: Scope, receive: Receive, send: Send, *, guard: Guard, requirement: Requirement
) -> None:
    """Serve one WebSocket connection."""
    outcome, by_subprotocol = await admit_websocket(guard, scope, requirement)
    if isinstance(outcome, Refusal):
        await _refuse(scope, receive, send, outcome, guard=guard, by_subprotocol=by_subprotocol)
        return
    scope["portero.principal"] = outcome
    connection = _Connection(receive, send, subprotocols=scope.get("subprotocols") or [])
    watched = guard.watch(outcome, connection.end)
    try:
        await app(scope, connection.receive, connection.send)
    finally:
        watched.forget()
        await connection.settle()


async def refuse_websocket(scope: Scope, receive: Receive, send: Send, refusal: Refusal, *, guard: Guard) -> None:
    """Refuse a handshake before any token was looked for: the HTTP status, where the server can send one."""
    await _refuse(scope, receive, send, refusal, guard=guard, by_subprotocol=False)


async def admit_websocket(guard: Guard, scope: Scope, requirement: Requirement) -> tuple[Principal | Refusal, bool]:
    """Check the handshake's token; also answers whether it came as a subprotocol.

    The token is taken out of `scope["subprotocols"]` and the header, so that no application
    and no log sees it there.
    """
    in_header = token_of(scope["headers"], scope.get("query_string", b""))
    offered = token_of_subprotocols(scope.get("subprotocols") or ())
    if isinstance(offered, Refusal):
        return offered, True
    in_subprotocol, rest = offered
    if in_subprotocol is not None:
        scope["subprotocols"] = list(rest)
        scope["headers"] = [
            (name, ", ".join(rest).encode("latin-1") if name == b"sec-websocket-protocol" else value)
            for name, value in scope["headers"]
        ]
        if in_header is not NO_TOKEN:
            return two_tokens("Authorization and subprotocol"), True
        return await guard.check(in_subprotocol, requirement), True
    if isinstance(in_header, Refusal):
        return in_header, False
    return await guard.check(in_header, requirement), False


class _Connection:
    """The application's view of the connection, which ends when the token does."""

    def __init__(self, receive: Receive, send: Send, *, subprotocols: list[str]) -> None:
        self._receive = receive
        self._send = send
        self._default_subprotocol = SUBPROTOCOL if SUBPROTOCOL in subprotocols else None
        self._over: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        self._accepted = False
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._pending: asyncio.Future[Message] | None = None

    def end(self, refusal: Refusal) -> None:
        """The token is over: close, whatever the application does."""
        if not self._over.done():
            self._over.set_result(refusal)
            self._closing = asyncio.ensure_future(self._close(refusal))

    async def receive(self) -> Message:
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._receive())
        either: set[asyncio.Future[Any]] = {self._pending, self._over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            return {"type": "websocket.disconnect", "code": self._over.result().row.close_code}
        pending, self._pending = self._pending, None
        return pending.result()

    async def send(self, message: Message) -> None:
        if self._over.done():
            # As a server does when the peer is gone: an application that only sends must notice.
            raise OSError("the connection was closed because its access token is over")
        if message["type"] == "websocket.accept":
            self._accepted = True
            if not message.get("subprotocol") and self._default_subprotocol is not None:
                message = {**message, "subprotocol": self._default_subprotocol}
        elif message["type"] == "websocket.close":
            self._closed = True
        await self._send(message)

    async def settle(self) -> None:
        """Leave nothing running."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending})
        if self._closing is not None:
            await self._closing

    async def _close(self, refusal: Refusal) -> None:
        if not self._closed:
            self._closed = True
            await self._send(_close_message(refusal))


async def _refuse(
    scope: Scope, receive: Receive, send: Send, refusal: Refusal, *, guard: Guard, by_subprotocol: bool
) -> None:
    await receive()  # websocket.connect
    if by_subprotocol:
        offered = scope.get("subprotocols") or []
        await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
        await send(_close_message(refusal))
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        written = guard.http_refusal(refusal, origin=None)
        headers = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in written.headers]
        await send({"type": "websocket.http.response.start", "status": written.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": written.body})
    else:
        await send(_close_message(refusal))


def _close_message(refusal: Refusal) -> Message:
    return {"type": "websocket.close", "code": refusal.row.close_code, "reason": close_reason(refusal)}
