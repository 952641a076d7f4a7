"""Refusals as Envoy writes them, identical to the Guard's (design §3.5): what each looks like, and when it is used.

A route's metadata holds what differs between services and routes (`resource_metadata`, the scopes a
route needs); one list of mappers on the connection manager holds the rest, chosen by the reason Envoy
gives (`response.code_details`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from portero.core.errors import Unavailable
from portero.core.policy.manifest import Service
from portero.core.policy.protected_resource import metadata_url
from portero.core.policy.refusal import (
    EXPIRED,
    NO_TOKEN,
    REVOKED,
    TABLE,
    Case,
    Refusal,
    refusal_of,
    two_tokens,
    unavailable,
)
from portero.core.policy.rendering import Challenger, challenges, problem
from portero.core.policy.requirement import NotPermitted, Requirement, ScopesMissing, SignInNotEnough
from portero.gateway import failures
from portero.gateway.envoy import rules
from portero.gateway.envoy.resources import ROUTE_METADATA, SUBJECT_HEADER, Json, percent, set_header, typed
from portero.gateway.envoy.revoked import DENIED_BECAUSE


def invalid(description: str) -> Refusal:
    """A token that is refused."""
    return Refusal(Case.INVALID_TOKEN, description)


_OF_TOKEN: Mapping[str, Refusal] = {
    rules.EXPIRED: EXPIRED,
    rules.AUDIENCE: invalid("the token is for another audience"),
    rules.ISSUER: invalid("the token is from another issuer"),
    rules.FAILED: invalid("the token is not acceptable"),
    rules.TYPE: invalid("the token is of another type"),
    rules.CLAIMS: invalid("a claim is missing or no text"),
    rules.BOUND: invalid("The token is bound to a key, and this request does not prove it."),
    DENIED_BECAUSE: REVOKED,
}
NOT_PERMITTED: Final = refusal_of(NotPermitted("of the manifest"))


def metadata_of(service: Service | None) -> Json:
    """What the access log takes from a route's own answer."""
    return _metadata(logged(None if service is None else service.name))


def logged(service: str | None, *, route: str = "", prefix: str = "") -> dict[str, str]:
    """The members of a route's metadata that the access log takes.

    Args:
        prefix: what is taken off the path on the way to the service.
    """
    return {"service": service or "", "route": route, "prefix": prefix}


def route_metadata(service: Service, requirement: Requirement | None, *, route: str, prefix: str) -> Json:
    """What the mappers and the access log take from the route."""
    tail = metadata_url(service.audience)
    challenger = Challenger(resource_metadata=tail)
    said: dict[str, str] = {
        **logged(service.name, route=route, prefix=prefix),
        "no_token": challenges(NO_TOKEN, challenger=challenger)[0],
        "tail": "" if tail is None else f', resource_metadata="{tail}"',
    }
    if requirement is not None:
        needed = tuple(sorted(requirement.scopes | requirement.scopes_any))
        scopes = refusal_of(ScopesMissing(needed))
        sign_in = refusal_of(SignInNotEnough(requirement.max_auth_age, requirement.acr))
        for name, refusal in (("scope", scopes), ("sign_in", sign_in)):
            said[name] = challenges(refusal, challenger=challenger)[0]
            said[f"{name}_body"] = problem(refusal).decode()
    return _metadata(said)


def _metadata(said: Mapping[str, str]) -> Json:
    return {"filter_metadata": {ROUTE_METADATA: dict(said)}}


def direct_response(refusal: Refusal) -> Json:
    """A refusal as a route's own answer. Headers: `direct_headers`."""
    return {"status": refusal.row.status, "body": {"inline_string": problem(refusal).decode()}}


def direct_headers(refusal: Refusal, service: Service | None) -> list[Json]:
    """The headers of a route's own answer."""
    tail = None if service is None else metadata_url(service.audience)
    said = challenges(refusal, challenger=Challenger(resource_metadata=tail))
    headers = [set_header("content-type", "application/problem+json"), set_header("cache-control", "no-store")]
    headers += [set_header("www-authenticate", percent(one)) for one in said]
    if refusal.retry_after is not None:
        headers.append(set_header("retry-after", str(refusal.retry_after)))
    return headers


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer Envoy gives by itself."""

    when: str
    """CEL on `response.code_details` and `response.code`."""
    reason: str
    """In the access log and the counters: the words of every engine."""
    written: Json | None = None
    """How it looks; `None`: as it is."""


BY_GUARD: Final = "response.code_details == 'ext_authz_denied'"
"""The Guard's answer, whose reason it says itself."""
REASON_HEADER: Final = "x-portero-reason"
"""Of the Guard's answer to Envoy; no client sees it."""
OWN: Final = "response.code_details == 'direct_response'"
"""A route's own answer."""
_RESET: Final = "response.code_details.startsWith('upstream_reset_before_response_started{"


def replies() -> list[Reply]:
    """Every answer Envoy gives by itself, in the order in which they are tried."""
    return [
        # What is ours already, the script's, a route's own and the Guard's, stays as it is.
        Reply("response.code_details == 'lua_response'", Case.BAD_REQUEST.value),
        Reply(f"{OWN} && response.code == 403", Case.NOT_PERMITTED.value),
        Reply(f"{OWN} && response.code == 400", Case.BAD_REQUEST.value),
        Reply(f"{OWN} && response.code == 503", Case.UNAVAILABLE.value),
        Reply(OWN, ""),
        Reply(BY_GUARD, ""),
        *[_refused(_denied(name), refusal) for name, refusal in _OF_TOKEN.items()],
        _refused(_denied(rules.TWO_TOKENS), two_tokens("")),
        Reply(
            _denied(rules.NO_TOKEN),
            Case.NO_TOKEN.value,
            _written(401, _said("no_token"), percent(problem(NO_TOKEN).decode())),
        ),
        Reply(_denied(rules.SCOPE), Case.INSUFFICIENT_SCOPE.value, _written(403, _said("scope"), _said("scope_body"))),
        Reply(
            _denied(rules.SIGN_IN),
            Case.SIGN_IN_NOT_ENOUGH.value,
            _written(401, _said("sign_in"), _said("sign_in_body")),
        ),
        _refused("response.code_details.startsWith('rbac_access_denied')", NOT_PERMITTED),
        _refused("response.code_details.startsWith('ext_authz_error')", unavailable(Unavailable(""))),
        *[_failed(when, failure) for when, failure in _FAILURES],
        _refused("response.code_details == 'path_normalization_failed'", _NOT_UNDERSTOOD),
        Reply("response.code == 400 || response.code == 426", _MALFORMED, _look_of(_NOT_UNDERSTOOD)),
    ]


_FAILURES: Final = (
    ("response.code_details == 'no_healthy_upstream'", failures.NO_UPSTREAM),
    (f"{_RESET}connection_timeout')", failures.CONNECT_TIMEOUT),
    (f"{_RESET}remote_connection_failure') || {_RESET}local_connection_failure')", failures.NO_CONNECTION),
    (f"{_RESET}protocol_error')", failures.NONSENSE),
    ("response.code_details.startsWith('upstream_reset_before')", failures.UPSTREAM_DIED),
    ("response.code_details.startsWith('overload')", failures.CROWDED),
    ("response.code == 503", failures.NO_UPSTREAM),
    ("response.code == 502", failures.NONSENSE),
    ("response.code == 504", failures.SLOW_UPSTREAM),
    ("response.code == 408", failures.SLOW_CLIENT),
    ("response.code == 413", failures.TOO_LARGE_BODY),
    ("response.code == 431", failures.TOO_LARGE_HEAD),
    # Who was verified is known to the later of the two limits alone.
    (f"response.code == 429 && '{SUBJECT_HEADER}' in request.headers", failures.too_many(1, who="subject")),
    ("response.code == 429", failures.too_many(1, who="client")),
)
_MALFORMED: Final = failures.bad_request("").reason
_BAD_REQUESTS: Final = (Case.BAD_REQUEST.value, Case.TWO_TOKENS.value, _MALFORMED)
_NOT_UNDERSTOOD: Final = Refusal(Case.BAD_REQUEST, "The request cannot be understood.")


def mappers() -> list[Json]:
    """The connection manager's list: the first that fits is taken."""
    listed = []
    for one in replies():
        written = one.written or {}
        if one.reason in _BAD_REQUESTS or one.when == BY_GUARD:
            # Envoy's own mapping of 400 says INTERNAL, which would be our fault.
            status = set_header("grpc-status", str(TABLE[Case.BAD_REQUEST].grpc.value))
            listed.append(
                _when(f"response.code == 400 && {_IS_GRPC} && ({one.when})")
                | {**written, "headers_to_add": [*written.get("headers_to_add", ()), status]}
            )
        listed.append(_when(one.when) | written)
    return listed


_IS_GRPC: Final = "'content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc')"


def _denied(policy: str) -> str:
    return f"response.code_details == 'rbac_access_denied_matched_policy[{policy}]'"


def _said(name: str) -> str:
    return f"%METADATA(ROUTE:{ROUTE_METADATA}:{name})%"


def _refused(when: str, refusal: Refusal) -> Reply:
    return Reply(when, refusal.case.value, _look_of(refusal))


def _failed(when: str, failure: failures.Failure) -> Reply:
    _, _, body = failures.problem_of(failure)
    written = _written(failure.status, "", percent(body.decode()), retry_after=failure.retry_after)
    return Reply(when, failure.reason, written)


def _look_of(refusal: Refusal) -> Json:
    said = challenges(refusal, challenger=Challenger())
    challenge = percent(said[0]) + _said("tail") if said else ""
    body = percent(problem(refusal).decode())
    return _written(refusal.row.status, challenge, body, retry_after=refusal.retry_after)


def _written(status: int, challenge: str, body: str, *, retry_after: int | None = None) -> Json:
    headers = [set_header("cache-control", "no-store")]
    if challenge:
        headers.append(set_header("www-authenticate", challenge))
    if retry_after is not None:
        headers.append(set_header("retry-after", str(retry_after)))
    return {
        "status_code": status,
        "headers_to_add": headers,
        "body_format_override": {
            "text_format_source": {"inline_string": body},
            "content_type": "application/problem+json",
        },
    }


def _when(expression: str) -> Json:
    return {
        "filter": {
            "extension_filter": {
                "name": "envoy.access_loggers.extension_filters.cel",
                "typed_config": typed(
                    "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter", {"expression": expression}
                ),
            }
        }
    }
