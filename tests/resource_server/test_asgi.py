"""Starlette, each route wrapped by the pure ASGI middleware."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from portero.resource_server import Guard
from portero.resource_server.asgi import GuardEdge, GuardMiddleware, principal_of
from portero.testing.adapter_conformance import CookieConformance, Service, serve_asgi


class TestStarlette(CookieConformance):
    serve = staticmethod(serve_asgi)

    def build(self, guard: Guard, service: Service) -> Any:
        async def answer(request: Request) -> JSONResponse:
            return JSONResponse(service.answer(principal_of(request)))

        async def public(_: Request) -> JSONResponse:
            return JSONResponse(service.public())

        def guarded(path: str, *, methods: list[str], **what: Any) -> Route:
            middleware = Middleware(GuardMiddleware, guard=guard, requirement=guard.requires(**what))
            return Route(path, answer, methods=methods, middleware=[middleware])

        return Starlette(
            routes=[
                guarded("/orders", methods=["GET"], scopes=["orders:read"]),
                guarded("/refund", methods=["POST"], scopes=["orders:write"], roles=["manager"]),
                guarded("/fresh", methods=["GET"], max_auth_age=timedelta(minutes=10)),
                guarded("/by-cookie", methods=["GET", "POST"], scopes=["orders:read"], cookie=True),
                Route("/public", public),
            ],
            middleware=[Middleware(GuardEdge, guard=guard)],
        )
