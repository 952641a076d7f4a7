"""FastAPI, by dependency."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import FastAPI

from portero.resource_server import Guard, Principal
from portero.resource_server.fastapi import protect, requires
from portero.testing.adapter_conformance import AdapterConformance, Service, serve_asgi
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE


def build(guard: Guard, service: Service) -> FastAPI:
    """The four routes of the conformance suite."""
    app = FastAPI()
    reader = requires(guard, scopes=["orders:read"])
    manager = requires(guard, scopes=["orders:write"], roles=["manager"])
    recent = requires(guard, max_auth_age=timedelta(minutes=10))

    def answer(principal: Principal) -> dict[str, Any]:
        return service.answer(principal)

    def handler(dependency: Any) -> Any:
        async def handle(principal: Principal = dependency) -> dict[str, Any]:
            return answer(principal)

        return handle

    app.get("/orders")(handler(reader))
    app.post("/refund")(handler(manager))
    app.get("/fresh")(handler(recent))
    app.get("/public")(service.public)
    return app


class TestFastApi(AdapterConformance):
    serve = staticmethod(serve_asgi)

    def build(self, guard: Guard, service: Service) -> Any:
        app = build(guard, service)
        protect(app, guard)
        return app


def guard_of(issuer: InMemoryIssuer) -> Guard:
    """A Guard that needs no network."""
    return Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, cors_origins=["https://shop.test"])


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
    import asyncio

    import httpx2

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
