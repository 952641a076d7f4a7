"""The orders service: FastAPI."""

from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI

from examples.shop.guarding import guard_for
from examples.shop.seen import Seen, asgi
from examples.shop.settings import Settings
from portero.resource_server.fastapi import Principal, protect, requires

ORDERS_OF_ALL = [
    {"id": 1001, "what": "yerba mate, 1 kg", "price": "6.90"},
    {"id": 1002, "what": "bombilla, alpaca", "price": "14.50"},
]


def application(shop: Settings) -> FastAPI:
    guard = guard_for(shop, "orders")
    app = FastAPI(title="Orders")
    protect(app, guard)

    @app.get("/orders")
    async def orders(caller: Annotated[Principal, requires(guard, scopes=["orders:read"])]) -> dict[str, Any]:
        return {"caller": caller.subject, "orders": ORDERS_OF_ALL}

    @app.post("/orders/{number}/refund")
    async def refund(
        number: int, caller: Annotated[Principal, requires(guard, scopes=["orders:write"], roles=["manager"])]
    ) -> dict[str, Any]:
        return {"caller": caller.subject, "refunded": number}

    @app.get("/readyz")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    return app


if __name__ == "__main__":
    here = Settings.load()
    app = asgi(application(here), Seen(here.seen_file("orders")))
    uvicorn.run(app, host="127.0.0.1", port=here.orders_port, log_level="warning", access_log=False)
