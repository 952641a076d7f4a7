"""What is said of each request: a line of the access log, and counts, both in the words of every engine.

What was sent on to a service is told by a header that is set on its way there: from then on the path
is the service's own, and the prefix stands in the route's metadata.
"""

from __future__ import annotations

from typing import Final

from portero.core.policy.refusal import EXPIRED
from portero.gateway import failures
from portero.gateway.envoy.replies import BY_GUARD, REASON_HEADER, replies
from portero.gateway.envoy.resources import ROUTE_METADATA, Json, has_header, typed

_SENT_ON: Final = "x-forwarded-host"
"""Set on every request that goes to a service, and by nobody else (`identity_headers`)."""
_AUTHORIZE_METADATA: Final = "envoy.filters.http.ext_authz"
COUNTED: Final = "portero.answers.reason."
"""What Envoy's counters of reasons begin with."""
CLIENT_CLOSED: Final = 499


def access_loggers(*, lines: bool) -> list[Json]:
    """All loggers of the connection manager.

    Args:
        lines: whether each request is a JSON line on standard output.
    """
    return [*(_lines() if lines else ()), _counting()]


def _lines() -> list[Json]:
    sent_on, kept = has_header(_SENT_ON), {**has_header(_SENT_ON), "invert_match": True}
    answered, gone = _status("GE", 1), _status("EQ", 0)
    return [
        _line(_both({"header_filter": {"header": sent}}, status), path=path, status=said)
        for sent, path in ((sent_on, f"%METADATA(ROUTE:{ROUTE_METADATA}:prefix)%%PATH(NQ)%"), (kept, "%PATH(NQ)%"))
        for status, said in ((answered, "%RESPONSE_CODE%"), (gone, CLIENT_CLOSED))
    ]


def _line(condition: Json, *, path: str, status: str | int) -> Json:
    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": path,
        "service": f"%METADATA(ROUTE:{ROUTE_METADATA}:service)%",
        "route": f"%METADATA(ROUTE:{ROUTE_METADATA}:route)%",
        "status": status,
        "duration_ms": "%DURATION%",
        "bytes": "%BYTES_SENT%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "reason": f"%CEL({_reason()})%",
    }
    return {
        "name": "stdout",
        "filter": condition,
        "typed_config": typed(
            "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", {"log_format": {"json_format": line}}
        ),
    }


def _counting() -> Json:
    """Counts by reason. Few requests get further than the filter: the status, and gRPC's where that says 200."""
    reason = _reason(otherwise="'other'")
    tag = {"name": "reason", "value_format": f"%CEL({reason})%"}
    counter = {"stat": {"name": "answers", "tags": [tag]}, "value_fixed": 1}
    return {
        "name": "reasons",
        "filter": {"or_filter": {"filters": [_status("GE", 400), {"grpc_status_filter": {"statuses": _REFUSED}}]}},
        "typed_config": typed(
            "envoy.extensions.access_loggers.stats.v3.Config",
            {"stats_scope": {"prefix": "portero"}, "counters": [counter]},
        ),
    }


_REFUSED: Final = ["INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNAVAILABLE"]


def _reason(*, otherwise: str = "response.code_details") -> str:
    """CEL: why a request was not simply served; empty where it was."""
    guard = f"metadata.filter_metadata['{_AUTHORIZE_METADATA}']['{REASON_HEADER}']"
    causes = [(one.when, guard if one.when == BY_GUARD else f"'{one.reason}'") for one in replies()]
    causes += [
        ("response.code_details.startsWith('upstream_reset')", f"'{failures.UPSTREAM_DIED.reason}'"),
        ("response.code_details == 'max_duration_timeout'", f"'{EXPIRED.fault}'"),
        ("response.code_details == 'stream_idle_timeout'", "'idle'"),
        ("response.code_details.startsWith('downstream') || response.code == 0", "'client_closed'"),
    ]
    return f"response.code_details == 'via_upstream' ? '' : {_first(causes, otherwise)}"


def _first(causes: list[tuple[str, str]], otherwise: str) -> str:
    """The value of the first that holds. In halves: Envoy takes no expression that is nested deeply."""
    if len(causes) == 1:
        ((when, value),) = causes
        return f"(({when}) ? {value} : {otherwise})"
    half = len(causes) // 2
    early, late = causes[:half], causes[half:]
    any_early = " || ".join(f"({when})" for when, _ in early)
    return f"(({any_early}) ? {_first(early, otherwise)} : {_first(late, otherwise)})"


def _both(first: Json, second: Json) -> Json:
    return {"and_filter": {"filters": [first, second]}}


def _status(operator: str, value: int) -> Json:
    return {
        "status_code_filter": {
            "comparison": {"op": operator, "value": {"default_value": value, "runtime_key": "portero.never"}}
        }
    }
