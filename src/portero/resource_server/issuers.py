"""Whose tokens a Guard accepts, and how: configuration, validated once.

Every relaxation of RFC 9068 has a name that says so; nothing here is switched off by being
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path

from portero.adapters.fetch.requests import ForbiddenUrl, checked_url
from portero.core.errors import ConfigurationError
from portero.core.tokens.access_token import AccessTokenRules
from portero.core.types import Secret
from portero.resource_server.relay_socket import check_socket_path


class FeedStart(Enum):
    """What a service does before it has heard anything of the feed."""

    WAIT = "wait"
    """Refuse with 503 until the first snapshot: a restarted service never forgets a revocation."""
    DEGRADED = "degraded"
    """Treat it as a stale feed, route by route: a service comes up while the issuer is down."""


@dataclass(frozen=True, slots=True)
class RevocationFeed:
    """How this service follows an issuer's revocations."""

    client_id: str
    """The service's own client, with scope `revocations:read` for the issuer itself as audience."""
    client_secret: Secret[str]
    stale_after: timedelta = timedelta(seconds=10)
    """Silence after which routes with `when_stale = "deny"` refuse. Shorter: refuses at smaller hiccups."""
    start: FeedStart = FeedStart.WAIT
    relay: Path | None = None
    """The Unix socket of this host's relay: its processes then share one subscription. Where the relay is not there, is
    not to be believed or has lost the issuer, the service follows the issuer itself."""
    serve_relay: bool = False
    """Whether the first process that finds nobody at `relay` serves it, beside its own work. Off: `portero feed relay`
    does, which no busy worker holds up."""

    def __post_init__(self) -> None:
        if self.relay is not None:
            check_socket_path(self.relay, setting="revocation.relay")
        elif self.serve_relay:
            raise ConfigurationError("revocation.serve_relay", True, "needs the socket's path in revocation.relay")


@dataclass(frozen=True, slots=True)
class TrustedGateway:
    """The gateway a service stands behind: only its assertions are accepted then (`core.tokens.assertion`)."""

    issuer: str
    """`iss` of its assertions."""
    jwks_uri: str
    """Where its keys are."""
    algorithms: tuple[str, ...] = ("ES256",)

    def __post_init__(self) -> None:
        try:
            checked_url(self.jwks_uri)
        except ForbiddenUrl as error:
            expected = "must be an https URL, or http on this machine"
            raise ConfigurationError("gateway.jwks_uri", self.jwks_uri, expected) from error


class OfGuard(Enum):
    """A setting an issuer takes from its Guard."""

    SAME = "as the Guard says"


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """One issuer. Its keys never verify another issuer's tokens.

    The members that `AccessTokenRules` has too mean the same and are explained there.

    Raises:
        ConfigurationError: a value cannot be meant.
    """

    issuer: str
    """Compared exactly with `iss` and with the issuer's own metadata."""
    algorithms: tuple[str, ...] = ("ES256",)
    """Accepted `alg` values. One key still verifies one algorithm only."""
    audience: str | None = None
    """What `aud` must name; `None`: the Guard's."""
    jwks_uri: str | None = None
    """Where the keys are; `None`: discovery says."""
    revocation: RevocationFeed | OfGuard | None = OfGuard.SAME
    """`None`: this issuer has no feed, its tokens live until `exp`."""
    roles_claim: str = "roles"
    client_id_claim: str = "client_id"
    jti_claim: str = "jti"
    scope_claim: str = "scope"
    required_claims: tuple[str, ...] = ()
    required_values: Mapping[str, str | int | bool] = field(default_factory=dict)
    insecure_accept_typ_jwt: bool = False
    insecure_accept_missing_typ: bool = False
    insecure_optional_claims: frozenset[str] = frozenset()
    insecure_accept_scope_list: bool = False

    def __post_init__(self) -> None:
        for setting, url in (("issuers.issuer", self.issuer), ("issuers.jwks_uri", self.jwks_uri)):
            try:
                if url is not None:
                    checked_url(url)
            except ForbiddenUrl as error:
                raise ConfigurationError(setting, url, "must be an https URL, or http on this machine") from error

    def rules(self, *, audience: str, leeway: int) -> AccessTokenRules:
        """What an acceptable token of this issuer is, for a Guard of that audience.

        Raises:
            ConfigurationError: as `AccessTokenRules`.
        """
        return AccessTokenRules(
            issuer=self.issuer,
            audience=self.audience or audience,
            algorithms=self.algorithms,
            leeway=leeway,
            roles_claim=self.roles_claim,
            client_id_claim=self.client_id_claim,
            jti_claim=self.jti_claim,
            scope_claim=self.scope_claim,
            required_claims=self.required_claims,
            required_values=self.required_values,
            insecure_accept_typ_jwt=self.insecure_accept_typ_jwt,
            insecure_accept_missing_typ=self.insecure_accept_missing_typ,
            insecure_optional_claims=self.insecure_optional_claims,
            insecure_accept_scope_list=self.insecure_accept_scope_list,
        )
