"""The manifest's limits as plain numbers, read once for each manifest (design §3.4, `[gateway]`)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from portero.core.policy.manifest_gateway import Gateway

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds; 0 means no limit where the manifest says so."""

    header_bytes: int
    headers: int
    body_bytes: int
    connections: int
    connections_per_client: int
    head_within: float
    body_within: float
    connect_within: float
    idle_within: float
    stream_idle_within: float
    retries: int
    trusted: tuple[_Network, ...]
    is_https: bool

    def trusts(self, address: str) -> bool:
        """Whether a peer's `X-Forwarded-*`, `X-Request-ID` and `traceparent` are believed."""
        if not self.trusted:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.trusted)

    def caller_in(self, forwarded_for: bytes) -> bytes | None:
        """Who asks, by the `X-Forwarded-For` of a trusted proxy: the last one there that is no trusted proxy itself.

        Returns:
            `None` where the list names nobody else, or something that is no address.
        """
        for name in reversed(forwarded_for.decode("latin-1").split(",")):
            try:
                address = str(ipaddress.ip_address(name.strip()))
            except ValueError:
                return None
            if not self.trusts(address):
                return address.encode()
        return None


def bounds_of(gateway: Gateway) -> Bounds:
    """Read them."""
    limits, timeouts = gateway.limits, gateway.timeouts
    return Bounds(
        header_bytes=limits.header_bytes,
        headers=limits.headers,
        body_bytes=limits.body_bytes,
        connections=max(1, limits.connections // gateway.workers),
        connections_per_client=limits.connections_per_client,
        head_within=timeouts.headers.total_seconds(),
        body_within=timeouts.request.total_seconds(),
        connect_within=timeouts.connect.total_seconds(),
        idle_within=timeouts.idle.total_seconds(),
        stream_idle_within=timeouts.stream_idle.total_seconds(),
        retries=gateway.retries,
        trusted=tuple(ipaddress.ip_network(network, strict=False) for network in gateway.trusted_proxies),
        is_https=gateway.tls is not None,
    )
