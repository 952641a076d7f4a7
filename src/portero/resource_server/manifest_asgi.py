"""The manifest as ASGI middleware: each request is decided by the route that matches it (design §3.4).

    app.add_middleware(ManifestMiddleware, service=from_manifest("portero.toml", service="orders"))

It wraps the whole application, so that no handler is reached by a request nobody decided about.
A handler finds the caller with `asgi.principal_of(request)`, and may ask for more with
`guard.requires(...)` and a framework's own adapter.
"""

from __future__ import annotations

from urllib.parse import unquote

from portero.core.errors import ConfigurationError
from portero.core.policy.path import AmbiguousPath, normal_path
from portero.core.policy.refusal import Case, Refusal
from portero.core.policy.rendering import close_reason
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import NOT_NAMED, Free
from portero.resource_server.asgi import App, GuardEdge, GuardMiddleware, Message, Receive, Scope, Send, origin_of
from portero.resource_server.manifest import NO_RAW_PATH, REWRITTEN, Decided, GuardedService


class ManifestMiddleware:
    """Decides every request and every WebSocket handshake of the application it wraps by the manifest.

    Args:
        app: the application.
        service: `from_manifest(...)`.
    """

    def __init__(self, app: App, *, service: GuardedService) -> None:
        self.app = app
        self._service = service
        self._compiled = _Compiled(app, service.decided)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection.

        Raises:
            ConfigurationError: the server keeps no raw path, so the manifest cannot decide here.
        """
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        decided = self._service.decided
        compiled = self._compiled
        if compiled.decided is not decided:
            compiled = self._compiled = _Compiled(self.app, decided)
        if not decided.guard.started:
            # Without lifespan the first request starts what runs beside.
            await self._service.start()
        await compiled.serve(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_and_start() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._service.start()
            return message

        async def send_and_stop(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await self._service.aclose()
            await send(message)

        await self.app(scope, receive_and_start, send_and_stop)


class _Compiled:
    """One state of the manifest, and the checked application for each thing its routes ask."""

    def __init__(self, app: App, decided: Decided) -> None:
        self.decided = decided
        self._edge = GuardEdge(app, guard=decided.guard)
        self._match = decided.matcher.match
        self._guarded = {
            id(access): GuardMiddleware(app, guard=decided.guard, requirement=access)
            for access in decided.requirements()
        }

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = scope["type"] == "websocket"
        # A WebSocket handshake is a GET (RFC 6455 §4.1).
        method = "GET" if websocket else scope["method"]
        outcome = self._access(method, scope)
        if isinstance(outcome, Requirement):
            # Answers preflights and the metadata document by itself.
            await self._guarded[id(outcome)](scope, receive, send)
            return
        if outcome is None:
            await self._edge(scope, receive, send)
            return
        if websocket:
            await self._refuse_handshake(outcome, scope, receive, send)
            return
        if not await self._edge.answers(scope, send):
            await self._edge.refuse(outcome, scope, send)

    def _access(self, method: str, scope: Scope) -> Requirement | Refusal | None:
        raw_path = scope.get("raw_path")
        if raw_path is None:
            raise ConfigurationError("raw_path", None, NO_RAW_PATH)
        try:
            path = normal_path(raw_path)
        except AmbiguousPath as error:
            return Refusal(Case.BAD_REQUEST, error.description, detail="ambiguous path")
        if path != scope["path"] and unquote(path) != scope["path"]:
            return REWRITTEN
        rule = self._match(method, path)
        if isinstance(rule, Refusal):
            return rule
        if isinstance(rule.access, Requirement):
            return rule.access
        return NOT_NAMED if rule.access is Free.DENIED else None

    async def _refuse_handshake(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        """The HTTP status where the server can send one; no token was looked for, so nobody chose another way."""
        await receive()  # websocket.connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            close = {"type": "websocket.close", "code": refusal.row.close_code, "reason": close_reason(refusal)}
            await send(close)
            return
        written = self.decided.guard.http_refusal(refusal, origin=origin_of(scope))
        headers = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in written.headers]
        await send({"type": "websocket.http.response.start", "status": written.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": written.body})
