"""Quart, whose routes have no middleware of their own: the ASGI middleware in front of each path."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from quart import Quart, request

from portero.resource_server import Guard
from portero.resource_server.asgi import GuardEdge, GuardMiddleware, principal_of
from portero.testing.adapter_conformance import CookieConformance, Service, serve_asgi


class TestQuart(CookieConformance):
    serve = staticmethod(serve_asgi)

    def build(self, guard: Guard, service: Service) -> Any:
        quart = Quart(__name__)

        async def answer() -> dict[str, Any]:
            return service.answer(principal_of(request))

        async def public() -> dict[str, Any]:
            return service.public()

        quart.add_url_rule("/orders", "orders", answer)
        quart.add_url_rule("/refund", "refund", answer, methods=["POST"])
        quart.add_url_rule("/fresh", "fresh", answer)
        quart.add_url_rule("/by-cookie", "by_cookie", answer, methods=["GET", "POST"])
        quart.add_url_rule("/public", "public", public)

        def guarded(**what: Any) -> GuardMiddleware:
            return GuardMiddleware(quart, guard=guard, requirement=guard.requires(**what))

        apps = {
            "/orders": guarded(scopes=["orders:read"]),
            "/refund": guarded(scopes=["orders:write"], roles=["manager"]),
            "/fresh": guarded(max_auth_age=timedelta(minutes=10)),
            "/by-cookie": guarded(scopes=["orders:read"], cookie=True),
        }

        async def dispatch(scope: Any, receive: Any, send: Any) -> None:
            await apps.get(scope.get("path", ""), quart)(scope, receive, send)

        return GuardEdge(dispatch, guard=guard)
