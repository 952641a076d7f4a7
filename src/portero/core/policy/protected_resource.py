"""The document that tells a client which authorization server to ask (RFC 9728)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def metadata_path(resource: str) -> str:
    """The path of the document: the well-known segment goes between host and path (RFC 9728 §3.1)."""
    path = urlsplit(resource).path.rstrip("/")
    return WELL_KNOWN + path


def metadata_url(resource: str) -> str | None:
    """The document's URL; `None` where the resource identifier is no http(s) URL."""
    parts = urlsplit(resource)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return None
    return f"{parts.scheme}://{parts.netloc}{metadata_path(resource)}"


def metadata_document(
    *,
    resource: str,
    authorization_servers: Sequence[str],
    scopes: Sequence[str],
    dpop_algorithms: Sequence[str] = (),
    certificate_bound: bool = False,
) -> bytes:
    """Write the document (RFC 9728 §2)."""
    members: dict[str, object] = {
        "resource": resource,
        "authorization_servers": list(authorization_servers),
        "bearer_methods_supported": ["header"],
    }
    if scopes:
        members["scopes_supported"] = sorted(set(scopes))
    if dpop_algorithms:
        members["dpop_signing_alg_values_supported"] = list(dpop_algorithms)
    if certificate_bound:
        members["tls_client_certificate_bound_access_tokens"] = True
    return json.dumps(members, separators=(",", ":")).encode()
