"""The listener: connection manager, filters in their order, limits, timeouts, TLS and the access log."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from portero.core.policy.manifest import Gateway, Manifest
from portero.core.policy.manifest_gateway import Rate
from portero.gateway.envoy import revoked, rules
from portero.gateway.envoy.access_log import access_loggers
from portero.gateway.envoy.clusters import AUTHORIZE_CLUSTER, system_authorities
from portero.gateway.envoy.matching import RBAC, WITH_MATCHER
from portero.gateway.envoy.ordinary import ordinary_filter
from portero.gateway.envoy.peers import behind_proxy, for_proxies, strip
from portero.gateway.envoy.replies import REASON_HEADER, mappers
from portero.gateway.envoy.resources import (
    AUTHORIZE,
    BUFFER,
    CLIENT_RATE,
    CORS,
    JWT,
    NORMALIZE,
    ORDINARY,
    RULES,
    SUBJECT_HEADER,
    SUBJECT_RATE,
    UNKNOWN_KEY,
    Json,
    file_source,
    seconds,
    typed,
)
from portero.gateway.envoy.routes import ROUTES_NAME, nothing_yet

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ASKED = ("authorization", "dpop", "cookie", "origin", "sec-fetch-site", "upgrade", "content-type", "grpc-timeout")
"""Request headers the Guard is told, beside the names of cookies' headers."""


def listener(
    manifest: Manifest, gateway: Gateway, *, folder: Path, delivered: Path, access_log: bool, authorize_seconds: float
) -> Json:
    """The listener (LDS).

    Args:
        folder: where relative file names in the manifest begin.
        delivered: where routes, keys and revocations are delivered.
        access_log: whether each request is a JSON line on standard output.
        authorize_seconds: how long the Guard may take, which may have to fetch keys.
    """
    manager = _manager(manifest, gateway, delivered, access_log, authorize_seconds)
    return _listener(gateway, folder, manager, behind_proxy(manager, gateway))


def not_ready_listener(gateway: Gateway, *, folder: Path) -> Json:
    """The listener until keys and revocations are in."""
    members = {
        "stat_prefix": "gateway",
        "route_config": nothing_yet(),
        "http_filters": [_filter("router", "envoy.extensions.filters.http.router.v3.Router")],
        "local_reply_config": {"mappers": mappers()},
        "server_header_transformation": "PASS_THROUGH",
    }
    return _listener(gateway, folder, typed(_HCM, members))


def _listener(gateway: Gateway, folder: Path, manager: Json, proxied: Json | None = None) -> Json:
    host, _, port = gateway.listen.rpartition(":")
    chain: Json = {"filters": [{"name": "http", "typed_config": manager}]}
    if gateway.tls is not None:
        certificate = {
            "certificate_chain": {"filename": str(folder / gateway.tls.certificate)},
            "private_key": {"filename": str(folder / gateway.tls.key)},
            "watched_directory": {"path": str((folder / gateway.tls.certificate).parent)},
        }
        context = {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificates": [certificate],
        }
        chain["transport_socket"] = {
            "name": "tls",
            "typed_config": typed(
                "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", {"common_tls_context": context}
            ),
        }
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "gateway",
        "address": {"socket_address": {"address": _bindable(host), "port_value": int(port)}},
        "per_connection_buffer_limit_bytes": 131_072,
        "filter_chains": [chain, *([] if proxied is None else [chain | for_proxies(proxied, gateway)])],
    }


def _bindable(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host.strip("[]")


def _manager(manifest: Manifest, gateway: Gateway, delivered: Path, access_log: bool, authorize_seconds: float) -> Json:
    limits, timeouts = gateway.limits, gateway.timeouts
    members: Json = {
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "rds": {
            "route_config_name": ROUTES_NAME,
            "config_source": file_source(str(delivered), "rds.json"),
        },
        "http_filters": _filters(manifest, gateway, delivered, authorize_seconds),
        "access_log": access_loggers(lines=access_log),
        "early_header_mutation_extensions": [strip()],
        "local_reply_config": {"mappers": mappers()},
        "server_header_transformation": "PASS_THROUGH",
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "strip_trailing_host_dot": True,
        "max_request_headers_kb": max(1, limits.header_bytes // 1024),
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": limits.headers,
            "idle_timeout": seconds(timeouts.idle.total_seconds()),
        },
        "http2_protocol_options": {"max_concurrent_streams": 128, "initial_stream_window_size": 65_536},
        "request_headers_timeout": seconds(timeouts.headers.total_seconds()),
        "request_timeout": seconds(timeouts.request.total_seconds()),
        "stream_idle_timeout": seconds(timeouts.stream_idle.total_seconds()),
        "drain_timeout": seconds(gateway.drain.total_seconds()),
        "delayed_close_timeout": "1s",
        "stream_error_on_invalid_http_message": False,
    }
    if gateway.otlp:
        members["tracing"] = _tracing(gateway.otlp)
    return typed(_HCM, members)


def _tracing(collector: str) -> Json:
    scheme, _, place = collector.partition("://")
    service: Json = {"target_uri": place, "stat_prefix": "otlp"}
    if scheme == "https":
        service["channel_credentials"] = {"ssl_credentials": {"root_certs": {"filename": system_authorities()}}}
    return {
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": typed(
                "envoy.config.trace.v3.OpenTelemetryConfig",
                {"service_name": "portero-gateway", "grpc_service": {"google_grpc": service}},
            ),
        },
        # Envoy's own tag has the query, which may hold a token (attack row 81).
        "custom_tags": [{"tag": "http.url", "value": "%REQ(:SCHEME)%://%REQ(:AUTHORITY)%%PATH(NQ)%"}],
    }


def _filters(manifest: Manifest, gateway: Gateway, delivered: Path, authorize_seconds: float) -> list[Json]:
    filters = [_filter(CORS, "envoy.extensions.filters.http.cors.v3.Cors")]
    if gateway.rate_limits.per_client:
        filters.append(_rate(CLIENT_RATE, gateway.rate_limits.per_client, "remote_address", {"remote_address": {}}))
    lua, jwt = (
        "envoy.extensions.filters.http.lua.v3.Lua",
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    )
    script = files("portero.gateway.envoy").joinpath("normalize.lua").read_text(encoding="utf-8")
    filters += [
        _filter(NORMALIZE, lua, {"source_codes": {NORMALIZE: {"inline_string": script}}}),
        _delivered(JWT, (jwt,), "keys.json", delivered),
    ]
    for place in range(len(manifest.issuers)):
        for generation in revoked.GENERATIONS:
            name = revoked.filter_name(place, generation)
            filters.append(_delivered(name, (WITH_MATCHER, RBAC), f"{name}.json", delivered))
    # Where there is no route at all, both are there, and the first denies.
    filters.append({"name": RULES, "typed_config": rules.deny_all()})
    filters.append({"name": ORDINARY, "typed_config": ordinary_filter(manifest)})
    names = sorted({service.cookie.header for service in manifest.services.values() if service.cookie})
    unknown = {
        "filter": JWT,
        "path": [{"key": "failed"}, {"key": "message"}],
        "value": {"string_match": {"exact": rules.JWT_UNKNOWN_KEY}},
    }
    filters += [
        _filter(
            UNKNOWN_KEY,
            "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            {**_authorization(names, authorize_seconds), "filter_enabled_metadata": unknown},
        ),
        _filter(
            AUTHORIZE, "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", _authorization(names, authorize_seconds)
        ),
    ]
    if gateway.rate_limits.per_subject:
        subject = {"request_headers": {"header_name": SUBJECT_HEADER, "descriptor_key": "subject"}}
        filters.append(_rate(SUBJECT_RATE, gateway.rate_limits.per_subject, "subject", subject))
    if gateway.limits.body_bytes:
        filters.append(
            _filter(
                BUFFER,
                "envoy.extensions.filters.http.buffer.v3.Buffer",
                {"max_request_bytes": min(gateway.limits.body_bytes, 2**32 - 1)},
            )
        )
    filters.append(
        _filter("router", "envoy.extensions.filters.http.router.v3.Router", {"suppress_envoy_headers": True})
    )
    return filters


def _filter(name: str, kind: str, members: Json | None = None) -> Json:
    return {"name": name, "typed_config": typed(kind, members)}


def _delivered(name: str, kinds: Sequence[str], file: str, delivered: Path) -> Json:
    return {
        "name": name,
        "config_discovery": {
            "config_source": file_source(str(delivered), file),
            "type_urls": [f"type.googleapis.com/{kind}" for kind in kinds],
        },
    }


def _authorization(cookie_headers: list[str], timeout: float) -> Json:
    def exactly(names: list[str]) -> Json:
        return {"patterns": [{"exact": name, "ignore_case": True} for name in names]}

    return {
        "http_service": {
            "server_uri": {"uri": "http://portero", "cluster": AUTHORIZE_CLUSTER, "timeout": seconds(timeout)},
            "authorization_response": {
                "allowed_upstream_headers": exactly(["authorization", "cookie", SUBJECT_HEADER, "grpc-timeout"]),
                "allowed_client_headers": exactly(
                    ["www-authenticate", "content-type", "cache-control", "retry-after", "dpop-nonce"]
                ),
                "allowed_client_headers_on_success": exactly(["dpop-nonce"]),
                "dynamic_metadata_from_headers": exactly([REASON_HEADER]),
            },
        },
        "allowed_headers": exactly([*_ASKED, *cookie_headers]),
        "failure_mode_allow": False,
        "status_on_error": {"code": "ServiceUnavailable"},
        # The stream's limit, `grpc-timeout`, is read when the route is chosen again.
        "clear_route_cache": True,
    }


def _rate(name: str, rate: Rate, key: str, action: Json) -> Json:
    bucket = {"max_tokens": rate.requests, "tokens_per_fill": rate.requests, "fill_interval": seconds(rate.seconds)}
    return _filter(
        name,
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        {
            "stat_prefix": name.replace(".", "_"),
            "token_bucket": {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "1s"},
            "filter_enabled": {"default_value": {"numerator": 100}},
            "filter_enforced": {"default_value": {"numerator": 100}},
            "rate_limits": [{"actions": [action]}],
            "descriptors": [{"entries": [{"key": key}], "token_bucket": bucket}],
            "max_dynamic_descriptors": 100_000,
            "always_consume_default_token_bucket": False,
        },
    )
