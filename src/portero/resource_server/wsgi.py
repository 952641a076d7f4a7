"""The Guard as WSGI middleware (PEP 3333), for Flask, Django and plain applications.

`GuardMiddleware` checks every request of the application it wraps; the principal stands in
`environ["portero.principal"]` (`principal_of`). `GuardEdge` answers preflights and the RFC 9728
document and puts CORS headers on every answer, for services whose routes decide themselves.
Keys and feed are followed by threads, begun at the first request of each worker process
(a thread does not survive a fork).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any

from portero.core.policy.cors import is_preflight
from portero.core.policy.credentials import token_of_header
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import NO_TOKEN, Refusal
from portero.core.policy.requirement import Requirement
from portero.resource_server.event_stream import EventsUntilOver, is_event_stream
from portero.resource_server.guard import Guard
from portero.resource_server.received import ReceivedToken
from portero.resource_server.sender import NONCE, TOKEN, Presented, RequestSeen, raw_path_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Header = tuple[str, str]

PRINCIPAL = "portero.principal"
"""Where the principal stands in the environ."""


def principal_of(environ: WSGIEnvironment) -> Principal:
    """Return the caller of a request that was admitted.

    Raises:
        LookupError: no Guard admitted this request. A programming error, never the caller's.
    """
    principal = environ.get(PRINCIPAL)
    if not isinstance(principal, Principal):
        raise LookupError("no Guard admitted this request: is the route guarded?")
    return principal


def received_token(environ: WSGIEnvironment) -> ReceivedToken:
    """Return the token of a request that was admitted, to call the next service in its caller's name.

    Raises:
        LookupError: no Guard admitted this request.
    """
    return ReceivedToken(environ[TOKEN], principal_of(environ))


def presented_in(guard: Guard, environ: WSGIEnvironment, requirement: Requirement) -> Presented | Refusal:
    """Read the token out of a request's environ, and what it shows of its sender."""
    # Servers join a repeated header with a comma, which no token holds.
    authorization = environ.get("HTTP_AUTHORIZATION")
    token: bytes | Refusal = NO_TOKEN
    if authorization is not None:
        query = environ.get("QUERY_STRING", "").encode("latin-1", "replace")
        token = token_of_header(authorization.encode("latin-1", "replace"), query)
    seen = RequestSeen(
        header=lambda name: environ.get("HTTP_" + name.upper().replace("-", "_")),
        method=environ["REQUEST_METHOD"],
        path=raw_path_of(environ.get("RAW_URI") or environ.get("REQUEST_URI"), _decoded_path(environ)),
        memo=environ,
        query=environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
        certificate=lambda: environ.get("SSL_CLIENT_CERT"),
    )
    return guard.presented(token, seen, requirement)


def admit_environ(guard: Guard, environ: WSGIEnvironment, requirement: Requirement) -> Principal | Refusal:
    """Check a request's token, and leave the principal in the environ."""
    presented = presented_in(guard, environ, requirement)
    if isinstance(presented, Refusal):
        return presented
    outcome = guard.check_sync(presented.token, requirement, presented.sender)
    if isinstance(outcome, Principal):
        environ[PRINCIPAL] = outcome
    return outcome


def headers_to_add(guard: Guard, environ: WSGIEnvironment, *, has_cors: bool) -> tuple[Header, ...]:
    """What an answer of the application is given: CORS headers, and a nonce where the request's was old."""
    added = () if has_cors else guard.cors.response_headers(environ.get("HTTP_ORIGIN"))
    # Taken out: an edge around this one shall not say it again.
    nonce = environ.pop(NONCE, None)
    return added if nonce is None else (*added, ("dpop-nonce", nonce))


def answer_without_token(guard: Guard, environ: WSGIEnvironment) -> tuple[int, list[Header], bytes] | None:
    """Answer what needs no token: preflights and the metadata document."""
    method = environ["REQUEST_METHOD"]
    origin = environ.get("HTTP_ORIGIN")
    if guard.cors.origins and is_preflight(method, origin, environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")):
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        headers = guard.cors.preflight_headers(origin, requested_headers=asked)
        return 204, [header for header in headers if header[0] != "content-length"], b""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if method in ("GET", "HEAD") and path == guard.metadata_path:
        body = guard.metadata()
        headers = (
            ("content-type", "application/json"),
            ("cache-control", "max-age=300"),
            ("content-length", str(len(body))),
            *guard.cors.response_headers(origin),
        )
        return 200, list(headers), body
    return None


class GuardEdge:
    """Preflights, metadata document and CORS headers; checks no token."""

    def __init__(self, app: WSGIApplication, *, guard: Guard) -> None:
        self.app = app
        self.guard = guard

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        answered = answer_without_token(self.guard, environ)
        if answered is not None:
            return _answer(environ, start_response, *answered)
        return self._serve(environ, start_response)

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        streams: bool | None = None

        def start_and_notice(status: str, headers: list[Header], *exc_info: Any) -> Callable[[bytes], object]:
            nonlocal streams
            streams = any(name.lower() == "content-type" and is_event_stream(value) for name, value in headers)
            return start(status, headers, *exc_info)

        start = self._with_headers(environ, start_response)
        answer = self.app(environ, start_and_notice)
        if streams is False or isinstance(answer, list | tuple):
            return answer
        return _Noticed(self.guard, environ, answer, lambda: bool(streams))

    def _with_headers(self, environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
        if not self.guard.cors.origins and not self.guard.senders.asks:
            return start_response

        def start_with_headers(status: str, headers: list[Header], *exc_info: Any) -> Callable[[bytes], object]:
            present = {name.lower() for name, _ in headers}
            extra = headers_to_add(self.guard, environ, has_cors="access-control-allow-origin" in present)
            headers = headers + [header for header in extra if header[0] == "vary" or header[0] not in present]
            return start_response(status, headers, *exc_info)

        return start_with_headers


class GuardMiddleware(GuardEdge):
    """Checks every request of the application it wraps.

    Args:
        app: the application.
        guard: the service's Guard.
        requirement: what all of it requires (`guard.requires(...)`).
    """

    def __init__(self, app: WSGIApplication, *, guard: Guard, requirement: Requirement) -> None:
        super().__init__(app, guard=guard)
        self._requirement = requirement

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        answered = answer_without_token(self.guard, environ)
        if answered is not None:
            return _answer(environ, start_response, *answered)
        outcome = admit_environ(self.guard, environ, self._requirement)
        if isinstance(outcome, Refusal):
            written = self.guard.http_refusal(outcome, origin=environ.get("HTTP_ORIGIN"))
            return _answer(environ, start_response, written.status, list(written.headers), written.body)
        return self._serve(environ, start_response)


class _Noticed:
    """An answer that may turn out to be an event stream: an application may start its response with its first part."""

    def __init__(
        self, guard: Guard, environ: WSGIEnvironment, answer: Iterable[bytes], streams: Callable[[], bool]
    ) -> None:
        self._guard = guard
        self._environ = environ
        self._answer = answer
        self._streams = streams
        self._events: EventsUntilOver | None = None

    def __iter__(self) -> Iterator[bytes]:
        parts = iter(self._answer)
        for part in parts:
            principal = self._environ.get(PRINCIPAL)
            if self._streams() and isinstance(principal, Principal):
                self._events = EventsUntilOver(self._guard, principal, chain([part], parts))
                yield from self._events
                return
            yield part

    def close(self) -> None:
        """PEP 3333: the application's own `close` is called, however far it got."""
        if self._events is not None:
            self._events.close()
        close = getattr(self._answer, "close", None)
        if close is not None:
            close()


def _decoded_path(environ: WSGIEnvironment) -> str:
    served: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return served.encode("latin-1").decode("utf-8", "replace")  # PEP 3333: the bytes, as Latin-1


def _answer(
    environ: WSGIEnvironment, start_response: StartResponse, status: int, headers: list[Header], body: bytes
) -> Iterable[bytes]:
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
