"""The manifest's meaning, typed: issuers, services, routes and what each requires (design §3.4).

One file for the Guard, both gateway engines and the services. These values are what
`manifest_parser` makes of `portero.toml`; nothing here reads a file or an environment variable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from types import MappingProxyType

from portero.core.policy.client_certificate import ClientCertificate
from portero.core.policy.manifest_gateway import Cookie as Cookie  # readers find the manifest's values here
from portero.core.policy.manifest_gateway import Gateway as Gateway
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import Access, Free, RouteMatcher, Rule, Template


class Layout(Enum):
    """Where requests are checked (design §1)."""

    MIDDLEWARE = "middleware"
    GATEWAY = "gateway"
    HYBRID = "hybrid"


class Default(Enum):
    """What a service does with a route that is not named."""

    DENY = "deny"
    AUTHENTICATED = "authenticated"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class ManifestFeed:
    """How services follow an issuer's revocations. The secret is in the environment, never in the file."""

    client_id: str
    secret_env: str
    stale_after: timedelta = timedelta(seconds=10)
    start: str = "wait"
    relay: str | None = None
    serve_relay: bool = False
    line: int = field(default=0, compare=False)
    """Where `secret_env` stands."""


@dataclass(frozen=True, slots=True)
class ManifestIssuer:
    """How one issuer's tokens are verified. The members mean what `TrustedIssuer`'s mean."""

    name: str
    issuer: str
    revocation: ManifestFeed | None
    algorithms: tuple[str, ...] = ("ES256",)
    audience: str | None = None
    jwks_uri: str | None = None
    roles: str = "roles"
    """The claim that holds the roles, or a path such as `realm_access.roles`."""
    client_id_claim: str = "client_id"
    jti_claim: str = "jti"
    scope_claim: str = "scope"
    required_claims: tuple[str, ...] = ()
    required_values: Mapping[str, str | int | bool] = field(default_factory=dict)
    insecure_accept_typ_jwt: bool = False
    insecure_accept_missing_typ: bool = False
    insecure_optional_claims: tuple[str, ...] = ()
    insecure_accept_scope_list: bool = False


@dataclass(frozen=True, slots=True)
class ManifestDpop:
    """How a service's Guard checks proofs of possession. The key is in the environment, never in the file."""

    urls: tuple[str, ...]
    nonce_key_env: str
    line: int = field(default=0, compare=False)
    """Where `nonce_key_env` stands."""


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of `routes`. Without `require` and `public` it asks for any valid token, whatever the default says."""

    match: str
    template: Template
    access: Access
    line: int
    stream: bool = False
    """A connection or an answer that stays open; the gateway ends it with the token."""
    timeout: timedelta | None = None
    """Until the answer is complete; `None`: the gateway's."""


@dataclass(frozen=True, slots=True)
class Service:
    """One resource server."""

    name: str
    audience: str
    issuers: tuple[str, ...]
    """Names of the issuers it trusts."""
    upstreams: tuple[str, ...] = ()
    default: Default = Default.DENY
    routes: tuple[Route, ...] = ()
    cors_origins: tuple[str, ...] = ()
    cors_credentials: bool = False
    health: str = ""
    """What the gateway asks of each upstream; empty: nothing."""
    balance: str = "round_robin"
    protocol: str = "http1"
    upstream_ca: str = ""
    """File of the certificates that vouch for https upstreams; empty: the system's."""
    cookie: Cookie | None = None
    dpop: ManifestDpop | None = None
    client_certificate: ClientCertificate | None = None

    @property
    def fallback(self) -> Rule:
        """The rule of a route that is not named."""
        return Rule(_ACCESS_OF_DEFAULT[self.default], self.name)

    def rules(self, *, prefix: str = "") -> Iterable[tuple[Template, Rule]]:
        """The routes as a matcher takes them.

        Args:
            prefix: what stands before the service's own paths, outside (`[gateway] prefix`).
        """
        for route in self.routes:
            yield route.template.under(prefix), Rule(route.access, self.name, route.match, route.line)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One whole `portero.toml`, valid in itself."""

    layout: Layout
    issuers: Mapping[str, ManifestIssuer]
    services: Mapping[str, Service]
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Role → scopes it implies."""
    leeway: timedelta = timedelta(seconds=60)
    gateway: Gateway | None = None


_ACCESS_OF_DEFAULT: Mapping[Default, Access] = MappingProxyType(
    {Default.DENY: Free.DENIED, Default.AUTHENTICATED: Requirement(), Default.PUBLIC: Free.PUBLIC}
)


def service_matcher(service: Service) -> RouteMatcher:
    """Compile one service's routes, as its own Guard sees its paths.

    Raises:
        Tie: two routes could match one request with equal precedence.
    """
    return RouteMatcher(service.rules(), fallbacks=[("", service.fallback)])


def gateway_matcher(manifest: Manifest) -> RouteMatcher:
    """Compile all services' routes, as the gateway sees them: each under its prefix.

    Where no route matches, the service with the longest prefix decides by its default. Services
    that share a prefix share its unnamed paths: those are denied, whatever their defaults say.

    Raises:
        Tie: two routes, perhaps of two services, could match one request with equal precedence.
    """
    prefixes = manifest.gateway.prefix if manifest.gateway is not None else {}
    routes: list[tuple[Template, Rule]] = []
    fallbacks: dict[str, Rule] = {}
    for service in manifest.services.values():
        prefix = prefixes.get(service.name, "")
        routes += service.rules(prefix=prefix)
        fallbacks[prefix] = Rule(Free.DENIED, "") if prefix in fallbacks else service.fallback
    return RouteMatcher(routes, fallbacks=list(fallbacks.items()))
