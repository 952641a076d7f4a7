"""Answers of the protocol endpoints: a status, headers and a body, and the refusals everybody shares.

OAuth refusals are JSON as RFC 6749 §5.2 says; what no RFC of OAuth covers (unknown path,
method, size, our own failure) is a problem (RFC 9457). Our own failure is 503 and never
the caller's fault (design §3.5).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from portero.core.errors import RequestError, Unavailable
from portero.core.oauth.errors import error_members, on_the_wire
from portero.core.quick import quick

Headers = tuple[tuple[bytes, bytes], ...]

NO_STORE: Headers = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
"""RFC 6749 §5.1: on every answer with tokens or other sensitive information."""
JSON: Headers = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))
PROBLEM: Headers = ((b"content-type", b"application/problem+json"), (b"x-content-type-options", b"nosniff"))


@quick
@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `content-length` is added on sending."""

    status: int
    headers: Headers
    body: bytes = b""
    origins: tuple[str, ...] | None = None
    """Browser origins that may read it, where the endpoint is for registered origins; None: those of any client."""

    def with_headers(self, headers: Headers) -> Answer:
        """Return the same answer with more headers."""
        return Answer(self.status, (*self.headers, *headers), self.body, self.origins)


@dataclass(frozen=True, slots=True)
class StreamingAnswer:
    """What goes back piece by piece. `Endpoint` closes `parts`, whatever happens."""

    status: int
    headers: Headers
    parts: AsyncIterator[bytes]


def sensitive_json(body: bytes, *, origins: tuple[str, ...] | None = None) -> Answer:
    """Answer 200 with JSON that nobody may store."""
    return Answer(200, JSON + NO_STORE, body, origins)


def cacheable_json(body: bytes, *, max_age: int) -> Answer:
    """Answer 200 with public JSON, good for `max_age` seconds."""
    return Answer(200, (*JSON, (b"cache-control", b"public, max-age=%d" % max_age)), body)


def problem(
    status: HTTPStatus,
    *,
    detail: str,
    headers: Headers = (),
    extensions: Mapping[str, str] | None = None,
) -> Answer:
    """Answer with problem details (RFC 9457); `title` is the status's own phrase."""
    members = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": on_the_wire(detail)}
    return Answer(status.value, PROBLEM + NO_STORE + headers, orjson.dumps({**members, **(extensions or {})}))


def refusal(error: RequestError, *, headers: Headers = ()) -> Answer:
    """Answer with a registered error as JSON (RFC 6749 §5.2)."""
    return Answer(error.status, JSON + NO_STORE + headers, orjson.dumps(error_members(error)))


def too_many(*, retry_after: int) -> Answer:
    """Answer 429 (RFC 6585 §4) with `Retry-After` in whole seconds."""
    return problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        detail="too many requests; try again later",
        headers=((b"retry-after", b"%d" % retry_after),),
        extensions={"error": "temporarily_unavailable"},
    )


def unavailable(failure: Unavailable) -> Answer:
    """Answer 503 with `Retry-After`; what is missing goes to the log only."""
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        detail="something this server depends on is not there; try again",
        headers=((b"retry-after", b"%d" % max(1, failure.retry_after)),),
        extensions={"error": "temporarily_unavailable"},
    )


def method_not_allowed(allow: str) -> Answer:
    """Answer 405; `allow` lists the methods there are (RFC 9110 §15.5.6)."""
    return problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        detail=f"this resource knows {allow}",
        headers=((b"allow", allow.encode("ascii")),),
    )


def not_found() -> Answer:
    """Answer 404."""
    return problem(HTTPStatus.NOT_FOUND, detail="there is nothing here")


def too_large(limit: int) -> Answer:
    """Answer 413; `limit` in bytes."""
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail=f"a body may have {limit} bytes")
