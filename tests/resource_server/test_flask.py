"""Flask, by decorator."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask

from portero.resource_server import Guard
from portero.resource_server.flask import current_principal, protect, requires
from portero.resource_server.wsgi import principal_of
from portero.testing.adapter_conformance import CookieConformance, Service, serve_wsgi


class TestFlask(CookieConformance):
    serve = staticmethod(serve_wsgi)

    def build(self, guard: Guard, service: Service) -> Any:
        app = Flask(__name__)
        protect(app, guard)

        def answer() -> dict[str, Any]:
            from flask import request

            assert current_principal.jti == principal_of(request.environ).jti
            return service.answer(principal_of(request.environ))

        app.get("/orders", endpoint="orders")(requires(guard, scopes=["orders:read"])(answer))
        app.post("/refund", endpoint="refund")(requires(guard, scopes=["orders:write"], roles=["manager"])(answer))
        app.get("/fresh", endpoint="fresh")(requires(guard, max_auth_age=timedelta(minutes=10))(answer))
        app.route("/by-cookie", methods=["GET", "POST"])(requires(guard, scopes=["orders:read"], cookie=True)(answer))
        app.get("/public")(service.public)
        return app
