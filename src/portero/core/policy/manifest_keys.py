"""Every key of the manifest, once: the parser reads by this table, the JSON Schema and the docs are written from it."""

from __future__ import annotations

from typing import Final

from portero.core.jose.algorithms import ACCEPTABLE, SYMMETRIC
from portero.core.policy.manifest_gateway_keys import GATEWAY, OF_ROUTE, OF_SERVICE
from portero.core.policy.manifest_kinds import (
    NAME,
    ByName,
    Duration,
    Elsewhere,
    Flag,
    Key,
    Table,
    TableOr,
    Tables,
    Text,
    Texts,
    Values,
)

SCOPE: Final = r"[\x21\x23-\x5b\x5d-\x7e]+"
"""RFC 6749 §3.3 scope-token."""
_URL: Final = r"https?://[^/?#\s@]+[^?#\s]*"
_ORIGIN: Final = r"https?://[^/?#\s@]+"

_WORD = Text()
_SCOPES = Texts(Text(SCOPE, "a scope: printable ASCII without space, quote and backslash (RFC 6749 §3.3)"))
_ENVIRONMENT = Text(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable, never the secret", shown=False)
_URL_TEXT = Text(_URL, "an https URL, or http on this machine, without query and fragment")

FEED = Table(
    {
        "client_id": Key(_WORD, "The services' own client, with scope `revocations:read`.", required=True),
        "secret_env": Key(
            _ENVIRONMENT,
            "The environment variable that holds that client's secret. The secret itself is never in the file.",
            required=True,
        ),
        "stale_after": Key(Duration(), 'Silence after which routes with `when_stale = "deny"` refuse.', '"10s"'),
        "start": Key(
            Text(choices=("wait", "degraded")),
            "Before the first snapshot: `wait` refuses with 503, `degraded` treats it as a stale feed.",
            '"wait"',
        ),
        "relay": Key(
            Text(r"/[^\x00]{1,99}", "an absolute path of at most 100 characters"),
            "The Unix socket of this host's relay: its processes share one subscription. Where none serves, each "
            "follows the issuer itself.",
        ),
        "serve_relay": Key(
            Flag(), "Whether the first process that finds nobody at `relay` serves it beside its own work.", "false"
        ),
    }
)

ISSUER = Table(
    {
        "issuer": Key(_URL_TEXT, "Compared exactly with `iss`; keys come from its discovery document.", required=True),
        "revocation": Key(
            TableOr(FEED, "none"),
            'How revocations are followed; `"none"`, written by hand: tokens live until `exp`.',
            required=True,
        ),
        "algorithms": Key(
            Texts(Text(choices=tuple(sorted(ACCEPTABLE - SYMMETRIC)))),
            "Accepted `alg` values; a key verifies one.",
            '["ES256"]',
        ),
        "audience": Key(_WORD, "What `aud` must name for this issuer.", "the service's `audience`"),
        "jwks_uri": Key(_URL_TEXT, "Where the keys are.", "discovery says"),
        "roles": Key(_WORD, "The claim with the roles, or a path such as `realm_access.roles`.", '"roles"'),
        "client_id_claim": Key(_WORD, "The claim with the client.", '"client_id"'),
        "jti_claim": Key(_WORD, "The claim with the token's identifier.", '"jti"'),
        "scope_claim": Key(_WORD, "The claim with the scopes.", '"scope"'),
        "required_claims": Key(Texts(_WORD), "Claims a token must have beside those of RFC 9068.", "none"),
        "required_values": Key(Values(), "Claim → the value it must have in every token.", "none"),
        "insecure_accept_typ_jwt": Key(Flag(), "Accept `typ: JWT`: an ID token may then pass.", "false"),
        "insecure_accept_missing_typ": Key(Flag(), "Accept a token without `typ`.", "false"),
        "insecure_optional_claims": Key(
            Texts(Text(choices=("client_id", "iat", "jti", "sub"))), "Claims of RFC 9068 that may be missing.", "none"
        ),
        "insecure_accept_scope_list": Key(Flag(), "Accept scopes as a list.", "false"),
    }
)

REQUIRE = Table(
    {
        "scopes": Key(_SCOPES, "All of these scopes."),
        "scopes_any": Key(_SCOPES, "One of these scopes."),
        "roles": Key(Texts(_WORD), "All of these roles."),
        "roles_any": Key(Texts(_WORD), "One of these roles."),
        "claims": Key(Values(), "Claim or path → the value it equals or, where it is a list, holds."),
        "max_auth_age": Key(Duration(), "How long ago the person may have signed in (RFC 9470)."),
        "acr": Key(Texts(_WORD), "Authentication context classes that will do."),
        "dpop": Key(Flag(), "The token must be bound to a key the caller proves (RFC 9449).", "false"),
        "mtls": Key(Flag(), "The token must be bound to the client's certificate (RFC 8705).", "false"),
    }
)

ROUTE = Table(
    {
        "match": Key(_WORD, "Method (or `*`) and path: `GET /orders/{id}`, `* /files/{path...}`.", required=True),
        "require": Key(REQUIRE, "What the caller must bring; all members are required.", "any valid token"),
        "public": Key(Flag(), "No token is asked for. Not together with `require`.", "false"),
        "when_stale": Key(
            Text(choices=("allow", "deny")), "While the revocation feed is silent: go on, or refuse (503).", '"allow"'
        ),
        **OF_ROUTE,
    }
)

DPOP = Table(
    {
        "urls": Key(
            Texts(_URL_TEXT),
            "What clients know the service by: origin and what stands before its own paths. "
            "A proof's `htu` is compared with it.",
            required=True,
        ),
        "nonce_key_env": Key(
            _ENVIRONMENT,
            "The environment variable that holds the nonces' key, at least 32 random bytes in base64url; the same for "
            "all processes of the service.",
            required=True,
        ),
    }
)

CLIENT_CERTIFICATE = Table(
    {
        "header": Key(
            Text(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", "the name of a header"),
            "What the proxy sets, and removes from every request that comes in.",
            required=True,
        ),
        "encoding": Key(
            Text(choices=("rfc9440", "pem", "xfcc")),
            "How the header holds the certificate: RFC 9440, percent-encoded PEM (nginx), Envoy's XFCC.",
            '"rfc9440"',
        ),
    }
)

SERVICE = Table(
    {
        "audience": Key(_WORD, "This resource server's identifier, which `aud` must name.", required=True),
        "issuers": Key(Texts(Text(NAME, "the name of an issuer")), "Whose tokens it accepts.", "all of `[issuers]`"),
        "upstreams": Key(
            Texts(Text(_ORIGIN, "the origin of a server, such as http://127.0.0.1:8101, without path")),
            "Where the gateway finds it. Required in the layouts `gateway` and `hybrid`.",
        ),
        "default": Key(
            Text(choices=("deny", "authenticated", "public")), "What holds for a route that is not named.", '"deny"'
        ),
        "cors_origins": Key(
            Texts(Text(_ORIGIN, "an origin such as https://shop.example")), "Browser origins that may call.", "none"
        ),
        "cors_credentials": Key(Flag(), "Whether cookies may come along.", "false"),
        **OF_SERVICE,
        "dpop": Key(DPOP, "How proofs of possession are checked.", "tokens bound to a key are refused"),
        "client_certificate": Key(
            CLIENT_CERTIFICATE,
            "Where the client's certificate comes from.",
            "tokens bound to a certificate are refused",
        ),
        "routes": Key(Tables(ROUTE), "The routes, one table each."),
    }
)

MANIFEST = Table(
    {
        "layout": Key(Text(choices=("middleware", "gateway", "hybrid")), "Where requests are checked.", required=True),
        "leeway": Key(Duration(), "How far two clocks may differ, everywhere.", '"60s"'),
        "issuers": Key(ByName(ISSUER, "an issuer"), "How tokens are verified.", required=True),
        "roles": Key(ByName(_SCOPES, "a role", r"[\s\S]+"), "Role → scopes it implies.", "none"),
        "services": Key(ByName(SERVICE, "a service"), "The services and their routes.", required=True),
        "gateway": Key(GATEWAY, "The gateway. Required in the layouts `gateway` and `hybrid`."),
        "authorization_server": Key(Elsewhere(), "Settings of `portero serve`, which may share the file."),
    }
)
