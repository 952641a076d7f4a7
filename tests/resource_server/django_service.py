"""The conformance suite's service in Django: settings once a process, routes and Guard for each test class."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from portero.resource_server import Guard, Requirement

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="for tests only",
        DATABASES={},
        INSTALLED_APPS=["rest_framework"],
        LOGGING_CONFIG=None,
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": ["portero.resource_server.drf.GuardAuthentication"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "EXCEPTION_HANDLER": "portero.resource_server.drf.exception_handler",
            "UNAUTHENTICATED_USER": None,
        },
    )
    django.setup()

EDGE = "portero.resource_server.django.GuardEdge"
MIDDLEWARE = "portero.resource_server.django.GuardMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"


def django_service(
    guard: Guard,
    urlpatterns: Sequence[Any],
    *,
    asynchronous: bool,
    middleware: Sequence[str] = (EDGE, CSRF),
    requirement: Requirement | None = None,
) -> Any:
    """An application with these routes; Django has one set of settings, so one service at a time."""
    routes = types.ModuleType("routes")
    routes.urlpatterns = list(urlpatterns)  # type: ignore[attr-defined] # a module made here
    settings.ROOT_URLCONF = routes
    settings.PORTERO_GUARD = guard
    settings.PORTERO_REQUIREMENT = requirement
    settings.MIDDLEWARE = list(middleware)
    return get_asgi_application() if asynchronous else get_wsgi_application()
