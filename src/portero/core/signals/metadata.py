"""The transmitter's configuration document (SSF 1.0 §7.1), and every path it names."""

from __future__ import annotations

from typing import Any, Final

from portero.core.oauth.metadata import JWKS, Endpoints
from portero.core.outbox_records import DeliveryMethod
from portero.core.types import Issuer

WELL_KNOWN: Final = "/.well-known/ssf-configuration"
STREAMS: Final = "ssf/streams"
STATUS: Final = "ssf/status"
VERIFY: Final = "ssf/verify"
POLL: Final = "ssf/poll"
"""Below it: the streams' ids."""
READ: Final = "ssf.read"
MANAGE: Final = "ssf.manage"


def transmitter_metadata(issuer: Issuer) -> dict[str, Any]:
    """Return the document's members.

    There is no endpoint for subjects: a stream is told of every session (`default_subjects`).
    """
    endpoints = Endpoints.of(issuer)
    return {
        "spec_version": "1_0",
        "issuer": issuer,
        "jwks_uri": endpoints.url(JWKS),
        "delivery_methods_supported": [method.value for method in DeliveryMethod],
        "configuration_endpoint": endpoints.url(STREAMS),
        "status_endpoint": endpoints.url(STATUS),
        "verification_endpoint": endpoints.url(VERIFY),
        "critical_subject_members": ["session"],
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
        "default_subjects": "ALL",
    }


def well_known_path(issuer: Issuer) -> str:
    """Where the document is: the well-known part comes before the issuer's own path (SSF 1.0 §7.2)."""
    return WELL_KNOWN + Endpoints.of(issuer).base


def poll_url(issuer: Issuer, stream_id: str) -> str:
    """Where a stream's receiver fetches its events (RFC 8936)."""
    return Endpoints.of(issuer).url(f"{POLL}/{stream_id}")
