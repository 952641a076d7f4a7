"""`[gateway]` → `Gateway`: what its values mean, alone and together."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from portero.core.policy.manifest_gateway import Gateway, Limits, RateLimits, Timeouts, Tls, rate_of
from portero.core.policy.manifest_reader import Places
from portero.core.policy.path import AmbiguousPath, normal_path


def read_gateway(table: Mapping[str, Any], *, services: Mapping[str, object], places: Places) -> Gateway:
    """Make the gateway's values of what the reader found.

    Args:
        table: as read, of the kinds the keys ask for.
        services: the manifest's, by name.
        places: where mistakes are noted.
    """
    for name in ("listen", "admin"):
        if name in table and not 0 <= int(table[name].rpartition(":")[2] or "-1") <= 65535:
            places.wrong(("gateway", name), table[name], "the port is 0 to 65535")
    for index, network in enumerate(table.get("trusted_proxies", ())):
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            places.wrong(("gateway", "trusted_proxies", index), network, f"must be a network: {error}")
    given = {name: value for name, value in table.items() if name not in _TABLES}
    given["prefix"] = _prefixes(table.get("prefix", {}), services=services, places=places)
    if "tls" in table:
        given["tls"] = Tls(**{"certificate": "", "key": "", **table["tls"]})
    if "limits" in table:
        given["limits"] = Limits(**table["limits"])
    if "timeouts" in table:
        given["timeouts"] = Timeouts(**table["timeouts"])
        for name, duration in table["timeouts"].items():
            if duration is not None and not duration:
                places.wrong(("gateway", "timeouts", name), "0", "must be longer than nothing")
    if "rate_limits" in table:
        given["rate_limits"] = RateLimits(**{name: _rate(text) for name, text in table["rate_limits"].items()})
    return Gateway(**{"listen": "", **given})


_TABLES = ("prefix", "tls", "limits", "timeouts", "rate_limits")


def _rate(text: str) -> Any:
    try:
        return rate_of(text)
    except ValueError:
        return None  # the reader has noted that it is no rate


def _prefixes(table: Mapping[str, str], *, services: Mapping[str, object], places: Places) -> Mapping[str, str]:
    prefixes = {}
    for name, prefix in table.items():
        at = ("gateway", "prefix", name)
        if name not in services:
            places.wrong(at, prefix, f"must be for one of [services]: {', '.join(sorted(services))}")
        try:
            normal = normal_path(prefix.encode())
        except AmbiguousPath as error:
            places.wrong(at, prefix, f"could not be requested: {error.description}")
            continue
        if normal != prefix or prefix.endswith("/"):
            places.wrong(at, prefix, f"must be written as {normal.rstrip('/')!r}")
        prefixes[name] = normal
    return prefixes
