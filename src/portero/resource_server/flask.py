"""The Guard in Flask: an extension, a decorator, and `current_principal`.

    guard = Guard(issuers=["https://id.example"], audience="https://shop.example/stock", revocation=feed)
    app = Flask(__name__)
    protect(app, guard)

    @app.get("/stock")
    @requires(guard, scopes=["stock:read"])
    def stock(): return {"for": current_principal.subject}

`protect` answers preflights and the RFC 9728 document and puts CORS headers on every answer;
refusals look the same with it and without.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, Unpack, cast

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal
from portero.resource_server import wsgi
from portero.resource_server.event_stream import EventsUntilOver, is_event_stream
from portero.resource_server.guard import Guard
from portero.resource_server.received import ReceivedToken
from portero.resource_server.required import Required
from portero.resource_server.wsgi import PRINCIPAL, admit_environ, answer_without_token, headers_to_add, principal_of

P = ParamSpec("P")
R = TypeVar("R")

current_principal: Principal = LocalProxy(lambda: principal_of(request.environ))  # type: ignore[assignment] # a proxy of it
"""The caller of the request being handled."""


def received_token() -> ReceivedToken:
    """Return the present request's token, to call the next service in its caller's name.

    Raises:
        LookupError: no Guard admitted this request.
    """
    return wsgi.received_token(request.environ)


class RefusedRequest(HTTPException):
    """A refusal on its way out of a view."""

    def __init__(self, guard: Guard, refusal: Refusal, *, origin: str | None) -> None:
        written = guard.http_refusal(refusal, origin=origin)
        self.code = written.status
        super().__init__(response=Response(written.body, status=written.status, headers=list(written.headers)))


def requires(guard: Guard, **what: Unpack[Required]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Guard a view, sync or async. Stands below the route decorator, above everything else.

    Args:
        guard: the service's Guard.
        what: as `Guard.requires`.
    """
    requirement = guard.requires(**what)

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            outcome = admit_environ(guard, request.environ, requirement)
            if isinstance(outcome, Refusal):
                raise RefusedRequest(guard, outcome, origin=request.headers.get("Origin"))
            return cast("R", current_app.ensure_sync(view)(*args, **kwargs))

        return guarded

    return decorate


def protect(app: Flask, guard: Guard) -> None:
    """Answer preflights and the metadata document, and put CORS headers on every answer."""

    def answer_first() -> Response | None:
        answered = answer_without_token(guard, request.environ)
        if answered is None:
            return None
        status, headers, body = answered
        return Response(body, status=status, headers=headers)

    def add_cors(response: Response) -> Response:
        principal = request.environ.get(PRINCIPAL)
        if response.is_streamed and is_event_stream(response.content_type) and isinstance(principal, Principal):
            close = getattr(response.response, "close", None)
            response.response = EventsUntilOver(guard, principal, response.iter_encoded())
            if close is not None:
                response.call_on_close(close)
        has_cors = "Access-Control-Allow-Origin" in response.headers
        for name, value in headers_to_add(guard, request.environ, has_cors=has_cors):
            if name == "vary":
                response.vary.add(value)
            elif name not in response.headers:
                response.headers[name] = value
        return response

    # First of all: a preflight must not meet a login check of the application's own.
    app.before_request_funcs.setdefault(None, []).insert(0, answer_first)
    app.after_request(add_cors)
    app.extensions["portero"] = guard
