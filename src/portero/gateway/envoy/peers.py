"""What is believed of what a peer says about others: nothing, but of the proxies the manifest names.

They have a filter chain of their own, chosen by the address of the connection: a header cannot get
a request there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from portero.core.policy.identity_headers import FORWARDED, IDENTITY, IDENTITY_PREFIXES
from portero.core.policy.manifest import Gateway
from portero.gateway.envoy.resources import Json, typed

_KEPT_FOR_THE_CHECK: Final = (b"authorization", b"dpop")
"""Taken off, or set anew, after the check."""
_SET_BY_ENVOY: Final = (b"x-forwarded-proto",)
_TRACE: Final = (b"traceparent", b"tracestate")
_OF_PROXIES: Final = (b"x-forwarded-for",)
"""Read by Envoy, and set anew before the request leaves."""


def strip(kept: Collection[bytes] = ()) -> Json:
    """Everything a caller could say about who they are, before the first route is chosen."""
    names = (IDENTITY | FORWARDED | set(_TRACE)) - {*_KEPT_FOR_THE_CHECK, *_SET_BY_ENVOY, *kept}
    exact = sorted(name.decode() for name in names)
    either = "|".join([*exact, *(f"{prefix.decode()}.*" for prefix in IDENTITY_PREFIXES)])
    return {
        "name": "strip",
        "typed_config": typed(
            "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            {"mutations": [{"remove_on_match": {"key_matcher": {"safe_regex": {"regex": either}}}}]},
        ),
    }


def behind_proxy(manager: Json, gateway: Gateway) -> Json | None:
    """The connection manager for the proxies; `None`: there are none.

    Args:
        manager: everybody's.
    """
    if not gateway.trusted_proxies:
        return None
    detection = {
        "name": "xff",
        "typed_config": typed(
            "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
            {"xff_trusted_cidrs": {"cidrs": _ranges(gateway)}},
        ),
    }
    return {
        **manager,
        "early_header_mutation_extensions": [strip(_OF_PROXIES + _TRACE)],
        "use_remote_address": False,
        "original_ip_detection_extensions": [detection],
    }


def for_proxies(manager: Json, gateway: Gateway) -> Json:
    """The members of the proxies' filter chain."""
    return {
        "filter_chain_match": {"direct_source_prefix_ranges": _ranges(gateway)},
        "filters": [{"name": "http", "typed_config": manager}],
    }


def _ranges(gateway: Gateway) -> list[Json]:
    networks = []
    for network in gateway.trusted_proxies:
        address, _, length = network.partition("/")
        networks.append({"address_prefix": address, "prefix_len": int(length or (128 if ":" in address else 32))})
    return networks
