"""The ordinary request, decided the shortest way: a path that is plainly in the normal form, a usual token, scopes.

What a request needs is known before any filter runs: the route says it where the path needs no second look and
the token begins with the very header that issuers write for a key we know, which settles `typ` (RFC 7515 §4.1.9).
Then `jwt_authn` hands on a few claims, one tree looks at them, and no filter is made that only a doubtful request
needs. Every other request takes the way of `rules`, which says the same in more words.
"""

from __future__ import annotations

import json
import re
from typing import Final

import orjson

from portero.core.jose.base64url import encode
from portero.core.policy.manifest import Manifest, Route, Service
from portero.core.policy.path import PLAIN
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import Template
from portero.core.revocation.entry import RevokedKind
from portero.core.tokens.access_token import TYP
from portero.gateway.envoy import rules
from portero.gateway.envoy.matching import all_of, any_of, matches, on_route, passes_if, pattern, runs_unless
from portero.gateway.envoy.providers import CONFIRMED_HEADER, FAILED_STATUS, Keys, place_of
from portero.gateway.envoy.resources import (
    SCOPE_HEADER,
    SUBJECT_HEADER,
    Json,
    all_ids,
    any_id,
    has_header,
    metadata_id,
    not_id,
)
from portero.gateway.envoy.revoked import header_of

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
"""`OPTIONS` may be a preflight, and `*` any word at all."""
_FIRST: Final = re.escape(PLAIN.replace(".", ""))
_SEGMENT: Final = rf"[{_FIRST}][{re.escape(PLAIN)}]*"
_PLAIN_SEGMENT: Final = re.compile(_SEGMENT)


def is_ordinary(manifest: Manifest, service: Service, route: Route) -> bool:
    """Whether requests of a route can be decided so. Of several issuers each would say why it is not its own."""
    requirement = route.access
    return (
        isinstance(requirement, Requirement)
        and not route.stream
        and len(service.issuers) == 1
        and route.template.method in _METHODS
        and all(one is None or _PLAIN_SEGMENT.fullmatch(one) for one in route.template.segments)
        and not rules.needs_claims(manifest, requirement)
        and not rules.guard_decides_because(manifest, service, route)
    )


def path_pattern(template: Template) -> str:
    """What the template matches of paths that are plainly in the normal form (`core.policy.path`)."""
    written = ""
    last = len(template.segments) - 1
    for index, segment in enumerate(template.segments):
        if segment is not None:
            written += "/" + re.escape(segment)
        elif template.takes_rest and index == last:
            written += rf"(?:/{_SEGMENT})+"
        else:
            written += "/" + _SEGMENT
    return written + "/?"


def token_beginnings(manifest: Manifest, service: Service, keys: Keys) -> list[str]:
    """What `authorization` begins with: the whole header of a token by a known key, as most issuers write it.

    A pattern would look at all of the token. Whether the key is still known is for `jwt_authn` to say.
    """
    typs = [TYP]
    if all(manifest.issuers[name].insecure_accept_typ_jwt for name in service.issuers):
        typs.append("JWT")
    known = [key for name in service.issuers for key in keys.get(name, ()) if key.kid]
    headers = [{"alg": key.alg, "kid": key.kid, "typ": typ} for key in known for typ in typs]
    spelled = [(orjson.dumps(one), json.dumps(one, ensure_ascii=False).encode()) for one in headers]
    return [f"Bearer {encode(header)}." for both in spelled for header in both]


def lets_pass(manifest: Manifest, service: Service, route: Route) -> Json:
    """The per-route configuration: who passes; everyone else is told why by the filter's own (`ordinary_filter`)."""
    wanted = [
        matches("authorization", pattern(rules.ONE_TOKEN)),
        # Hardly a request has a query: the pattern is for those that have.
        any_of(
            [
                matches(":path", {"contains": "?"}, invert=True),
                matches(":path", pattern(rules.QUERY_TOKEN), invert=True),
            ]
        ),
        *[_given(name) for name in _required(place_of(manifest, service.issuers[0]))],
        matches(CONFIRMED_HEADER, pattern(_SOMETHING), invert=True),
    ]
    if isinstance(route.access, Requirement):
        wanted += [_scope(scope) for scope in sorted(route.access.scopes)]
        wanted += [any_of([_scope(scope) for scope in sorted(route.access.scopes_any)])][
            : bool(route.access.scopes_any)
        ]
    return on_route(passes_if(all_of(wanted)))


def ordinary_filter(manifest: Manifest) -> Json:
    """The filter: no route passes that says nothing, and who does not pass is told why.

    The order of the reasons is that of the Guard's checks.
    """
    complete = [
        all_ids([{"header": has_header(name)} for name in _required(place)]) for place in range(len(manifest.issuers))
    ]
    # The Guard decides, which may have to fetch keys.
    known = not_id(rules.unknown_key())
    policies = {
        rules.TWO_TOKENS: rules.two_tokens(),
        **rules.failures(),
        rules.FAILED: any_id(
            [rules.not_one_token(), all_ids([known, metadata_id([FAILED_STATUS], {"present_match": True})])]
        ),
        rules.CLAIMS: all_ids([known, not_id(any_id(complete))]),
        rules.BOUND: {"header": has_header(CONFIRMED_HEADER)},
        rules.SCOPE: known,
    }
    nobody = matches("authorization", {"exact": "nobody"})
    return runs_unless(passes_if(nobody), rules.denied(policies))


_SOMETHING: Final = r"\C+"


def _given(name: str) -> Json:
    return matches(name, pattern(_SOMETHING))


def _required(place: int) -> tuple[str, ...]:
    return (header_of(RevokedKind.TOKEN, place), header_of(RevokedKind.CLIENT, place), SUBJECT_HEADER)


def _scope(scope: str) -> Json:
    return any_of([matches(SCOPE_HEADER, {"exact": scope}), matches(SCOPE_HEADER, pattern(rules.scope_pattern(scope)))])
