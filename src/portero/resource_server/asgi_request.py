"""What an ASGI scope shows of its request: headers, undecoded path, the client's certificate."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from portero.resource_server.sender import RequestSeen, raw_path_of

Scope = MutableMapping[str, Any]


def request_seen(scope: Scope) -> RequestSeen:
    """What a scope shows of its request."""
    headers = scope["headers"]
    return RequestSeen(
        header=lambda name: joined_header(headers, name),
        # A WebSocket handshake is a GET (RFC 6455 §4.1).
        method=scope.get("method", "GET"),
        path=raw_path_of(scope.get("raw_path"), scope["path"]),
        memo=scope,
        query=scope.get("query_string", b""),
        certificate=lambda: _certificate_of_tls(scope),
    )


def joined_header(headers: Iterable[tuple[bytes, bytes]], wanted: str) -> str | None:
    """The value of a header; several are joined as HTTP joins them."""
    # RFC 9113 §8.2.3: cookies may come in several fields; every other one joins by comma.
    name = wanted.encode("latin-1")
    found = [value.decode("latin-1") for header, value in headers if header == name]
    return ("; " if wanted == "cookie" else ", ").join(found) if found else None


def _certificate_of_tls(scope: Scope) -> str | None:
    """The client's certificate by ASGI's `tls` extension."""
    chain = ((scope.get("extensions") or {}).get("tls") or {}).get("client_cert_chain") or ()
    return next(iter(chain), None)
