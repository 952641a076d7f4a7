"""The manifest's routes as Envoy's: a tree by literal beginnings, then the few routes that can match, the best first.

Precedence is the Guard's (`core.policy.routes`): routes in falling rank, and of several that match
Envoy takes the first. What stands before them refuses or rewrites what is not in the normal form, so
that Envoy never decides about a path that another program could read differently.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portero.core.errors import Unavailable
from portero.core.policy.manifest import Default, Layout, Manifest, Route, Service
from portero.core.policy.manifest_gateway import KEYS_PATH, Gateway
from portero.core.policy.path import PLAIN
from portero.core.policy.protected_resource import metadata_document, metadata_path, metadata_url
from portero.core.policy.refusal import Case, Refusal, unavailable
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import ANY_METHOD, NOT_NAMED, Template
from portero.gateway.envoy import rules
from portero.gateway.envoy.clusters import cluster_name
from portero.gateway.envoy.crossing import authorize, cors, escaped, open_to_all, preflights
from portero.gateway.envoy.ordinary import is_ordinary, lets_pass, path_pattern, token_beginnings
from portero.gateway.envoy.providers import Keys, Way, headers_set, requirement_name
from portero.gateway.envoy.replies import direct_headers, direct_response, metadata_of, route_metadata
from portero.gateway.envoy.resources import (
    AUTHORIZE,
    BUFFER,
    JWT,
    NORMALIZE,
    ORDINARY,
    RULES,
    UNKNOWN_KEY,
    Json,
    has_header,
    header,
    left_out,
    regex,
    seconds,
    set_header,
    typed,
)

ROUTES_NAME: Final = "portero"
NORMAL_MARK: Final = "x-portero-normal"
"""Set by the script on what it has looked at; taken off every request before it is routed."""
_FIRST: Final = re.escape(PLAIN.replace(".", ""))
_NORMAL: Final = rf"/(?:[{_FIRST}][{re.escape(PLAIN)}]*/)*(?:[{_FIRST}][{re.escape(PLAIN)}]*)?(?:[?][^#]*)?"
"""What needs no second look: plain characters, and no segment that begins with a dot (`core.policy.path`)."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One route of one service, as it is matched outside."""

    template: Template
    service: Service
    route: Route

    @property
    def beginning(self) -> str:
        """The path up to the first parameter."""
        literal: list[str] = []
        for segment in self.template.segments:
            if segment is None:
                return "/" + "".join(f"{one}/" for one in literal)
            literal.append(segment)
        return "/" + "/".join(literal)


def route_configuration(manifest: Manifest, gateway: Gateway, *, keys: Keys, assertion_keys: bytes) -> Json:
    """The whole route configuration (RDS).

    Args:
        keys: usable keys by issuer: what only makes requests cheap; no route depends on one.
        assertion_keys: the public JWK Set of the assertions.
    """
    host = {"name": "all", "domains": ["*"], "matcher": _tree(manifest, gateway, keys, assertion_keys)}
    strip = [*headers_set(manifest), NORMAL_MARK, "x-envoy-external-address", "x-envoy-upstream-rq-timeout-ms"]
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        {
            "name": ROUTES_NAME,
            "virtual_hosts": [host],
            "request_headers_to_remove": sorted(strip),
            "request_headers_to_add": [
                set_header("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
                set_header("x-forwarded-host", "%REQ(:AUTHORITY)%"),
            ],
            "max_direct_response_body_size_bytes": 1_048_576,
        },
    )


def _tree(manifest: Manifest, gateway: Gateway, keys: Keys, assertion_keys: bytes) -> Json:
    candidates = [
        _Candidate(route.template.under(gateway.prefix.get(service.name, "")), service, route)
        for service in manifest.services.values()
        for route in service.routes
    ]
    fallbacks = _fallbacks(manifest, gateway)
    own = {KEYS_PATH: [_document(KEYS_PATH, assertion_keys)]} if manifest.layout is Layout.GATEWAY else {}
    for service in manifest.services.values():
        if metadata_url(service.audience) is not None:
            path = metadata_path(service.audience)
            own[path] = [_document(path, _metadata(manifest, service), service)]
    beginnings = {"/"} | {one.beginning for one in candidates} | {prefix or "/" for prefix, _ in fallbacks} | set(own)
    tree = {}
    shared = {prefix for prefix, service in fallbacks if service is None}
    for beginning in sorted(beginnings):
        # Whatever could match a path that begins so, and has no longer beginning in the tree.
        fitting = [one for one in candidates if _may_match(one, beginning)]
        fitting.sort(key=lambda one: one.template.rank, reverse=True)
        here = [(prefix, service) for prefix, service in fallbacks if _reaches(prefix, beginning)]
        nearest = next((service for _, service in here if service is not None), None)
        listed: list[Json] = list(own.get(beginning, ()))
        # What ranks behind a route that is not ordinary could be decided by that one.
        leading = itertools.takewhile(lambda one: is_ordinary(manifest, one.service, one.route), fitting)
        listed += [
            _ordinary(manifest, gateway, one, token)
            for one in leading
            for token in token_beginnings(manifest, one.service, keys)
        ]
        listed += _doubtful(nearest)
        for prefix, decider in here:
            if decider is not None:
                listed += preflights(decider, _under(prefix))
        for one in fitting:
            match = _match(one.template)
            if gateway.prefix.get(one.service.name, "") in shared:
                listed += preflights(one.service, {"safe_regex": match["safe_regex"]})
            listed.append(_served(manifest, gateway, one.service, one.route, match))
        for prefix, decider in here:
            match = _under(prefix)
            if decider is None or decider.default is Default.DENY:
                listed.append(_denied(decider, match))
            else:
                listed.append(_served(manifest, gateway, decider, None, match))
        listed.append(_denied(None, {"prefix": "/"}))
        tree[beginning] = {
            "action": {
                "name": "routes",
                "typed_config": typed("envoy.config.route.v3.RouteList", {"routes": listed}),
            }
        }
    return {
        "matcher_tree": {
            "input": {
                "name": "path",
                "typed_config": typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", {"header_name": ":path"}),
            },
            "prefix_match_map": {"map": tree},
        },
        "on_no_match": {
            "action": {
                "name": "nothing",
                "typed_config": typed("envoy.config.route.v3.Route", _refused(_BAD_PATH, None, {"prefix": ""})),
            }
        },
    }


def _may_match(one: _Candidate, beginning: str) -> bool:
    own = one.beginning
    return beginning == own or beginning.startswith(own if own.endswith("/") else own + "/") or beginning == own + "/"


def _fallbacks(manifest: Manifest, gateway: Gateway) -> list[tuple[str, Service | None]]:
    """Prefix and service that decides what is not named, the longest first; `None`: several share it, nobody passes."""
    found: dict[str, Service | None] = {}
    for service in manifest.services.values():
        prefix = gateway.prefix.get(service.name, "")
        found[prefix] = None if prefix in found else service
    return sorted(found.items(), key=lambda item: -len(item[0]))


# ── one route ────────────────────────────────────────────────────────────────────────


def _match(template: Template) -> Json:
    return {"safe_regex": {"regex": _pattern(template)}, "headers": _methods(template.method)}


def _under(prefix: str) -> Json:
    return {"path_separated_prefix": prefix} if prefix else {"prefix": "/"}


def _reaches(prefix: str, beginning: str) -> bool:
    """Whether a path that begins so may lie under the prefix."""
    return not prefix or beginning == prefix or beginning.startswith(prefix + "/")


def _served(manifest: Manifest, gateway: Gateway, service: Service, route: Route | None, match: Json) -> Json:
    access = service.fallback.access if route is None else route.access
    requirement = access if isinstance(access, Requirement) else None
    by_guard = bool(rules.guard_decides_because(manifest, service, route))
    per_filter: Json = {
        **cors(service),
        JWT: typed("envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig", {"disabled": True}),
        RULES: rules.nothing_required(),
        NORMALIZE: left_out(),
        ORDINARY: left_out(),
        # Where Envoy decides, the Guard is asked only for a path that was written anew.
        AUTHORIZE: authorize(enabled=by_guard) if by_guard or requirement is None else left_out(),
        UNKNOWN_KEY: left_out(),
    }
    if requirement is not None and not by_guard:
        way = Way.CLAIMS if rules.needs_claims(manifest, requirement) else Way.HEADER
        per_filter[JWT] = _verified(service, way)
        per_filter[RULES] = rules.route_rules(manifest, service, requirement)
        # By itself it acts on nothing but a key that is not known.
        del per_filter[UNKNOWN_KEY]
    if route is not None and route.stream:
        # What never ends is never whole: a body is passed on as it comes.
        per_filter[BUFFER] = typed("envoy.extensions.filters.http.buffer.v3.BufferPerRoute", {"disabled": True})
    action = _action(gateway, service, route)
    written: Json = {
        "name": "" if route is None else route.match,
        "match": match,
        "route": action,
        "typed_per_filter_config": per_filter,
        "metadata": route_metadata(
            service,
            requirement,
            route="" if route is None else route.match,
            prefix=gateway.prefix.get(service.name, ""),
        ),
    }
    if service.cors_origins:
        written["response_headers_to_add"] = [
            {"header": {"key": "vary", "value": "Origin"}, "append_action": "ADD_IF_ABSENT"}
        ]
    if manifest.layout is Layout.GATEWAY:
        # The service sees no token and no proof of the caller's; an assertion takes the token's place.
        written["request_headers_to_remove"] = ["dpop"] if requirement is not None else ["authorization", "dpop"]
    return written


def _ordinary(manifest: Manifest, gateway: Gateway, one: _Candidate, token: str) -> Json:
    """A route for ordinary requests, before every doubt; what it does not match, the route of `_served` does."""
    match = {
        "safe_regex": {"regex": path_pattern(one.template)},
        "headers": [
            *_methods(one.template.method),
            header("authorization", {"prefix": token}),
            # The filters of a path that was written anew are chosen, and are those of the other way.
            {**has_header(NORMAL_MARK), "invert_match": True},
        ],
    }
    written = _served(manifest, gateway, one.service, one.route, match)
    written["typed_per_filter_config"] |= {
        JWT: _verified(one.service, Way.ORDINARY),
        ORDINARY: lets_pass(manifest, one.service, one.route),
        RULES: left_out(),
    }
    return written


def _verified(service: Service, way: Way) -> Json:
    name = requirement_name(service.name, way)
    return typed("envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig", {"requirement_name": name})


def _action(gateway: Gateway, service: Service, route: Route | None) -> Json:
    stream = route is not None and route.stream
    limit = gateway.timeouts.response if route is None or route.timeout is None else route.timeout
    action: Json = {
        "cluster": cluster_name(service),
        # A stream is limited by what the Guard says of its token (`authorize`), and while nothing moves.
        "timeout": "0s" if stream else seconds(limit.total_seconds()),
        "idle_timeout": seconds(gateway.timeouts.stream_idle.total_seconds() if stream else limit.total_seconds()),
    }
    if stream:
        action["max_stream_duration"] = {"grpc_timeout_header_max": "0s"}
        action["upgrade_configs"] = [{"upgrade_type": "websocket", "enabled": True}]
    if gateway.retries:
        action["retry_policy"] = _retries(gateway, route)
    prefix = gateway.prefix.get(service.name, "")
    if prefix:
        action["regex_rewrite"] = {"pattern": {"regex": f"^{escaped(prefix)}/?"}, "substitution": "/"}
    return action


_SAFE_TO_REPEAT: Final = frozenset({"GET", "PUT", "DELETE", "OPTIONS"})


def _retries(gateway: Gateway, route: Route | None) -> Json:
    # A connection that was never made asked nothing; one that was closed before the request was sent neither.
    on = ["connect-failure", "refused-stream", "reset-before-request"]
    if route is not None and route.template.method in _SAFE_TO_REPEAT:
        on.append("reset")
    return {
        "retry_on": ",".join(on),
        "num_retries": gateway.retries,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
        "host_selection_retry_max_attempts": 3,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }


def _pattern(template: Template) -> str:
    written = ""
    last = len(template.segments) - 1
    for index, segment in enumerate(template.segments):
        if segment is not None:
            written += "/" + escaped(segment)
        elif template.takes_rest and index == last:
            written += "/.+"
        else:
            written += "/[^/]+"
    return written + "/?"


def _methods(method: str) -> list[Json]:
    if method == ANY_METHOD:
        return []
    return [header(":method", regex("GET|HEAD") if method == "GET" else {"exact": method})]


# ── answers of the gateway's own ─────────────────────────────────────────────────────

_BAD_PATH: Final = Refusal(Case.BAD_REQUEST, "The request target does not begin with a slash.")
_BAD_METHOD: Final = Refusal(Case.BAD_REQUEST, "The request method is not written in capitals.")
NOT_READY: Final = unavailable(Unavailable("the gateway is not ready", retry_after=1))


def _refused(refusal: Refusal, service: Service | None, match: Json) -> Json:
    return {
        "match": match,
        "direct_response": direct_response(refusal),
        "metadata": metadata_of(service),
        "response_headers_to_add": direct_headers(refusal, service),
        "typed_per_filter_config": open_to_all(service),
    }


def _denied(service: Service | None, match: Json) -> Json:
    return _refused(NOT_NAMED, service, match)


def nothing_yet() -> Json:
    """The routes of a gateway that is not ready."""
    answer = {
        "match": {"prefix": "/"},
        "direct_response": direct_response(NOT_READY),
        "metadata": metadata_of(None),
        "response_headers_to_add": direct_headers(NOT_READY, None),
    }
    return {"name": "not ready", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]}


def _doubtful(service: Service | None) -> list[Json]:
    """What may not be in the normal form: the script refuses it, or writes it anew and has it routed again."""
    look = typed("envoy.extensions.filters.http.lua.v3.LuaPerRoute", {"name": NORMALIZE})
    headers = [header(":path", regex(_NORMAL), invert=True), {**has_header(NORMAL_MARK), "invert_match": True}]
    capitals = header(":method", regex("[^a-z]*[A-Z][^a-z]*"), invert=True)
    return [
        {
            **_refused(_BAD_PATH, service, {"prefix": "/", "headers": headers}),
            # Whatever the route to be may need is made here: filters are chosen by the first route.
            "typed_per_filter_config": {
                **open_to_all(service),
                UNKNOWN_KEY: authorize(enabled=False),
                NORMALIZE: look,
            },
        },
        _refused(_BAD_METHOD, service, {"prefix": "/", "headers": [capitals]}),
        # It would say the caller's headers back (RFC 9110 §9.3.8).
        _refused(NOT_NAMED, service, {"prefix": "/", "headers": [header(":method", {"exact": "TRACE"})]}),
    ]


def _document(path: str, content: bytes, service: Service | None = None) -> Json:
    return {
        "match": {"path": path, "headers": [header(":method", regex("GET|HEAD"))]},
        "direct_response": {"status": 200, "body": {"inline_string": content.decode()}},
        "metadata": metadata_of(service),
        "response_headers_to_add": [
            set_header("content-type", "application/json"),
            set_header("cache-control", "max-age=300"),
        ],
        "typed_per_filter_config": open_to_all(service),
    }


def _metadata(manifest: Manifest, service: Service) -> bytes:
    scopes: set[str] = set()
    for access in (service.fallback.access, *(route.access for route in service.routes)):
        if isinstance(access, Requirement):
            scopes |= access.scopes | access.scopes_any
    return metadata_document(
        resource=service.audience,
        authorization_servers=[manifest.issuers[name].issuer for name in service.issuers],
        scopes=sorted(scopes),
    )


def notes(manifest: Manifest) -> Sequence[str]:
    """What the compiler has to say: which routes go through the Guard, and why."""
    said = []
    for service in manifest.services.values():
        listed: list[Route | None] = [*service.routes, None]
        for route in listed:
            because = rules.guard_decides_because(manifest, service, route)
            if because:
                match = f"the default of [services.{service.name}]" if route is None else f"{route.match!r}"
                said.append(f"{match} is decided by the Guard (ext_authz): {', '.join(because)}")
    return said
