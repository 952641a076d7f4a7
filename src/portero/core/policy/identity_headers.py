"""The names a gateway takes off a request before it sends it on (design §3.6; attack rows 69 to 76).

Everything a caller could use to say who they are or where they come from, in any case and with
`_` for `-` (many servers read both as one variable). The order is the engines': first these and
what the connection itself names (`Connection: X-User` would else strip a header the gateway is
about to set), only then the gateway's own.
"""

from __future__ import annotations

from typing import Final

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


def is_stripped(name: bytes) -> bool:
    """Whether a caller's header of this name is taken off, however it is written."""
    plain = name.lower().replace(b"_", b"-")
    return plain in IDENTITY or plain in FORWARDED or plain.startswith(IDENTITY_PREFIXES)
