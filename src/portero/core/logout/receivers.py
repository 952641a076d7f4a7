"""Where logout tokens and security events may be sent: which URIs, and which addresses behind their names.

A receiver's URI is chosen by whoever registers it, and the request comes from inside our network: it must not
reach what only we can reach (server-side request forgery). The name is resolved once, each address it has is
judged here, and the connection goes to a judged address and no other, so that a name that changes between
check and use gains nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

_EXPECTED: Final = (
    "an absolute https:// URI of at most 2000 characters, without user name or fragment "
    "(http:// only for a loopback host, for development)"
)
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
# What carries an IPv4 address inside: the address it leads to is another than the one that is judged.
_TRANSLATED: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))

# What was site-local is nobody's any more, and Python takes it for public.
_SITE_LOCAL: Final = ipaddress.IPv6Network("fec0::/10")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def check_receiver_uri(uri: str) -> None:
    """Refuse a URI that tokens are not sent to (Back-Channel Logout 1.0 §2.2, RFC 8935 §2).

    Raises:
        ValueError: says what it may be.
    """
    # `isprintable` and no space: nothing that could begin another header or request.
    if not (0 < len(uri) <= 2000 and uri.isascii() and uri.isprintable()) or " " in uri or "\\" in uri:
        raise ValueError(_EXPECTED)
    try:
        url = urlsplit(uri)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    secure = url.scheme == "https" or (url.scheme == "http" and host in _LOOPBACK_NAMES)
    if not secure or not host or url.username is not None or "#" in uri:
        raise ValueError(_EXPECTED)


def may_be_told(address: str, *, networks: Sequence[Network]) -> bool:
    """Tell whether a receiver may have this address: a public one, or one of the operator's `networks`.

    Args:
        address: as the resolver gave it.
        networks: what the operator allows beside the public internet.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if any(found.version == network.version and found in network for network in networks):
        return True
    if isinstance(found, ipaddress.IPv6Address) and any(found in network for network in (*_TRANSLATED, _SITE_LOCAL)):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved
