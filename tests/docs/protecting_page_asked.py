"""What `test_protecting_page` asks of the page's examples, in a process where they are the only modules."""

from __future__ import annotations

import asyncio
import importlib
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import grpc
import pytest
import settings  # type: ignore[import-not-found] # a file of the page
from django.conf import settings as django_settings
from django.test import Client as DjangoClient
from django.urls import path
from guarding import guard  # type: ignore[import-not-found] # a file of the page
from starlette.testclient import TestClient
from werkzeug.test import Client as WsgiClient

from portero.testing.stand_in import StandIn, stand_in_for

urlpatterns: list[Any] = []
django_settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["testserver"],
    INSTALLED_APPS=["rest_framework"],
    **{name: value for name, value in vars(settings).items() if name.isupper()},
)
django.setup()


@pytest.fixture
def issuer() -> Iterator[StandIn]:
    with stand_in_for(guard) as issuer:
        yield issuer


def assert_guarded(status: Callable[[dict[str, str]], Any], issuer: StandIn, expected: tuple[Any, Any, Any]) -> None:
    """`status` asks for the orders with these headers."""
    assert status({}) == expected[0]
    assert status(issuer.bearer(scope="other")) == expected[1]
    assert status(issuer.bearer(scope="orders:read")) == expected[2]


HTTP = (401, 403, 200)
GRPC = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.OK)


@pytest.mark.parametrize("name", ["fastapi", "starlette", "litestar", "quart"])
def test_asgi(name: str, issuer: StandIn) -> None:
    with TestClient(importlib.import_module(f"{name}_service").app) as client:
        assert_guarded(lambda headers: client.get("/orders", headers=headers).status_code, issuer, HTTP)


@pytest.mark.parametrize("name", ["flask", "wsgi"])
def test_wsgi(name: str, issuer: StandIn) -> None:
    client = WsgiClient(importlib.import_module(f"{name}_service").app)
    assert_guarded(lambda headers: client.get("/orders", headers=headers).status_code, issuer, HTTP)


@pytest.mark.parametrize("name", ["django", "drf"])
def test_django(name: str, issuer: StandIn) -> None:
    views = importlib.import_module(f"{name}_views")
    urlpatterns.append(path(name, views.orders if name == "django" else views.Orders.as_view()))
    client = DjangoClient()
    assert_guarded(lambda headers: client.get(f"/{name}", headers=headers).status_code, issuer, HTTP)


def metadata(headers: dict[str, str]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers.items()]


def test_grpc(issuer: StandIn) -> None:
    server = importlib.import_module("grpc_service").server
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/shop.Orders/List")

        def status(headers: dict[str, str]) -> Any:
            try:
                return call.with_call(b"", metadata=metadata(headers), timeout=60)[1].code()
            except grpc.RpcError as error:
                return error.code()

        assert_guarded(status, issuer, GRPC)
    server.stop(None).wait(60)


def test_grpc_aio(issuer: StandIn) -> None:
    async def asked() -> None:
        server = importlib.import_module("grpc_aio_service").new_server()
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            found = []
            for headers in ({}, issuer.bearer(scope="other"), issuer.bearer(scope="orders:read")):
                call = channel.unary_unary("/shop.Orders/List")(b"", metadata=metadata(headers), timeout=60)
                found.append(await call.code())
        await server.stop(None)
        assert tuple(found) == GRPC

    asyncio.run(asked())


def test_what_has_no_name_runs_too() -> None:
    for file in Path().glob("unnamed_*.py"):
        runpy.run_path(str(file))
