"""Django REST framework, by authentication class and permission."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView, exception_handler

from portero.resource_server import CookieCredential, Guard
from portero.resource_server.django import principal_of
from portero.resource_server.drf import Caller, requires
from portero.testing.adapter_conformance import CookieConformance, Service, serve_asgi, serve_wsgi
from portero.testing.issuer import InMemoryIssuer
from portero.testing.stand_in import stand_in_for
from portero.testing.tokens import AUDIENCE
from tests.resource_server.django_service import django_service


def routes(guard: Guard, service: Service) -> list[Any]:
    def view(*permissions: Any) -> Any:
        class Answer(APIView):  # type: ignore[misc] # REST framework has no types
            permission_classes = permissions

            def get(self, request: Request) -> Response:
                if request.auth is None:
                    return Response(service.public())
                assert request.auth == principal_of(request) == request.user.principal
                return Response(service.answer(request.auth))

            post = get

        return Answer.as_view()

    return [
        path("orders", view(requires(guard, scopes=["orders:read"]))),
        path("refund", view(requires(guard, scopes=["orders:write"], roles=["manager"]))),
        path("fresh", view(requires(guard, max_auth_age=timedelta(minutes=10)))),
        path("by-cookie", view(requires(guard, scopes=["orders:read"], cookie=True))),
        path("public", view(AllowAny)),
        path("anybody", view(IsAuthenticated)),
    ]


class TestUnderWsgi(CookieConformance):
    serve = staticmethod(serve_wsgi)

    def build(self, guard: Guard, service: Service) -> Any:
        return django_service(guard, routes(guard, service), asynchronous=False)

    def test_rest_frameworks_own_permission_is_refused_by_the_table_too(self) -> None:
        """`IsAuthenticated` knows our caller; without one the answer is the Guard's."""
        assert self.send("GET", "/anybody", token=self.issuer.mint()).status == 200
        self.service.reached.clear()

        self.assert_refused(self.send("GET", "/anybody"), 401, None)

    def test_a_bad_token_is_refused_where_none_is_needed(self) -> None:
        """As REST framework has it: who says who they are must prove it."""
        self.assert_refused(self.send("GET", "/public", token="nonsense"), 401, "invalid_token")


class TestUnderAsgi(CookieConformance):
    serve = staticmethod(lambda app: serve_asgi(app, lifespan="off"))

    def build(self, guard: Guard, service: Service) -> Any:
        return django_service(guard, routes(guard, service), asynchronous=True)


def test_without_our_exception_handler_status_and_challenge_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten setting must not turn a refusal into a 500."""
    monkeypatch.setattr(api_settings, "EXCEPTION_HANDLER", exception_handler)
    issuer = InMemoryIssuer()
    cookie = CookieCredential(origins=["https://shop.test"])
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, cookie=cookie, clock=issuer.clock)
    django_service(guard, routes(guard, Service()), asynchronous=False)

    with stand_in_for(guard) as issuer:
        bad = Client().get("/orders", headers={"authorization": "Bearer nonsense"})
        poor = Client().get("/orders", headers={"authorization": f"Bearer {issuer.mint(scope='none')}"})

    assert (bad.status_code, poor.status_code) == (401, 403)
    assert 'error="invalid_token"' in bad.headers["WWW-Authenticate"]
    assert 'scope="orders:read"' in poor.headers["WWW-Authenticate"]


def test_the_caller_counts_for_throttles_by_subject() -> None:
    """REST framework's throttles ask for `user.pk`."""
    issuer = InMemoryIssuer()
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, clock=issuer.clock)
    issuer.trust_in(guard)
    principal = guard.admit(issuer.mint(sub="bob").encode(), guard.requires())

    assert Caller(principal).pk == "bob"  # type: ignore[arg-type] # it is admitted
