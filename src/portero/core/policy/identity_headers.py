"""What a gateway takes off a request before it sends it on (design §3.6; attack rows 69 to 76).

The order is the point. First what the connection itself names (`Connection: X-User` would else
strip a header the gateway is about to set); then everything a caller could use to say who they
are or where they come from, in any case and with `_` for `-` (many servers read both as one
variable). Only then does a gateway set its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from portero.core.errors import RequestError

RawHeader = tuple[bytes, bytes]

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110 §7.6.1. An engine that forwards an upgrade or `TE: trailers` writes them anew."""

IDENTITY: Final = frozenset(
    {
        b"authorization",
        b"dpop",
        b"remote-user",
        b"remote-groups",
        b"remote-email",
        b"remote-name",
        b"x-remote-user",
        b"x-user",
        b"x-user-id",
        b"x-user-email",
        b"x-user-name",
        b"x-user-role",
        b"x-user-roles",
        b"x-username",
        b"x-email",
        b"x-role",
        b"x-roles",
        b"x-groups",
        b"x-scope",
        b"x-scopes",
        b"x-sub",
        b"x-subject",
        b"x-claims",
        b"x-jwt-claims",
        b"x-jwt-payload",
        b"x-userinfo",
        b"x-id-token",
        b"x-access-token",
        b"x-client-id",
        b"x-tenant",
        b"x-tenant-id",
        b"x-anonymous-consumer",
        b"x-ssl-client-cert",
        b"x-client-cert",
        b"x-forwarded-client-cert",
        b"client-cert",
        b"client-cert-chain",
    }
)
"""Names a service might believe."""

IDENTITY_PREFIXES: Final = (
    b"x-portero-",
    b"x-auth-",
    b"x-auth-request-",
    b"x-authenticated-",
    b"x-consumer-",
    b"x-credential-",
    b"x-jwt-",
    b"x-claim-",
    b"x-user-",
    b"x-goog-authenticated-user-",
    b"x-goog-iap-",
    b"x-amzn-oidc-",
    b"x-ms-client-principal",
    b"x-ms-token-",
    b"x-pomerium-",
    b"cf-access-",
    b"remote-user",
    b"x-remote-",
    b"x-envoy-",
)
"""What other gateways and platforms hand identities on with."""

FORWARDED: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-protocol",
        b"x-forwarded-scheme",
        b"x-forwarded-ssl",
        b"x-forwarded-prefix",
        b"x-forwarded-path",
        b"x-forwarded-uri",
        b"x-forwarded-method",
        b"x-forwarded-user",
        b"x-forwarded-email",
        b"x-forwarded-groups",
        b"x-forwarded-preferred-username",
        b"x-forwarded-access-token",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-uri",
        b"x-original-url",
        b"x-original-method",
        b"x-original-host",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"front-end-https",
    }
)
"""Where a request came from, and what it "really" is: an engine sets the few it vouches for anew."""


class HeaderRefused(RequestError):
    """A header that two programs could read as two different ones: 400."""

    def __init__(self) -> None:
        super().__init__("invalid_request", "A header's name has an underscore.")


def is_stripped(name: bytes) -> bool:
    """Whether a caller's header of this name is taken off, however it is written."""
    plain = name.lower().replace(b"_", b"-")
    return plain in IDENTITY or plain in FORWARDED or plain.startswith(IDENTITY_PREFIXES)


def forwardable(headers: Iterable[RawHeader]) -> list[RawHeader]:
    """What of a request's headers is sent on, in its order; the gateway's own are added after it.

    Args:
        headers: as received, name and value.

    Raises:
        HeaderRefused: a name has an underscore. Servers that turn names into variables cannot tell it from `-`.
    """
    received = list(headers)
    named = {
        token.strip().lower()
        for name, value in received
        if name.lower() in (b"connection", b"proxy-connection")
        for token in value.split(b",")
    }
    kept = []
    for name, value in received:
        plain = name.lower()
        if b"_" in plain:
            raise HeaderRefused
        if plain in HOP_BY_HOP or plain in named or is_stripped(plain):
            continue
        kept.append((name, value))
    return kept
