"""Routes where nobody is checked, and what browsers of other origins are told (Fetch §3.3)."""

from __future__ import annotations

import re

from portero.core.policy.cors import EXPOSED, CorsPolicy
from portero.core.policy.manifest import Service
from portero.gateway.envoy.replies import metadata_of
from portero.gateway.envoy.resources import (
    AUTHORIZE,
    CORS,
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
    set_header,
    typed,
)
from portero.gateway.envoy.rules import nothing_required


def open_to_all(service: Service | None) -> Json:
    """No filter checks anything."""
    return {
        **({CORS: left_out()} if service is None else cors(service)),
        JWT: typed("envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig", {"disabled": True}),
        RULES: nothing_required(),
        ORDINARY: left_out(),
        AUTHORIZE: authorize(enabled=False),
        UNKNOWN_KEY: left_out(),
        NORMALIZE: left_out(),
    }


def authorize(*, enabled: bool) -> Json:
    """Whether the Guard is asked."""
    members: Json = {"check_settings": {}} if enabled else {"disabled": True}
    return typed("envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", members)


def cors(service: Service) -> Json:
    """What answers and refusals tell browsers."""
    if not service.cors_origins:
        return {CORS: left_out()}
    return {
        CORS: typed(
            "envoy.extensions.filters.http.cors.v3.CorsPolicy",
            {
                "allow_origin_string_match": [{"exact": origin} for origin in service.cors_origins],
                "expose_headers": EXPOSED,
                "allow_credentials": service.cors_credentials,
            },
        )
    }


def preflights(service: Service, match: Json) -> list[Json]:
    """Preflights are answered before authentication; a page of another origin gets no header that allows."""
    asks = [
        header(":method", {"exact": "OPTIONS"}),
        has_header("origin"),
        has_header("access-control-request-method"),
    ]
    vary = [set_header("vary", "Origin")] if service.cors_origins else []
    routes = []
    if service.cors_origins:
        listed = "|".join(escaped(origin) for origin in service.cors_origins)
        asks_from_ours = [*asks, header("origin", regex(listed))]
        policy = CorsPolicy.for_origins(service.cors_origins, credentials=service.cors_credentials)
        said = dict(policy.preflight_headers(service.cors_origins[0]))
        names = said["access-control-allow-headers"]
        fixed = {name: value for name, value in said.items() if name != "content-length"}
        fixed["access-control-allow-origin"] = "%REQ(ORIGIN)%"
        more = {**fixed, "access-control-allow-headers": f"{names}, %REQ(ACCESS-CONTROL-REQUEST-HEADERS)%"}
        named = has_header("access-control-request-headers")
        routes.append(_answered(service, match, [*asks_from_ours, named], [set_header(*one) for one in more.items()]))
        routes.append(_answered(service, match, asks_from_ours, [set_header(*one) for one in fixed.items()]))
    routes.append(_answered(service, match, asks, vary))
    return routes


def _answered(service: Service, match: Json, headers: list[Json], response_headers: list[Json]) -> Json:
    return {
        "match": {**match, "headers": headers},
        "direct_response": {"status": 204},
        "metadata": metadata_of(service),
        "typed_per_filter_config": open_to_all(None),
        **({"response_headers_to_add": response_headers} if response_headers else {}),
    }


def escaped(text: str) -> str:
    """The text in an RE2 pattern."""
    return re.sub(r"[^A-Za-z0-9/_-]", lambda found: rf"\x{{{ord(found[0]):x}}}", text)
