"""The Guard in Django: two middlewares and a decorator, for sync and async views, under WSGI and ASGI.

    # settings.py
    PORTERO_GUARD = "shop.guarding.guard"
    MIDDLEWARE = ["portero.resource_server.django.GuardEdge", ...]

    # views.py
    @requires(guard, scopes=["orders:read"])
    def orders(request): return JsonResponse({"caller": principal_of(request).subject})

`GuardEdge` answers preflights and the RFC 9728 document and puts CORS headers on every answer;
views decide for themselves with `requires`. `GuardMiddleware` is an edge that checks every
request, and `PORTERO_REQUIREMENT` says what all of them require. Both belong at the top of the
list: a preflight must not meet a login check of the application's own.

Under WSGI keys and feed are followed by threads, under ASGI on the server's event loop, whatever
kind of view is called: the server decides, so that one process never follows a feed twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar, Unpack

from asgiref.sync import async_to_sync, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.module_loading import import_string

from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal
from portero.core.policy.requirement import Requirement
from portero.resource_server import wsgi
from portero.resource_server.event_stream import EventsUntilOver, events_until_over, is_event_stream
from portero.resource_server.guard import Guard
from portero.resource_server.received import ReceivedToken
from portero.resource_server.required import Required
from portero.resource_server.sender import Presented
from portero.resource_server.trust import KeysWanted

P = ParamSpec("P")
R = TypeVar("R")
Response = Any
"""What a view or the next middleware returns: an `HttpResponse`, or an awaitable of one where it is async."""


def principal_of(request: HttpRequest) -> Principal:
    """Return the caller of a request that was admitted; of Django REST framework's requests, too.

    Raises:
        LookupError: no Guard admitted this request. A programming error, never the caller's.
    """
    return wsgi.principal_of(request.META)


def received_token(request: HttpRequest) -> ReceivedToken:
    """Return the token of a request that was admitted, to call the next service in its caller's name.

    Raises:
        LookupError: no Guard admitted this request.
    """
    return wsgi.received_token(request.META)


def requires(guard: Guard, **what: Unpack[Required]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Guard a view, sync or async; a class by `method_decorator(requires(…), name="dispatch")`.

    Args:
        guard: the service's Guard.
        what: as `Guard.requires`.
    """
    requirement = guard.requires(**what)

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            outcome = admit(guard, request, requirement)
            if isinstance(outcome, Refusal):
                return refused(guard, outcome, request)
            return view(request, *args, **kwargs)

        @wraps(view)
        async def guarded_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            outcome = await admit_async(guard, request, requirement)
            if isinstance(outcome, Refusal):
                return refused(guard, outcome, request)
            return await view(request, *args, **kwargs)  # type: ignore[misc] # `iscoroutinefunction` says so below

        chosen: Any = guarded_async if iscoroutinefunction(view) else guarded
        # Who calls is said by the token, which no other site's form can send.
        chosen.csrf_exempt = True
        return chosen  # type: ignore[no-any-return] # of the view's own type

    return decorate


def admit(guard: Guard, request: HttpRequest, requirement: Requirement) -> Principal | Refusal:
    """Check a request's token from a sync view, and leave the principal in `request.META`."""
    if not isinstance(request, ASGIRequest):
        return wsgi.admit_environ(guard, request.META, requirement)
    # Under ASGI Django runs a sync view in a thread; what needs the network comes back to the server's loop.
    presented = _presented(guard, request, requirement)
    if isinstance(presented, Refusal):
        return presented
    asked = presented.token, requirement, presented.sender
    try:
        outcome = guard.admit(*asked) if guard.started else async_to_sync(guard.check)(*asked)
    except KeysWanted:
        outcome = async_to_sync(guard.check)(*asked)
    return _kept(request, outcome)


async def admit_async(guard: Guard, request: HttpRequest, requirement: Requirement) -> Principal | Refusal:
    """Check a request's token from an async view, and leave the principal in `request.META`."""
    if not isinstance(request, ASGIRequest):
        # Under WSGI an async view has an event loop of its own for one request: nothing may live on it.
        return wsgi.admit_environ(guard, request.META, requirement)
    presented = _presented(guard, request, requirement)
    if isinstance(presented, Refusal):
        return presented
    return _kept(request, await guard.check(presented.token, requirement, presented.sender))


def refused(guard: Guard, refusal: Refusal, request: HttpRequest) -> HttpResponse:
    """Write a refusal."""
    written = guard.http_refusal(refusal, origin=request.META.get("HTTP_ORIGIN"))
    response = HttpResponse(written.body, status=written.status)
    for name, value in written.headers:
        # RFC 9110 §5.3: several challenges may stand in one field.
        several = name == "www-authenticate" and name in response.headers
        response.headers[name] = f"{response.headers[name]}, {value}" if several else value
    return response


def configured_guard() -> Guard:
    """The Guard that `PORTERO_GUARD` names.

    Raises:
        ImproperlyConfigured: it names none.
    """
    guard = _setting("PORTERO_GUARD")
    if not isinstance(guard, Guard):
        raise ImproperlyConfigured("PORTERO_GUARD must be a Guard, or the dotted path of one")
    return guard


class GuardEdge:
    """Middleware: preflights, metadata document and CORS headers; checks no token."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        self._get_response = get_response
        self._guard = configured_guard()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        """Serve one request; returns an awaitable where the next in the chain does."""
        answered = wsgi.answer_without_token(self._guard, request.META)
        if self._is_async:
            return self._serve_async(request, answered)
        return self._with_headers(request, self._serve(request) if answered is None else _response(answered))

    async def _serve_async(self, request: HttpRequest, answered: Any) -> HttpResponse:
        response = await self._serve_next(request) if answered is None else _response(answered)
        return self._with_headers(request, response)

    def _serve(self, request: HttpRequest) -> Any:
        return self._get_response(request)

    def _serve_next(self, request: HttpRequest) -> Awaitable[HttpResponse]:
        awaitable: Awaitable[HttpResponse] = self._get_response(request)
        return awaitable

    def _with_headers(self, request: HttpRequest, response: Any) -> Any:
        principal = request.META.get(wsgi.PRINCIPAL)
        if (
            getattr(response, "streaming", False)
            and is_event_stream(response.get("Content-Type"))
            and isinstance(principal, Principal)
        ):
            # Events end with the token that asked for them.
            events = response.streaming_content
            until_over = events_until_over if response.is_async else EventsUntilOver
            response.streaming_content = until_over(self._guard, principal, events)
        has_cors = response.has_header("Access-Control-Allow-Origin")
        for name, value in wsgi.headers_to_add(self._guard, request.META, has_cors=has_cors):
            if name == "vary":
                patch_vary_headers(response, [value])
            elif not response.has_header(name):
                response.headers[name] = value
        return response


class GuardMiddleware(GuardEdge):
    """Middleware: an edge that checks every request. `PORTERO_REQUIREMENT`: what all require (`guard.requires(…)`)."""

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        super().__init__(get_response)
        requirement = _setting("PORTERO_REQUIREMENT")
        if not isinstance(requirement, Requirement):
            raise ImproperlyConfigured(
                "PORTERO_REQUIREMENT must be what guard.requires(…) returns, or the dotted path of it"
            )
        self._requirement = requirement

    def _serve(self, request: HttpRequest) -> Any:
        outcome = admit(self._guard, request, self._requirement)
        if isinstance(outcome, Refusal):
            return refused(self._guard, outcome, request)
        return super()._serve(request)

    async def _serve_next(self, request: HttpRequest) -> HttpResponse:
        outcome = await admit_async(self._guard, request, self._requirement)
        if isinstance(outcome, Refusal):
            return refused(self._guard, outcome, request)
        return await super()._serve_next(request)


def _presented(guard: Guard, request: ASGIRequest, requirement: Requirement) -> Presented | Refusal:
    # Django's own view of a scope has META as under WSGI, and keeps neither the undecoded path nor TLS there.
    asgi_scope = request.scope
    raw_path = asgi_scope.get("raw_path")
    if raw_path:
        request.META.setdefault("RAW_URI", raw_path.decode("latin-1"))
    chain = ((asgi_scope.get("extensions") or {}).get("tls") or {}).get("client_cert_chain")
    if chain:
        request.META.setdefault("SSL_CLIENT_CERT", next(iter(chain)))
    return wsgi.presented_in(guard, request.META, requirement)


def _kept(request: HttpRequest, outcome: Principal | Refusal) -> Principal | Refusal:
    if isinstance(outcome, Principal):
        request.META[wsgi.PRINCIPAL] = outcome
    return outcome


def _setting(name: str) -> object:
    value: object = getattr(settings, name, None)
    return import_string(value) if isinstance(value, str) else value


def _response(answered: tuple[int, list[tuple[str, str]], bytes]) -> HttpResponse:
    status, headers, body = answered
    response = HttpResponse(body, status=status)
    for name, value in headers:
        response.headers[name] = value
    return response
