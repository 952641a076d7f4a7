"""A manifest and what is known of keys, as the files Envoy reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from portero.core.errors import ConfigurationError
from portero.core.policy.manifest import Gateway, Layout, Manifest
from portero.core.revocation.entry import RevokedKind
from portero.gateway.envoy import revoked
from portero.gateway.envoy.clusters import clusters
from portero.gateway.envoy.listener import listener, not_ready_listener
from portero.gateway.envoy.providers import Keys, jwt_filter
from portero.gateway.envoy.resources import JWT, Json, file_source, seconds, typed
from portero.gateway.envoy.routes import route_configuration

AUTHORIZE_SECONDS = 8.0
"""How long the Guard may take: it may have to wait for keys (`key_sets.REQUEST_PATIENCE`)."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are on this machine."""

    manifest_folder: Path
    """Where relative file names in the manifest begin."""
    delivered: Path
    """Where the files are that Envoy watches."""
    authorize_socket: Path
    admin_socket: Path


def gateway_of(manifest: Manifest) -> Gateway:
    """The manifest's gateway.

    Raises:
        ConfigurationError: it has none, or asks for what Envoy cannot do.
    """
    if manifest.gateway is None or manifest.layout is Layout.MIDDLEWARE:
        raise ConfigurationError("layout", manifest.layout.value, 'must be "gateway" or "hybrid" where a gateway runs')
    if manifest.gateway.limits.connections_per_client:
        raise ConfigurationError(
            "gateway.limits.connections_per_client",
            manifest.gateway.limits.connections_per_client,
            "needs --engine embedded: Envoy counts the connections of all clients together (`connections`)",
        )
    return manifest.gateway


def bootstrap(gateway: Gateway, places: Places) -> Json:
    """What Envoy is started with; everything else is delivered."""
    folder = str(places.delivered)
    return {
        "node": {"id": "portero-gateway", "cluster": "portero-gateway"},
        "admin": {"address": {"pipe": {"path": str(places.admin_socket), "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": file_source(folder, "lds.json"),
            "cds_config": file_source(folder, "cds.json"),
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": typed(
                        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        {"max_active_downstream_connections": gateway.limits.connections},
                    ),
                }
            ]
        },
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 100_000}}]
        },
        "stats_flush_interval": seconds(5),
    }


def discovery(kind: str, resources: list[Json]) -> bytes:
    """A file of resources, whose version is what it holds."""
    listed = orjson.dumps([{"@type": f"type.googleapis.com/{kind}", **one} for one in resources])
    version = sha256(listed).hexdigest()[:_VERSION_LENGTH].encode()
    return b"".join((_VERSION, version, b'","resources":', listed, b"}"))


_VERSION = b'{"version_info":"'
_VERSION_LENGTH = 16


def extension(name: str, config: Json) -> bytes:
    """A file that delivers one filter (ECDS)."""
    return discovery("envoy.config.core.v3.TypedExtensionConfig", [{"name": name, "typed_config": config}])


def files_of(
    manifest: Manifest,
    places: Places,
    *,
    keys: Keys,
    assertion_keys: bytes,
    access_log: bool,
) -> Mapping[str, bytes]:
    """Every delivered file but the revocations, by name, in the order in which they are to be written.

    Args:
        keys: usable keys by issuer.
        assertion_keys: the public JWK Set of the assertions.
        access_log: whether each request is a JSON line on standard output.
    """
    gateway = gateway_of(manifest)
    routes = route_configuration(manifest, gateway, keys=keys, assertion_keys=assertion_keys)
    return {
        "cds.json": discovery(
            "envoy.config.cluster.v3.Cluster",
            clusters(manifest, gateway, folder=places.manifest_folder, authorize_socket=str(places.authorize_socket)),
        ),
        "keys.json": extension(JWT, jwt_filter(manifest, keys)),
        "rds.json": discovery("envoy.config.route.v3.RouteConfiguration", [routes]),
        "lds.json": discovery(
            "envoy.config.listener.v3.Listener",
            [
                listener(
                    manifest,
                    gateway,
                    folder=places.manifest_folder,
                    delivered=places.delivered,
                    access_log=access_log,
                    authorize_seconds=AUTHORIZE_SECONDS,
                )
            ],
        ),
    }


def waiting_listener(gateway: Gateway, places: Places) -> Mapping[str, bytes]:
    """What is delivered before keys and revocations are in: every request is refused with 503."""
    return {
        "cds.json": discovery("envoy.config.cluster.v3.Cluster", []),
        "lds.json": discovery(
            "envoy.config.listener.v3.Listener", [not_ready_listener(gateway, folder=places.manifest_folder)]
        ),
    }


def revoked_file(place: int, generation: str, names: Mapping[RevokedKind, list[str]]) -> tuple[str, bytes, str]:
    """Name, content and version of one file of revocations."""
    name = revoked.filter_name(place, generation)
    content = extension(name, revoked.revoked_filter(names, place))
    return f"{name}.json", content, version_of(content)


def version_of(content: bytes) -> str:
    """What Envoy says of a delivered file (`version_text`) once it has taken it over."""
    return content[len(_VERSION) : len(_VERSION) + _VERSION_LENGTH].decode()
