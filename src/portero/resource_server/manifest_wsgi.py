"""The manifest as WSGI middleware: each request is decided by the route that matches it (design §3.4).

    app.wsgi_app = ManifestMiddleware(app.wsgi_app, service=from_manifest("portero.toml", service="stock"))

PEP 3333 keeps no undecoded path: behind a server that hands it on (`REQUEST_URI`: waitress, uWSGI,
mod_wsgi, Werkzeug; `RAW_URI`: gunicorn) the manifest can decide, behind others it cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from portero.core.errors import ConfigurationError
from portero.core.policy.path import AmbiguousPath, normal_path, split_target
from portero.core.policy.refusal import Case, Refusal
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import NOT_NAMED, Free
from portero.resource_server.guard import Guard
from portero.resource_server.manifest import NO_RAW_PATH, REWRITTEN, Decided, GuardedService
from portero.resource_server.wsgi import GuardEdge, GuardMiddleware, answer_without_token

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class ManifestMiddleware:
    """Decides every request of the application it wraps by the manifest.

    Args:
        app: the application.
        service: `from_manifest(...)`.
    """

    def __init__(self, app: WSGIApplication, *, service: GuardedService) -> None:
        self.app = app
        self._service = service
        self._compiled = _Compiled(app, service.decided)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request.

        Raises:
            ConfigurationError: the server keeps no raw path, so the manifest cannot decide here.
        """
        self._service.start_sync()
        decided = self._service.decided
        compiled = self._compiled
        if compiled.decided is not decided:
            compiled = self._compiled = _Compiled(self.app, decided)
        return compiled.serve(environ, start_response)


class _Compiled:
    """One state of the manifest, and the checked application for each thing its routes ask."""

    def __init__(self, app: WSGIApplication, decided: Decided) -> None:
        self.decided = decided
        self._public = GuardEdge(app, guard=decided.guard)
        self._guarded = {
            id(access): GuardMiddleware(app, guard=decided.guard, requirement=access)
            for access in decided.requirements()
        }

    def serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        outcome = self._access(environ)
        if isinstance(outcome, Requirement):
            # Answers preflights and the metadata document by itself.
            return self._guarded[id(outcome)](environ, start_response)
        if outcome is None:
            return self._public(environ, start_response)
        return _refuse(self.decided.guard, outcome, environ, start_response)

    def _access(self, environ: WSGIEnvironment) -> Requirement | Refusal | None:
        try:
            path = normal_path(_raw_path(environ))
        except AmbiguousPath as error:
            return Refusal(Case.BAD_REQUEST, error.description, detail="ambiguous path")
        served = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if unquote_to_bytes(path) != served.encode("latin-1"):
            return REWRITTEN
        rule = self.decided.matcher.match(environ["REQUEST_METHOD"], path)
        if isinstance(rule, Refusal):
            return rule
        if isinstance(rule.access, Requirement):
            return rule.access
        return NOT_NAMED if rule.access is Free.DENIED else None


def _raw_path(environ: WSGIEnvironment) -> bytes:
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if not isinstance(target, str):
        raise ConfigurationError("REQUEST_URI", None, NO_RAW_PATH)
    return split_target(target.encode("latin-1", "replace"))[0]


def _refuse(guard: Guard, refusal: Refusal, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    answered = answer_without_token(guard, environ)
    if answered is None:
        written = guard.http_refusal(refusal, origin=environ.get("HTTP_ORIGIN"))
        answered = written.status, list(written.headers), written.body
    status, headers, body = answered
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
