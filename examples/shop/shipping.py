"""The shipping service: Django with an async view, served by uvicorn."""

from __future__ import annotations

from typing import Any

import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from examples.shop.guarding import guard_for
from examples.shop.seen import Seen, asgi
from examples.shop.settings import Settings
from portero.resource_server.django import principal_of, requires

PARCELS = [{"order": 1001, "carrier": "Correo", "arrives": "tomorrow"}]


def application(shop: Settings) -> Any:
    guard = guard_for(shop, "shipping")

    @requires(guard, scopes=["shipping:read"])
    async def shipping(request: HttpRequest) -> JsonResponse:
        return JsonResponse({"caller": principal_of(request).subject, "parcels": PARCELS})

    async def ready(request: HttpRequest) -> JsonResponse:
        return JsonResponse({"ready": True})

    settings.configure(
        ALLOWED_HOSTS=["localhost", "127.0.0.1"],
        MIDDLEWARE=["portero.resource_server.django.GuardEdge"],
        PORTERO_GUARD=guard,
        ROOT_URLCONF=(path("shipping", shipping), path("readyz", ready)),
    )
    return get_asgi_application()


if __name__ == "__main__":
    here = Settings.load()
    app = asgi(application(here), Seen(here.seen_file("shipping")))
    uvicorn.run(app, host="127.0.0.1", port=here.shipping_port, log_level="warning", access_log=False, lifespan="off")
