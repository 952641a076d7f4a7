"""FastAPI, by dependency."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from portero.resource_server import CookieCredential, Guard, Principal
from portero.resource_server.fastapi import protect, requires
from portero.testing.adapter_conformance import CookieConformance, Service, serve_asgi
from portero.testing.issuer import InMemoryIssuer
from portero.testing.jwks_server import JwksServer
from portero.testing.tokens import AUDIENCE


def build(guard: Guard, service: Service) -> FastAPI:
    """The four routes of the conformance suite."""
    app = FastAPI()
    reader = requires(guard, scopes=["orders:read"])
    manager = requires(guard, scopes=["orders:write"], roles=["manager"])
    recent = requires(guard, max_auth_age=timedelta(minutes=10))
    by_cookie = requires(guard, scopes=["orders:read"], cookie=True)

    def answer(principal: Principal) -> dict[str, Any]:
        return service.answer(principal)

    def handler(dependency: Any) -> Any:
        async def handle(principal: Principal = dependency) -> dict[str, Any]:
            return answer(principal)

        return handle

    app.get("/orders")(handler(reader))
    app.post("/refund")(handler(manager))
    app.get("/fresh")(handler(recent))
    app.get("/by-cookie")(handler(by_cookie))
    app.post("/by-cookie")(handler(by_cookie))
    app.get("/public")(service.public)
    return app


class TestFastApi(CookieConformance):
    serve = staticmethod(serve_asgi)

    def build(self, guard: Guard, service: Service) -> Any:
        app = build(guard, service)
        protect(app, guard)
        return app


def guard_of(issuer: InMemoryIssuer) -> Guard:
    """A Guard that needs no network."""
    return Guard(
        issuers=[issuer.url],
        audience=AUDIENCE,
        revocation=None,
        cookie=CookieCredential(origins=["https://shop.test"]),
        cors_origins=["https://shop.test"],
    )


def test_the_openapi_document_describes_the_bearer_scheme_and_the_scopes() -> None:
    """Swagger UI can then send a token."""
    app = build(guard_of(InMemoryIssuer()), Service())

    document = app.openapi()

    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["paths"]["/orders"]["get"]["security"] == [{"bearer": ["orders:read"]}]
    assert "security" not in document["paths"]["/public"]["get"]


def test_without_protect_a_refusal_keeps_status_challenge_and_cors_headers() -> None:
    """A forgotten call must not turn a refusal into a 500 or hide it from a browser."""
    app = build(guard_of(InMemoryIssuer()), Service())
    asked = get(app, "/orders", headers={"Origin": "https://shop.test"})

    assert asked.status_code == 401
    assert asked.headers["www-authenticate"].startswith("Bearer resource_metadata=")
    assert asked.headers["access-control-allow-origin"] == "https://shop.test"


def get(app: FastAPI, path: str, *, headers: dict[str, str]) -> Any:
    """One request without a socket and without lifespan."""

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service.test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def test_annotated_dependencies_work_too() -> None:
    """The style FastAPI's own documentation recommends."""
    guard = guard_of(InMemoryIssuer())
    app = FastAPI()
    Caller = Annotated[Principal, requires(guard, scopes=["orders:read"])]

    async def orders(caller: Caller) -> dict[str, str]:  # type: ignore[valid-type] # made inside the test
        return {"sub": caller.subject}  # type: ignore[attr-defined] # as above

    orders.__annotations__["caller"] = Caller
    app.get("/orders")(orders)

    assert get(app, "/orders", headers={}).status_code == 401


# ── connections that outlive the request ─────────────────────────────────────────────


def streaming_service(guard: Guard, *, protected: bool = True) -> FastAPI:
    """A WebSocket and an event stream, each by dependency."""
    app = FastAPI()
    if protected:
        protect(app, guard)

    page, anybody = requires(guard, first_message=True), requires(guard)

    async def live(websocket: WebSocket, caller: Principal = page) -> None:
        await websocket.accept()
        await websocket.send_text(caller.subject)
        with suppress(WebSocketDisconnect):
            await websocket.receive_text()

    async def events(caller: Principal = anybody) -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            yield f"data: {caller.subject}\n\n"
            await asyncio.Event().wait()

        return StreamingResponse(numbers(), media_type="text/event-stream")

    app.websocket("/live")(live)
    app.get("/events")(events)
    return app


@pytest.mark.attack(row=96)
@pytest.mark.parametrize("by", ["header", "subprotocol", "first message"])
def test_a_websocket_closes_when_its_session_is_revoked(by: str) -> None:
    """By dependency as behind the middleware, however its token came, over a real socket."""
    with JwksServer() as server:
        guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=server.feed())
        token = server.issuer.mint(sid="s1", sub="bob")
        with serve_asgi(streaming_service(guard)) as url, ExitStack() as stack:
            given: dict[str, Any] = {}
            if by == "header":
                given["additional_headers"] = {"Authorization": f"Bearer {token}"}
            if by == "subprotocol":
                given["subprotocols"] = ["portero.bearer", f"portero.bearer.{token}"]
            client = stack.enter_context(connect(url.replace("http", "ws") + "/live", **given))
            if by == "first message":
                client.send(f"Bearer {token}")
            assert client.recv(timeout=60) == "bob"

            server.issuer.revoke(sid="s1")

            with pytest.raises(ConnectionClosed):
                client.recv(timeout=60)
            assert client.protocol.close_code == 4401


@pytest.mark.parametrize(("given", "code"), [("nonsense", 4401), (None, 4401)])
def test_a_page_is_told_by_a_close_code_that_its_token_is_refused(given: str | None, code: int) -> None:
    """By subprotocol or first message: it cannot see the handshake's status."""
    with JwksServer() as server:
        guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=server.feed())
        with serve_asgi(streaming_service(guard)) as url:
            offered: Any = ["portero.bearer", f"portero.bearer.{given}"] if given else None
            with connect(url.replace("http", "ws") + "/live", subprotocols=offered) as client:
                if given is None:
                    client.send("hello")
                with pytest.raises(ConnectionClosed):
                    client.recv(timeout=60)
                assert client.protocol.close_code == code


@pytest.mark.attack(row=96)
def test_an_event_stream_ends_when_its_session_is_revoked() -> None:
    """By dependency, too: `protect` sees that the answer is a stream."""
    with JwksServer() as server:
        guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=server.feed())
        token = server.issuer.mint(sid="s1", sub="bob")
        with (
            serve_asgi(streaming_service(guard)) as url,
            httpx2.stream(
                "GET", f"{url}/events", headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
            ) as answer,
        ):
            lines = answer.iter_lines()
            assert next(lines) == "data: bob"

            server.issuer.revoke(sid="s1")

            assert [line for line in lines if line] == []


def test_a_websocket_without_protect_is_not_served() -> None:
    """Nothing would close it; the failure names what is missing."""
    guard = guard_of(InMemoryIssuer())
    scope = {"type": "websocket", "path": "/live", "query_string": b"", "headers": [], "subprotocols": []}

    async def connect_once() -> None:
        async def receive() -> dict[str, str]:
            return {"type": "websocket.connect"}

        async def send(_: Any) -> None:
            return

        await streaming_service(guard, protected=False)(scope, receive, send)

    with pytest.raises(RuntimeError, match="protect"):
        asyncio.run(connect_once())
