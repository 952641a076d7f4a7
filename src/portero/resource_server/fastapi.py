"""The Guard in FastAPI: a dependency that yields the `Principal`, with its OpenAPI security scheme.

    guard = Guard(issuers=["https://id.example"], audience="https://shop.example/orders", revocation=feed)
    app = FastAPI()
    protect(app, guard)

    @app.get("/orders")
    async def orders(caller: Annotated[Principal, requires(guard, scopes=["orders:read"])]): ...

`protect` runs the Guard with the application, answers preflights and the RFC 9728 document,
and writes refusals as problem details. A dependency works without it too: the refusal then
is FastAPI's own `{"detail": …}` with the same status, challenge and CORS headers.
"""

from __future__ import annotations

from typing import Any, Unpack

import orjson
from fastapi import FastAPI, Request, Security, WebSocketException
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal
from portero.core.policy.rendering import close_reason
from portero.core.policy.requirement import Requirement
from portero.resource_server.asgi import PRINCIPAL, GuardEdge, admit_known, admit_scope
from portero.resource_server.asgi_websocket import WEBSOCKET, GuardedWebSocket
from portero.resource_server.guard import Guard
from portero.resource_server.required import Required

__all__ = ["Principal", "protect", "requires"]


class RefusedRequest(HTTPException):
    """A refusal on its way out of a dependency."""

    def __init__(self, guard: Guard, refusal: Refusal, *, origin: str | None) -> None:
        written = guard.http_refusal(refusal, origin=origin)
        self.written = written
        headers: dict[str, str] = {}
        for name, value in written.headers:
            if name not in {"content-type", "content-length"}:
                # RFC 9110 §5.3: several challenges may stand in one field.
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        super().__init__(status_code=written.status, detail=orjson.loads(written.body), headers=headers)


class _Requires(SecurityBase):
    """The dependency: checks, and describes itself to OpenAPI."""

    def __init__(self, guard: Guard, requirement: Requirement) -> None:
        self._guard = guard
        self._requirement = requirement
        self.scheme_name = "bearer"
        self.model = HTTPBearerModel(bearerFormat="JWT", description=_describe(requirement))

    async def __call__(self, connection: HTTPConnection) -> Principal:
        scope = connection.scope
        if scope["type"] == "websocket":
            websocket = scope.get(WEBSOCKET)
            if not isinstance(websocket, GuardedWebSocket):
                # Nothing would close it when the token is over.
                raise RuntimeError("a guarded WebSocket needs protect(app, guard)")
            outcome = await websocket.admit(self._guard, self._requirement)
            if isinstance(outcome, Refusal):
                await websocket.refuse(outcome, self._guard)
                raise WebSocketException(outcome.row.close_code, close_reason(outcome))
        else:
            known = admit_known(self._guard, scope, self._requirement)
            outcome = await admit_scope(self._guard, scope, self._requirement) if known is None else known
            if isinstance(outcome, Refusal):
                raise RefusedRequest(self._guard, outcome, origin=connection.headers.get("origin"))
        scope[PRINCIPAL] = outcome
        return outcome


def requires(guard: Guard, **what: Unpack[Required]) -> Any:
    """Depend on an admitted caller: `Annotated[Principal, requires(guard, scopes=[…])]`, or as a default value.

    Args:
        guard: the service's Guard.
        what: as `Guard.requires`.
    """
    requirement = guard.requires(**what)
    return Security(_Requires(guard, requirement), scopes=sorted(requirement.scopes))


def protect(app: FastAPI, guard: Guard) -> None:
    """Run the Guard with the application: lifespan, preflights, metadata, CORS headers, problem details."""
    app.add_middleware(GuardEdge, guard=guard)
    app.add_exception_handler(RefusedRequest, _as_problem)


async def _as_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, RefusedRequest):
        raise error
    response = Response(error.written.body, status_code=error.written.status)
    response.raw_headers = [
        (name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in error.written.headers
    ]
    return response


def _describe(requirement: Requirement) -> str:
    said = ["An access token of this service's issuer."]
    if requirement.scopes:
        said.append("Scopes: " + ", ".join(sorted(requirement.scopes)) + ".")
    if requirement.roles:
        said.append("Roles: " + ", ".join(sorted(requirement.roles)) + ".")
    return " ".join(said)
