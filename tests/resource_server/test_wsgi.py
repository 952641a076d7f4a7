"""A plain WSGI application, each route wrapped by the middleware."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from portero.resource_server import Guard
from portero.resource_server.wsgi import GuardEdge, GuardMiddleware, principal_of
from portero.testing.adapter_conformance import CookieConformance, Service, serve_wsgi

StartResponse = Callable[..., Any]


class TestWsgi(CookieConformance):
    serve = staticmethod(serve_wsgi)

    def build(self, guard: Guard, service: Service) -> Any:
        def reply(start_response: StartResponse, document: Any) -> Iterable[bytes]:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(document).encode()]

        def answer(environ: Any, start_response: StartResponse) -> Iterable[bytes]:
            return reply(start_response, service.answer(principal_of(environ)))

        def public(_: Any, start_response: StartResponse) -> Iterable[bytes]:
            return reply(start_response, service.public())

        def missing(_: Any, start_response: StartResponse) -> Iterable[bytes]:
            start_response("404 Not Found", [])
            return []

        def guarded(**what: Any) -> Any:
            return GuardMiddleware(answer, guard=guard, requirement=guard.requires(**what))

        routes = {
            "/orders": guarded(scopes=["orders:read"]),
            "/refund": guarded(scopes=["orders:write"], roles=["manager"]),
            "/fresh": guarded(max_auth_age=timedelta(minutes=10)),
            "/by-cookie": guarded(scopes=["orders:read"], cookie=True),
            "/public": public,
        }

        def dispatch(environ: Any, start_response: StartResponse) -> Iterable[bytes]:
            return routes.get(environ["PATH_INFO"], missing)(environ, start_response)

        return GuardEdge(dispatch, guard=guard)
