"""The inventory service: Flask, served by waitress."""

from __future__ import annotations

from typing import Any

import waitress
from flask import Flask

from examples.shop.guarding import guard_for
from examples.shop.seen import Seen, wsgi
from examples.shop.settings import Settings
from portero.resource_server.flask import current_principal, protect, requires

STOCK = {"yerba mate, 1 kg": 40, "bombilla, alpaca": 7}


def application(shop: Settings) -> Flask:
    guard = guard_for(shop, "inventory")
    app = Flask(__name__)
    protect(app, guard)

    @app.get("/inventory")
    @requires(guard, scopes=["inventory:read"])
    def inventory() -> dict[str, Any]:
        return {"caller": current_principal.subject, "stock": STOCK}

    @app.get("/readyz")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    return app


if __name__ == "__main__":
    here = Settings.load()
    app = wsgi(application(here), Seen(here.seen_file("inventory")))
    waitress.serve(app, host="127.0.0.1", port=here.inventory_port, threads=8, _quiet=True)
