"""Litestar, by the pure ASGI middleware: one requirement a handler."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from litestar import Litestar, Request, get, post, route
from litestar.middleware import DefineMiddleware

from portero.resource_server import Guard
from portero.resource_server.asgi import GuardEdge, GuardMiddleware, principal_of
from portero.testing.adapter_conformance import CookieConformance, Service, serve_asgi


class TestLitestar(CookieConformance):
    serve = staticmethod(serve_asgi)

    def build(self, guard: Guard, service: Service) -> Any:
        def guarded(**what: Any) -> list[DefineMiddleware]:
            return [DefineMiddleware(GuardMiddleware, guard=guard, requirement=guard.requires(**what))]

        @get("/orders", middleware=guarded(scopes=["orders:read"]))
        async def orders(request: Request[Any, Any, Any]) -> dict[str, Any]:
            return service.answer(principal_of(request))

        @post("/refund", middleware=guarded(scopes=["orders:write"], roles=["manager"]), status_code=200)
        async def refund(request: Request[Any, Any, Any]) -> dict[str, Any]:
            return service.answer(principal_of(request))

        @get("/fresh", middleware=guarded(max_auth_age=timedelta(minutes=10)))
        async def fresh(request: Request[Any, Any, Any]) -> dict[str, Any]:
            return service.answer(principal_of(request))

        @route(
            "/by-cookie",
            http_method=["GET", "POST"],
            status_code=200,
            middleware=guarded(scopes=["orders:read"], cookie=True),
        )
        async def by_cookie(request: Request[Any, Any, Any]) -> dict[str, Any]:
            return service.answer(principal_of(request))

        @get("/public")
        async def public() -> dict[str, Any]:
            return service.public()

        return GuardEdge(Litestar([orders, refund, fresh, by_cookie, public], openapi_config=None), guard=guard)
