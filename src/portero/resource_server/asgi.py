"""The Guard as pure ASGI: HTTP, event streams and WebSockets, for Starlette, Litestar, Quart and plain applications.

`GuardMiddleware` checks every request of the application it wraps (a whole service, a mount,
or one route). `GuardEdge` wraps a service whose routes decide for themselves: it runs the Guard
with the application's lifespan, answers preflights and the RFC 9728 document, and puts CORS
headers on every answer. A middleware includes an edge; to nest them does no harm.

The principal reaches the handler as `principal_of(request)` or `principal_of(scope)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from portero.core.policy.cors import is_preflight
from portero.core.policy.credentials import carries_token, token_of
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal
from portero.core.policy.requirement import Requirement
from portero.core.types import Secret
from portero.resource_server.asgi_request import request_seen
from portero.resource_server.asgi_websocket import WEBSOCKET, GuardedWebSocket, guard_websocket
from portero.resource_server.guard import Guard
from portero.resource_server.received import ReceivedToken
from portero.resource_server.sender import NONCE, TOKEN

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PRINCIPAL = "portero.principal"
"""Where the principal stands in the scope."""
_EVENT_STREAM = b"text/event-stream"


def principal_of(request: Any) -> Principal:
    """Return the caller of a request that was admitted.

    Args:
        request: an ASGI scope, or anything with a `scope` (a Starlette request or WebSocket).

    Raises:
        LookupError: no Guard admitted this request. A programming error, never the caller's.
    """
    scope = request if isinstance(request, MutableMapping) and "type" in request else request.scope
    principal = scope.get(PRINCIPAL)
    if not isinstance(principal, Principal):
        raise LookupError("no Guard admitted this request: is the route guarded?")
    return principal


def received_token(request: Any) -> ReceivedToken:
    """Return the token of a request that was admitted, to call the next service in its caller's name.

    Args:
        request: as `principal_of`.

    Raises:
        LookupError: no Guard admitted this request.
    """
    principal = principal_of(request)
    scope = request if isinstance(request, MutableMapping) and "type" in request else request.scope
    token = scope.get(TOKEN)
    if token is None:
        # The quickest way of a request leaves nothing behind; the header it was read from is still there.
        in_header = token_of(scope["headers"])
        if not isinstance(in_header, bytes):
            raise LookupError("the request's token is not in its header any more")
        token = Secret(in_header.decode("latin-1"))
    return ReceivedToken(token, principal)


class GuardEdge:
    """Lifespan, preflights, metadata document and CORS headers; checks no token.

    Args:
        app: the application.
        guard: whose CORS origins, metadata and drivers these are.
    """

    _requirement: Requirement | None = None
    """What all of the application requires; an edge requires nothing, its routes do."""

    def __init__(self, app: App, *, guard: Guard) -> None:
        self.app = app
        self.guard = guard
        self._metadata_path = guard.metadata_path
        self._adds_cors = bool(guard.cors.origins)
        self._looks_at_sender = guard.senders.asks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return
        if (scope["method"] == "OPTIONS" or scope["path"] == self._metadata_path) and await self.answers(scope, send):
            return
        requirement = self._requirement
        if requirement is not None:
            outcome = admit_known(self.guard, scope, requirement)
            if outcome is None:
                outcome = await admit_scope(self.guard, scope, requirement)
            if isinstance(outcome, Refusal):
                await self.refuse(outcome, scope, send)
                return
            scope[PRINCIPAL] = outcome
        if self._adds_cors:
            send = self.with_cors(send, origin_of(scope))
        if self._looks_at_sender:
            send = _with_nonce(send, scope)
        stream: _EventStream | None = None

        def send_and_notice(message: Message) -> Awaitable[None]:
            nonlocal stream, send
            if message["type"] == "http.response.start":
                for name, value in message.get("headers", ()):
                    # An event stream of an admitted caller ends when the token does.
                    if len(name) == 12 and name.lower() == b"content-type":
                        if value[:17].lower() == _EVENT_STREAM and PRINCIPAL in scope:
                            stream = _EventStream(self.guard, scope[PRINCIPAL], send)
                            send = stream.send
                        break
            return send(message)

        try:
            await self.app(scope, receive, send_and_notice)
        except asyncio.CancelledError:
            if stream is None or not stream.was_cancelled_by_guard():
                raise
        finally:
            if stream is not None:
                await stream.settle()

    async def answers(self, scope: Scope, send: Send) -> bool:
        """Answer what needs no token: preflights and the metadata document."""
        method = scope["method"]
        origin = origin_of(scope)
        if method == "OPTIONS" and is_preflight(
            method, origin, _header(scope["headers"], b"access-control-request-method")
        ):
            # Before authentication: a preflight carries no token, and never reaches a handler.
            asked = _header(scope["headers"], b"access-control-request-headers") or ""
            await _answer(send, 204, self.guard.cors.preflight_headers(origin, requested_headers=asked))
            return True
        if scope["path"] == self._metadata_path and method in ("GET", "HEAD"):
            headers = [
                ("content-type", "application/json"),
                ("cache-control", "max-age=300"),
                *self.guard.cors.response_headers(origin),
            ]
            await _answer(send, 200, headers, self.guard.metadata(), head=method == "HEAD")
            return True
        return False

    def with_cors(self, send: Send, origin: str | None) -> Send:
        """Put the CORS headers on an answer that has none of its own."""
        extra = _encoded(self.guard.cors.response_headers(origin))

        def send_with_cors(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                if b"access-control-allow-origin" not in present:
                    headers += [(name, value) for name, value in extra if name == b"vary" or name not in present]
                message = {**message, "headers": headers}
            return send(message)

        return send_with_cors

    async def refuse(self, refusal: Refusal, scope: Scope, send: Send) -> None:
        """Send a refusal."""
        written = self.guard.http_refusal(refusal, origin=origin_of(scope))
        await _answer(send, written.status, written.headers, written.body, head=scope["method"] == "HEAD")

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
        elif kind == "websocket" and self._requirement is not None:
            await guard_websocket(self.app, scope, receive, send, guard=self.guard, requirement=self._requirement)
        elif kind == "websocket":
            # Routes that decide for themselves find here what closes them when the token is over.
            connection = scope[WEBSOCKET] = GuardedWebSocket(scope, receive, send)
            try:
                await self.app(scope, connection.receive, connection.send)
            finally:
                await connection.settle()
        elif self._requirement is not None:
            # An unknown kind of connection is not served: it would be served unchecked.
            raise NotImplementedError(f"the Guard does not know connections of type {kind!r}")
        else:
            await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_and_start() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.guard.start()
            return message

        async def send_and_stop(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await self.guard.aclose()
            await send(message)

        await self.app(scope, receive_and_start, send_and_stop)


class GuardMiddleware(GuardEdge):
    """Checks every request and every WebSocket handshake of the application it wraps.

    Args:
        app: the application.
        guard: the service's Guard.
        requirement: what all of it requires (`guard.requires(...)`).
    """

    def __init__(self, app: App, *, guard: Guard, requirement: Requirement) -> None:
        super().__init__(app, guard=guard)
        self._requirement = requirement


class _EventStream:
    """An answer that is an event stream: finished when the token is over."""

    __slots__ = ("_connection", "_finishing", "_send", "_task", "over")

    def __init__(self, guard: Guard, principal: Principal, send: Send) -> None:
        self.over = False
        self._send = send
        self._finishing: asyncio.Task[None] | None = None
        # It may be a task of the framework's own, within the one that runs the middleware.
        self._task = asyncio.current_task()
        self._connection = guard.watch(principal, self._end)

    def send(self, message: Message) -> Awaitable[None]:
        """Send for the application, while the token is good."""
        if self.over:
            # As a server does when the client is gone: an application that only sends must notice.
            raise OSError("the event stream was ended because its access token is over")
        return self._send(message)

    def _end(self, _refusal: Refusal) -> None:
        self.over = True
        self._finishing = asyncio.ensure_future(self._finish())
        if self._task is not None:
            self._task.cancel()

    async def _finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def was_cancelled_by_guard(self) -> bool:
        """After a cancellation of the task that runs the middleware: whether it was ours."""
        return (
            self.over and self._task is asyncio.current_task() and self._task is not None and not self._task.uncancel()
        )

    async def settle(self) -> None:
        """Leave nothing running."""
        self._connection.forget()
        if self._finishing is not None:
            await self._finishing


def admit_known(guard: Guard, scope: Scope, requirement: Requirement) -> Principal | Refusal | None:
    """Decide about an HTTP scope at once, where `Guard.admit_known` can; where it returns `None`, ask `admit_scope`.

    Here goes the usual request: one bearer token, which is known already. Nothing is made that is not needed.
    """
    if requirement.carriers or not guard.started or guard.senders.certificate is not None:
        return None
    authorization = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                return None
            authorization = value
    query = scope.get("query_string")
    if authorization is None or (query and carries_token(query)):
        return None
    return guard.admit_known(authorization, requirement)


async def admit_scope(guard: Guard, scope: Scope, requirement: Requirement) -> Principal | Refusal:
    """Check an HTTP scope's token, for adapters whose framework calls us inside a request."""
    in_header = token_of(scope["headers"], scope.get("query_string", b""))
    if isinstance(in_header, bytes) and not requirement.carriers and guard.senders.certificate is None:
        return await guard.check(in_header, requirement)
    presented = guard.presented(in_header, request_seen(scope), requirement)
    if isinstance(presented, Refusal):
        return presented
    return await guard.check(presented.token, requirement, presented.sender)


def _with_nonce(send: Send, scope: Scope) -> Send:
    """Bring the client the next nonce (RFC 9449 §8.2)."""

    def send_with_nonce(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start" and NONCE in scope:
            # Taken out: an edge around this one shall not say it again.
            header = (b"dpop-nonce", scope.pop(NONCE).encode("ascii"))
            message = {**message, "headers": [*message.get("headers", ()), header]}
        return send(message)

    return send_with_nonce


def origin_of(scope: Scope) -> str | None:
    """The browser origin a request says it comes from."""
    return _header(scope["headers"], b"origin")


def _header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return None


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers]


async def _answer(
    send: Send, status: int, headers: Iterable[tuple[str, str]], body: bytes = b"", *, head: bool = False
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": b"" if head else body})
