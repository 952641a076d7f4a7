"""What a gateway itself ends a request by: its own failures as problem documents (RFC 9457), nothing of an upstream.

The reasons are a closed list: every engine's access log says them.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from portero.core.policy.rendering import Header


class Failure(Exception):
    """A request the gateway itself ends.

    Args:
        status: of HTTP.
        reason: for the log and the counters: one of this module's.
        detail: for the wire.
    """

    def __init__(self, status: int, reason: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


def bad_request(detail: str) -> Failure:
    """A message that is malformed, or that two programs could read differently."""
    return Failure(400, "malformed", detail)


TOO_LARGE_HEAD: Final = Failure(431, "head_too_large", "The request's headers are larger than this gateway takes.")
TOO_LARGE_BODY: Final = Failure(413, "body_too_large", "The request's body is larger than this gateway takes.")
SLOW_CLIENT: Final = Failure(408, "request_timeout", "The request did not arrive in time.")
UNKNOWN_METHOD: Final = Failure(501, "method", "This method is not known here.")
UNKNOWN_CODING: Final = Failure(501, "transfer_coding", "The only transfer coding known here is chunked.")
UNKNOWN_EXPECTATION: Final = Failure(417, "expectation", "The only expectation known here is 100-continue.")
UNKNOWN_VERSION: Final = Failure(505, "version", "This gateway speaks HTTP/1.1.")
CROWDED: Final = Failure(503, "connections", "There are too many connections.", retry_after=1)
NO_UPSTREAM: Final = Failure(503, "no_upstream", "The service is not available.", retry_after=2)
NO_CONNECTION: Final = Failure(502, "connection_refused", "The service cannot be reached.")
CONNECT_TIMEOUT: Final = Failure(504, "connect_timeout", "The service cannot be reached in time.")
UPSTREAM_DIED: Final = Failure(502, "upstream_closed", "The service ended the connection without an answer.")
NONSENSE: Final = Failure(502, "upstream_nonsense", "The service gave an answer that is no HTTP.")
SLOW_UPSTREAM: Final = Failure(504, "upstream_timeout", "The service did not answer in time.")
DRAINING: Final = Failure(503, "draining", "The gateway is about to stop.", retry_after=1)


def too_many(seconds: float, *, who: str) -> Failure:
    """More requests than the rate allows (RFC 6585 §4)."""
    return Failure(429, f"rate_{who}", "Too many requests.", retry_after=max(1, int(seconds + 0.999)))


def problem_of(failure: Failure) -> tuple[int, tuple[Header, ...], bytes]:
    """Status, headers and body of a failure."""
    members = {
        "type": "about:blank",
        "title": HTTPStatus(failure.status).phrase,
        "status": failure.status,
        "detail": failure.detail,
    }
    headers: list[Header] = [("content-type", "application/problem+json"), ("cache-control", "no-store")]
    if failure.retry_after is not None:
        headers.append(("retry-after", str(failure.retry_after)))
    return failure.status, tuple(headers), json.dumps(members, separators=(",", ":")).encode()
