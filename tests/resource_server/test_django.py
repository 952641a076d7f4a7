"""Django: by decorator and by middleware, sync and async views, WSGI and ASGI."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from portero.resource_server import Guard
from portero.resource_server.django import principal_of, requires
from portero.testing.adapter_conformance import CookieConformance, Service, serve_asgi, serve_wsgi
from portero.testing.stand_in import stand_in_for
from portero.testing.tokens import AUDIENCE
from tests.resource_server.django_service import MIDDLEWARE, django_service

RECENT = timedelta(minutes=10)


def sync_routes(guard: Guard, service: Service) -> list[Any]:
    def answer(request: HttpRequest) -> JsonResponse:
        return JsonResponse(service.answer(principal_of(request)))

    return [
        path("orders", requires(guard, scopes=["orders:read"])(answer)),
        path("refund", requires(guard, scopes=["orders:write"], roles=["manager"])(answer)),
        path("fresh", requires(guard, max_auth_age=RECENT)(answer)),
        path("by-cookie", requires(guard, scopes=["orders:read"], cookie=True)(answer)),
        path("public", lambda _: JsonResponse(service.public())),
    ]


def async_routes(guard: Guard, service: Service) -> list[Any]:
    async def answer(request: HttpRequest) -> JsonResponse:
        return JsonResponse(service.answer(principal_of(request)))

    async def public(_: HttpRequest) -> JsonResponse:
        return JsonResponse(service.public())

    return [
        path("orders", requires(guard, scopes=["orders:read"])(answer)),
        path("refund", requires(guard, scopes=["orders:write"], roles=["manager"])(answer)),
        path("fresh", requires(guard, max_auth_age=RECENT)(answer)),
        path("by-cookie", requires(guard, scopes=["orders:read"], cookie=True)(answer)),
        path("public", public),
    ]


class TestSyncViewsUnderWsgi(CookieConformance):
    serve = staticmethod(serve_wsgi)

    def build(self, guard: Guard, service: Service) -> Any:
        return django_service(guard, sync_routes(guard, service), asynchronous=False)


class TestAsyncViewsUnderAsgi(CookieConformance):
    serve = staticmethod(partial(serve_asgi, lifespan="off"))

    def build(self, guard: Guard, service: Service) -> Any:
        return django_service(guard, async_routes(guard, service), asynchronous=True)


class TestSyncViewsUnderAsgi(CookieConformance):
    serve = staticmethod(partial(serve_asgi, lifespan="off"))

    def build(self, guard: Guard, service: Service) -> Any:
        return django_service(guard, sync_routes(guard, service), asynchronous=True)


class TestAsyncViewsUnderWsgi(CookieConformance):
    serve = staticmethod(serve_wsgi)

    def build(self, guard: Guard, service: Service) -> Any:
        return django_service(guard, async_routes(guard, service), asynchronous=False)


class TestClassBasedViews(CookieConformance):
    serve = staticmethod(serve_wsgi)

    def build(self, guard: Guard, service: Service) -> Any:
        class Answer(View):
            def get(self, request: HttpRequest) -> JsonResponse:
                return JsonResponse(service.answer(principal_of(request)))

            post = get

        def guarded(**what: Any) -> Any:
            return method_decorator(requires(guard, **what), name="dispatch")(type("Guarded", (Answer,), {})).as_view()

        routes = [
            path("orders", guarded(scopes=["orders:read"])),
            path("refund", guarded(scopes=["orders:write"], roles=["manager"])),
            path("fresh", guarded(max_auth_age=RECENT)),
            path("by-cookie", guarded(scopes=["orders:read"], cookie=True)),
            path("public", lambda _: JsonResponse(service.public())),
        ]
        return django_service(guard, routes, asynchronous=False)


def in_memory() -> Guard:
    return Guard(
        issuers=["https://issuer.test"], audience=AUDIENCE, revocation=None, cors_origins=["https://shop.test"]
    )


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_middleware_checks_every_request_of_the_service(asynchronous: bool) -> None:
    """Views that were never decorated, and paths that lead nowhere; what needs no token is still answered."""
    guard = in_memory()
    service = Service()
    routes = [path("plain", lambda request: JsonResponse(service.answer(principal_of(request))))]
    requirement = guard.requires(scopes=["orders:read"])
    django_service(guard, routes, asynchronous=asynchronous, middleware=[MIDDLEWARE], requirement=requirement)

    with stand_in_for(guard) as issuer:
        good = ask("/plain", issuer.bearer(sub="bob"), asynchronous=asynchronous)
        poor = ask("/plain", issuer.bearer(scope="none"), asynchronous=asynchronous)
        bare = ask("/plain", {"Origin": "https://shop.test"}, asynchronous=asynchronous)
        lost = ask("/nowhere", {}, asynchronous=asynchronous)
        told = ask("/.well-known/oauth-protected-resource/api", {}, asynchronous=asynchronous)

    assert (good.status_code, good.json()["sub"]) == (200, "bob")
    assert [poor.status_code, bare.status_code, lost.status_code, told.status_code] == [403, 401, 401, 200]
    assert bare.headers["Access-Control-Allow-Origin"] == "https://shop.test"
    assert len(service.reached) == 1


def ask(where: str, headers: dict[str, str], *, asynchronous: bool) -> Any:
    if asynchronous:
        return asyncio.run(AsyncClient().get(where, headers=headers))
    return Client().get(where, headers=headers)


def test_a_principal_is_not_invented() -> None:
    """Where nobody checked, asking who calls is a bug and not a caller without rights."""
    with pytest.raises(LookupError, match="is the route guarded"):
        principal_of(RequestFactory().get("/"))


@pytest.mark.parametrize(
    ("wrong", "missing"), [({"guard": None}, "PORTERO_GUARD"), ({"requirement": None}, "PORTERO_REQUIREMENT")]
)
def test_a_middleware_without_its_settings_does_not_start(wrong: dict[str, Any], missing: str) -> None:
    """Absent configuration never means unchecked."""
    guard = in_memory()
    arguments = {"guard": guard, "requirement": guard.requires(), **wrong}

    with pytest.raises(ImproperlyConfigured, match=missing):
        django_service(urlpatterns=[], asynchronous=False, middleware=[MIDDLEWARE], **arguments)
