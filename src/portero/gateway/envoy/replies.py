"""Refusals as Envoy writes them, identical to the Guard's (design §3.5): what each looks like, and when it is used.

A route's metadata holds what differs between services and routes (`resource_metadata`, the scopes a
route needs); one list of mappers on the connection manager holds the rest, chosen by the reason Envoy
gives (`response.code_details`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from portero.core.errors import Unavailable
from portero.core.policy.manifest import Service
from portero.core.policy.protected_resource import metadata_url
from portero.core.policy.refusal import (
    EXPIRED,
    NO_TOKEN,
    REVOKED,
    Case,
    Refusal,
    refusal_of,
    two_tokens,
    unavailable,
)
from portero.core.policy.rendering import Challenger, challenges, problem
from portero.core.policy.requirement import NotPermitted, Requirement, ScopesMissing, SignInNotEnough
from portero.gateway.envoy import rules
from portero.gateway.envoy.resources import ROUTE_METADATA, Json, percent, set_header, typed
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


def route_metadata(service: Service, requirement: Requirement | None) -> Json:
    """What the mappers take from the route."""
    tail = metadata_url(service.audience)
    challenger = Challenger(resource_metadata=tail)
    said: dict[str, str] = {
        "service": service.name,
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
    return {"filter_metadata": {ROUTE_METADATA: said}}


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


def mappers() -> list[Json]:
    """Every answer Envoy gives by itself, in the order in which they are tried."""
    # What is ours already, a route's own answer and the Guard's, stays as it is.
    ours = ("direct_response", "ext_authz_denied", "lua_response")
    listed = [_when(" || ".join(f"response.code_details.startsWith('{one}')" for one in ours))]
    listed += [_mapper(_denied(name), refusal) for name, refusal in _OF_TOKEN.items()]
    listed += [
        _mapper(_denied(rules.TWO_TOKENS), two_tokens("")),
        _written(_denied(rules.NO_TOKEN), 401, _said("no_token"), percent(problem(NO_TOKEN).decode())),
        _written(_denied(rules.SCOPE), 403, _said("scope"), _said("scope_body")),
        _written(_denied(rules.SIGN_IN), 401, _said("sign_in"), _said("sign_in_body")),
        _mapper("response.code_details.startsWith('rbac_access_denied')", NOT_PERMITTED),
        _mapper(
            "response.code_details.startsWith('ext_authz_error') || response.code_details == 'no_healthy_upstream' || "
            "response.code_details.startsWith('upstream_reset_before_response_started{connection_timeout') || "
            "response.code_details.startsWith('overload') || "
            "response.code == 503 && !response.code_details.startsWith('upstream_reset')",
            unavailable(Unavailable("")),
            description="The service is not available right now.",
        ),
    ]
    listed += [
        _plain("response.code_details.startsWith('upstream_reset')", 502, "The service did not answer properly."),
        _plain("response.code == 502", 502, "The service did not answer properly."),
        _plain("response.code == 504", 504, "The service did not answer in time."),
        _plain("response.code == 408", 408, "The request did not arrive in time."),
        _plain("response.code == 413", 413, "The request is too large."),
        _plain("response.code == 431", 431, "The request's headers are too large."),
        _plain("response.code == 429", 429, "Too many requests.", retry_after=1),
        _mapper(
            "response.code == 400 || response.code == 426",
            Refusal(Case.BAD_REQUEST, "The request cannot be understood."),
        ),
    ]
    return listed


def problem_of(status: int, detail: str) -> str:
    """The body of an answer that is the gateway's own (RFC 9457)."""
    members: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return json.dumps(members, separators=(",", ":"))


def _denied(policy: str) -> str:
    return f"response.code_details == 'rbac_access_denied_matched_policy[{policy}]'"


def _said(name: str) -> str:
    return f"%METADATA(ROUTE:{ROUTE_METADATA}:{name})%"


def _mapper(when: str, refusal: Refusal, *, description: str = "") -> Json:
    if description:
        refusal = Refusal(refusal.case, description, retry_after=refusal.retry_after)
    said = challenges(refusal, challenger=Challenger())
    challenge = percent(said[0]) + _said("tail") if said else ""
    body = percent(problem(refusal).decode())
    return _written(when, refusal.row.status, challenge, body, retry_after=refusal.retry_after)


def _plain(when: str, status: int, detail: str, *, retry_after: int | None = None) -> Json:
    return _written(when, status, "", percent(problem_of(status, detail)), retry_after=retry_after)


def _written(when: str, status: int, challenge: str, body: str, *, retry_after: int | None = None) -> Json:
    headers = [set_header("cache-control", "no-store")]
    if challenge:
        headers.append(set_header("www-authenticate", challenge))
    if retry_after is not None:
        headers.append(set_header("retry-after", str(retry_after)))
    answer: dict[str, Any] = {
        "status_code": status,
        "headers_to_add": headers,
        "body_format_override": {
            "text_format_source": {"inline_string": body},
            "content_type": "application/problem+json",
        },
    }
    return _when(when) | answer


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
