"""The upstreams: one cluster a service, and the Guard behind a socket of this machine."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from portero.core.policy.manifest import Gateway, Manifest, Service
from portero.gateway.envoy.resources import Json, seconds, typed

AUTHORIZE_CLUSTER: Final = "portero.authorize"
_MANY: Final = 1_000_000
"""Of connections and requests: `[gateway.limits]` says how many there are, not a circuit breaker's default."""


def cluster_name(service: Service) -> str:
    """The cluster of a service."""
    return f"service.{service.name}"


def clusters(manifest: Manifest, gateway: Gateway, *, folder: Path, authorize_socket: str) -> list[Json]:
    """All clusters (CDS).

    Args:
        folder: where relative file names in the manifest begin.
        authorize_socket: path of the Guard's socket.
    """
    services = [_service(service, gateway, folder) for service in manifest.services.values()]
    return [*services, _authorize(authorize_socket)]


def _service(service: Service, gateway: Gateway, folder: Path) -> Json:
    places = [urlsplit(upstream) for upstream in service.upstreams]
    secure = any(place.scheme == "https" for place in places)
    hosts = [(place.hostname or "", place.port or (443 if place.scheme == "https" else 80)) for place in places]
    cluster: Json = {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": cluster_name(service),
        "type": "STATIC" if all(_is_address(host) for host, _ in hosts) else "STRICT_DNS",
        "connect_timeout": seconds(gateway.timeouts.connect.total_seconds()),
        "lb_policy": "LEAST_REQUEST" if service.balance == "least_connections" else "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": cluster_name(service),
            "endpoints": [{"lb_endpoints": [_endpoint(host, port) for host, port in hosts]}],
        },
        "circuit_breakers": {"thresholds": [_limits()]},
        # A service's own 500 is its answer; what counts is that it cannot be reached or speaks nonsense.
        "outlier_detection": {
            "consecutive_5xx": 0,
            "consecutive_gateway_failure": 5,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "interval": "5s",
            "base_ejection_time": "10s",
            "max_ejection_percent": 50,
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _protocol(service, gateway)
        },
    }
    if cluster["type"] == "STRICT_DNS":
        cluster["dns_lookup_family"] = "V4_PREFERRED"
    if service.health:
        cluster["health_checks"] = [
            {
                "timeout": "2s",
                "interval": "5s",
                "no_traffic_interval": "5s",
                "unhealthy_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": service.health, "expected_statuses": [{"start": 200, "end": 300}]},
            }
        ]
    if secure:
        name = hosts[0][0]
        authority = str(folder / service.upstream_ca) if service.upstream_ca else system_authorities()
        kind = "IP_ADDRESS" if _is_address(name) else "DNS"
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": typed(
                "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                {
                    **({} if _is_address(name) else {"sni": name}),
                    "common_tls_context": {
                        "validation_context": {
                            "trusted_ca": {"filename": authority},
                            "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": name}}],
                        },
                        **({"alpn_protocols": ["h2"]} if service.protocol == "http2" else {}),
                    },
                },
            ),
        }
    return cluster


def _protocol(service: Service, gateway: Gateway) -> Json:
    idle = {"idle_timeout": seconds(gateway.timeouts.idle.total_seconds())}
    explicit: Json = {"http2_protocol_options": {}} if service.protocol == "http2" else {"http_protocol_options": {}}
    return typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        {"common_http_protocol_options": idle, "explicit_http_config": explicit},
    )


def _authorize(socket: str) -> Json:
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": AUTHORIZE_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": AUTHORIZE_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": socket}}}}]}],
        },
        "circuit_breakers": {"thresholds": [_limits()]},
    }


def _limits() -> Json:
    return {
        "max_connections": _MANY,
        "max_pending_requests": _MANY,
        "max_requests": _MANY,
        "max_retries": 100,
        "track_remaining": False,
    }


def _endpoint(host: str, port: int) -> Json:
    return {"endpoint": {"address": {"socket_address": {"address": host.strip("[]"), "port_value": port}}}}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def system_authorities() -> str:
    """The file of certificates this machine trusts."""
    return ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
