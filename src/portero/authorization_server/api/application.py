"""The API as a FastAPI application: its routes, how it refuses, and the OpenAPI document that says all of that.

Loaded with the first request (`gate`). Refusals are problem details (RFC 9457), 401 and 403 with the bearer
challenge (RFC 6750 §3). What nobody expected propagates to the edge, which knows how to say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from portero.authorization_server.api import account, operator
from portero.authorization_server.api.desk import Desk
from portero.authorization_server.api.gate import PREFIX
from portero.authorization_server.api.models import Problem
from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.bearer import Bearers, challenge
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.exchange import Request as Exchange
from portero.authorization_server.endpoints.responses import Answer, problem, unavailable
from portero.core.errors import RequestError, Unavailable

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "RFC 6750 §3.", "schema": {"type": "string"}}}
_RETRY_AFTER = {"Retry-After": {"description": "Whole seconds.", "schema": {"type": "integer"}}}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is not one.", "content": _PROBLEM},
    401: {"description": "No access token, or not a good one.", "content": _PROBLEM, "headers": _CHALLENGE},
    403: {"description": "The access token does not allow it.", "content": _PROBLEM, "headers": _CHALLENGE},
    404: {"description": "There is no such thing, or it is somebody else's.", "content": _PROBLEM},
    413: {"description": "The body is too long.", "content": _PROBLEM},
    422: {"description": "A value is not one that may be.", "content": _PROBLEM},
    503: {"description": "Something the server depends on is away.", "content": _PROBLEM, "headers": _RETRY_AFTER},
}


def create_api(context: Context, clients: Clients) -> ASGIApp:
    """Build the application around an open context."""
    api = _Api(
        title="Portero",
        summary="Sessions per device for people, and everything for operators.",
        version="1",
        servers=[{"url": context.config.issuer}],
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        exception_handlers={
            RequestError: _refused,
            Unavailable: _unavailable,
            RequestValidationError: _not_valid,
            HTTPException: _router_refused,
        },
    )
    api.state.desk = Desk(context, clients, Bearers(context, clients))
    for router in (account.router, operator.router):
        api.include_router(router, prefix=PREFIX, responses=_REFUSALS)
    return api


class _Api(FastAPI):
    """FastAPI without its own answer to unexpected errors, which is plain text and comes before ours (`edge`)."""

    def build_middleware_stack(self) -> ASGIApp:
        handlers: Mapping[Any, Any] = self.exception_handlers
        return ExceptionMiddleware(AsyncExitStackMiddleware(self.router), handlers=handlers)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title, version=self.version, summary=self.summary, routes=self.routes, servers=self.servers
            )
            schemas = document["components"]["schemas"]
            schemas["Problem"] = Problem.model_json_schema()
            self.openapi_schema = document
        return self.openapi_schema


def _operation_id(route: APIRoute) -> str:
    return route.name


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestError):
        raise error
    exchange = Exchange(request.method, request.scope["headers"], b"", b"")
    headers = tuple(each for each in challenge(exchange, error).headers if each[0] == b"www-authenticate")
    status = HTTPStatus(error.status)
    return _response(problem(status, detail=error.description, headers=headers, extensions={"error": error.error}))


async def _unavailable(_request: Request, failure: Exception) -> Response:
    if not isinstance(failure, Unavailable):
        raise failure
    return _response(unavailable(failure))


async def _not_valid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # Where and why, never what was sent.
    found = [f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()[:5]]
    extensions = {"error": "invalid_request"}
    return _response(problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail="; ".join(found), extensions=extensions))


async def _router_refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allow = ", ".join(sorted(_methods_of(request)))
        headers = ((b"allow", allow.encode("ascii")),)
        if request.method == "OPTIONS":
            return _response(Answer(HTTPStatus.NO_CONTENT, headers))
        return _response(problem(status, detail=f"this resource knows {allow}", headers=headers))
    detail = "there is nothing here" if status is HTTPStatus.NOT_FOUND else "the request cannot be read"
    return _response(problem(status, detail=detail))


def _methods_of(request: Request) -> set[str]:
    # A path has a route for each method; the router names those of the first only (RFC 9110 §15.5.6 wants all).
    path = request.scope["path"].removeprefix(PREFIX)
    methods: set[str] = set()
    for route in (*account.router.routes, *operator.router.routes):
        if isinstance(route, APIRoute) and route.path_regex.fullmatch(path):
            methods |= route.methods or set()
    # None of them: the document's own path.
    return {"OPTIONS", *(methods or {"GET"})}


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers.extend(answer.headers)
    return response
