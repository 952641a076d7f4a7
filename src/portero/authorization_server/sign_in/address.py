"""Where a request comes from: the peer's address, or what a trusted proxy says of it.

`X-Forwarded-For` counts only from the right, and only while the speaker is a configured proxy:
everything left of the first stranger is that stranger's own invention.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


def client_address(peer: str | None, *, forwarded_for: Sequence[str], trusted_proxies: Sequence[str]) -> Address | None:
    """Return the address of the client, or None where the peer has none (a Unix socket without a trusted word).

    Args:
        peer: the socket's other end.
        forwarded_for: the `X-Forwarded-For` header lines, in order.
        trusted_proxies: networks in CIDR notation.
    """
    current = _parse(peer)
    networks = [ip_network(network, strict=False) for network in trusted_proxies]
    hops = [hop.strip() for line in forwarded_for for hop in line.split(",")]
    while hops and current is not None and any(current in network for network in networks):
        named = _parse(hops.pop())
        if named is None:
            break
        current = named
    return current


def limiting_key(address: Address | None) -> str:
    """What limits count by: an IPv4 address, or the /64 that one IPv6 customer commands."""
    if address is None:
        return ""
    return str(address) if address.version == 4 else str(IPv6Network((address, 64), strict=False))


def _parse(text: str | None) -> Address | None:
    if not text:
        return None
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    # ::ffff:192.0.2.1 is 192.0.2.1 seen through a socket of both families.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
