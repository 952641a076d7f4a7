"""The Guard as WSGI middleware (PEP 3333), for Flask, Django and plain applications.

`GuardMiddleware` checks every request of the application it wraps; the principal stands in
`environ["portero.principal"]` (`principal_of`). `GuardEdge` answers preflights and the RFC 9728
document and puts CORS headers on every answer, for services whose routes decide themselves.
Keys and feed are followed by threads, begun at the first request of each worker process
(a thread does not survive a fork).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from portero.core.policy.cors import is_preflight
from portero.core.policy.credentials import token_of_header
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import NO_TOKEN, Refusal
from portero.core.policy.requirement import Requirement
from portero.resource_server.guard import Guard

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


def token_of_environ(guard: Guard, environ: WSGIEnvironment, requirement: Requirement) -> bytes | Refusal:
    """Read the token out of a request's environ."""
    # Servers join a repeated header with a comma, which no token holds.
    authorization = environ.get("HTTP_AUTHORIZATION")
    token: bytes | Refusal = NO_TOKEN
    if authorization is not None:
        query = environ.get("QUERY_STRING", "").encode("latin-1", "replace")
        token = token_of_header(authorization.encode("latin-1", "replace"), query)
    return guard.or_cookie(token, lambda name: environ.get("HTTP_" + name.upper().replace("-", "_")), requirement)


def admit_environ(guard: Guard, environ: WSGIEnvironment, requirement: Requirement) -> Principal | Refusal:
    """Check a request's token, and leave the principal in the environ."""
    token = token_of_environ(guard, environ, requirement)
    if not isinstance(token, bytes):
        return token
    outcome = guard.check_sync(token, requirement)
    if isinstance(outcome, Principal):
        environ[PRINCIPAL] = outcome
    return outcome


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
        return self.app(environ, self._with_cors(environ, start_response))

    def _with_cors(self, environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
        extra = self.guard.cors.response_headers(environ.get("HTTP_ORIGIN"))
        if not extra:
            return start_response

        def start_with_cors(status: str, headers: list[Header], *exc_info: Any) -> Callable[[bytes], object]:
            present = {name.lower() for name, _ in headers}
            if "access-control-allow-origin" not in present:
                headers = headers + [header for header in extra if header[0] == "vary" or header[0] not in present]
            return start_response(status, headers, *exc_info)

        return start_with_cors


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
        return self.app(environ, self._with_cors(environ, start_response))


def _answer(
    environ: WSGIEnvironment, start_response: StartResponse, status: int, headers: list[Header], body: bytes
) -> Iterable[bytes]:
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
