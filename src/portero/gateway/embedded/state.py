"""One manifest's meaning for this engine, whole; a reload replaces it as one reference."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from portero.core.errors import ConfigurationError
from portero.core.policy.manifest import Layout, Manifest, Service
from portero.core.policy.manifest_gateway import Gateway, Rate, Tls
from portero.core.policy.manifest_parser import parse_manifest
from portero.gateway.assertions import AssertionKeys, Assertions
from portero.gateway.certificates import load_certificate, upstream_tls
from portero.gateway.embedded.bounds import Bounds, bounds_of
from portero.gateway.embedded.plans import Plans
from portero.gateway.embedded.pool import Cluster
from portero.gateway.embedded.rates import Rates
from portero.gateway.embedded.service_side import ServiceSide
from portero.gateway.engines import Options
from portero.gateway.guards import GatewayGuards

CACHE_ENTRIES: Final = 100_000
"""Verified tokens each service's Guard remembers: a gateway sees everybody's."""
CACHE_BYTES: Final = 384 * 1024 * 1024
"""Their bound, about 60,000 tokens of 800 bytes."""


class State:
    """What holds now.

    Args:
        text: the manifest.
        options: what the gateway was started with.
        instead_of: what held before: what did not change goes on.

    Raises:
        ConfigurationError: it is wrong, or asks for what this engine does not do.
    """

    def __init__(self, text: str, options: Options, *, instead_of: State | None = None) -> None:
        file = options.manifest_file
        self.text = text
        self.manifest: Manifest = parse_manifest(text, file=str(file))
        self.gateway: Gateway = _gateway_of(self.manifest)
        self.bounds: Bounds = bounds_of(self.gateway)
        self._keys_file = file.parent / self.gateway.keys_file
        self._assertion_keys: AssertionKeys | None = None
        assertions = None
        key_set = b'{"keys":[]}'
        if self.manifest.layout is Layout.GATEWAY:
            keys = self._assertion_keys = AssertionKeys.open(self._keys_file)
            assertions = Assertions(keys, issuer=self.gateway.assertion_issuer)
            key_set = keys.jwk_set()
        self.guards: GatewayGuards = GatewayGuards(
            self.manifest,
            options.environ,
            file=str(file),
            clock=options.clock,
            instead_of=None if instead_of is None else instead_of.guards,
            cache_entries=CACHE_ENTRIES,
            cache_bytes=CACHE_BYTES,
        )
        self.services = {
            name: ServiceSide(
                name,
                guard=self.guards.guard(name),
                cluster=_cluster(service, file.parent, instead_of),
                assertions=assertions,
            )
            for name, service in self.manifest.services.items()
        }
        if instead_of is not None:
            for name, side in self.services.items():
                side.failures = instead_of.services[name].failures if name in instead_of.services else 0
        self.plans = Plans(self.manifest, self.services, key_set=lambda: key_set)
        self.per_client = _rates(self.gateway.rate_limits.per_client)
        self.per_subject = _rates(self.gateway.rate_limits.per_subject)

    def keys_were_changed(self) -> bool:
        """Whether the keys of the assertions are other ones now (`portero keys rotate-gateway`)."""
        return self._assertion_keys is not None and self._assertion_keys.differs_from(self._keys_file)


def server_tls(tls: Tls, folder: Path) -> ssl.SSLContext:
    """The listener's TLS.

    Raises:
        ConfigurationError: the certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, tls, folder)
    return context


def _gateway_of(manifest: Manifest) -> Gateway:
    gateway = manifest.gateway
    if gateway is None or manifest.layout is Layout.MIDDLEWARE:
        raise ConfigurationError("layout", manifest.layout.value, 'must be "gateway" or "hybrid" where a gateway runs')
    if gateway.otlp:
        raise ConfigurationError("gateway.otlp", gateway.otlp, "needs --engine envoy: this engine exports no spans")
    for service in manifest.services.values():
        if service.protocol != "http1":
            raise ConfigurationError(
                f"services.{service.name}.protocol",
                service.protocol,
                "needs --engine envoy: this engine speaks HTTP/1.1",
            )
    return gateway


def _cluster(service: Service, folder: Path, instead_of: State | None) -> Cluster:
    before = None if instead_of is None else instead_of.manifest.services.get(service.name)
    if before is not None and instead_of is not None and _servers(before) == _servers(service):
        # Kept connections and what is known of the servers' health go on.
        return instead_of.services[service.name].cluster
    tls = None
    if any(url.startswith("https:") for url in service.upstreams):
        tls = upstream_tls(service, folder)
    return Cluster(service.upstreams, least_connections=service.balance == "least_connections", tls=tls)


def _servers(service: Service) -> tuple[object, ...]:
    return service.upstreams, service.balance, service.upstream_ca, service.health


def _rates(rate: Rate | None) -> Rates | None:
    return None if rate is None else Rates(requests=rate.requests, seconds=rate.seconds)
