"""What a person recognizes a device by: "Firefox · Linux", and a coarse place of use.

From the user agent and the address, both unverified and for display only. The full address is never kept: a
network prefix is enough to notice a session from elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

UNKNOWN: Final = "Unknown device"
MAX_LENGTH: Final = 60
"""Characters of a name, given or made."""

_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("EdgA", "Edge"),
    ("EdgiOS", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Vivaldi", "Vivaldi"),
    ("FxiOS", "Firefox"),
    ("Firefox", "Firefox"),
    ("CriOS", "Chrome"),
    ("HeadlessChrome", "Chrome"),
    ("Chromium", "Chromium"),
    ("Chrome", "Chrome"),
)
"""Product token → name, in this order: most browsers also claim to be Chrome, and all to be Safari."""
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
_PRODUCT: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,39})(?:/[^\s]*)?(?:\s|$)")


def device_name(unverified_user_agent: str | None) -> str:
    """Name a device from its `User-Agent`, of any length and content.

    Returns:
        "browser · system", a program's product token, or "Unknown device"; at most 60 printable characters.
    """
    agent = (unverified_user_agent or "")[:512]
    browser = _browser(agent)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser is not None:
        return browser if system is None else f"{browser} · {system}"
    if agent.startswith("Mozilla/"):
        return UNKNOWN if system is None else system
    product = _PRODUCT.match(agent)
    return UNKNOWN if product is None else product[1]


def cleaned_device_name(unverified_name: str) -> str | None:
    """Make a name a person typed fit to be shown: one line, printable, at most 60 characters; None where nothing
    is left."""
    name = " ".join("".join(c if c.isprintable() else " " for c in unverified_name).split())[:MAX_LENGTH].strip()
    return name or None


def coarse_place(address: str | None) -> str:
    """Reduce an IP address to its network prefix: /16 for IPv4, /48 for IPv6.

    Returns:
        The prefix, or an empty text for what is no address (a Unix socket, nonsense).
    """
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    bits = 16 if ip.version == 4 else 48
    return str(ipaddress.ip_network((ip, bits), strict=False))


def _browser(agent: str) -> str | None:
    for token, name in _BROWSERS:
        if f"{token}/" in agent:
            return name
    return "Safari" if "Safari/" in agent and "Version/" in agent else None
