"""What an acceptable access token of one issuer is: the rules `verify_access_token` goes by (RFC 9068 §4).

Strict unless something is written down, and what weakens a check has a name that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from portero.core.errors import ConfigurationError
from portero.core.jose.algorithms import ACCEPTABLE, SYMMETRIC

TYP: Final = "at+jwt"
"""RFC 9068 §2.1."""
_RELAXABLE: Final = frozenset({"sub", "iat", "jti", "client_id"})


@dataclass(frozen=True, slots=True)
class AccessTokenRules:
    """What an acceptable access token of one issuer is. Strict unless something below is written down.

    Raises:
        ConfigurationError: a rule is empty or contradicts itself.
    """

    issuer: str
    """`iss`, compared character by character."""
    audience: str | tuple[str, ...]
    """`aud` has to name this, or one of these."""
    algorithms: tuple[str, ...] = ("ES256",)
    leeway: int = 60
    """Seconds of clock difference tolerated at both ends."""
    roles_claim: str = "roles"
    """A claim, or a path such as `realm_access.roles`; `.*` at its end means the names of an object's members."""
    client_id_claim: str = "client_id"
    """Where the issuer puts the client: `azp`, `appid` or `cid` elsewhere."""
    jti_claim: str = "jti"
    """Where the issuer puts the token's identifier: `uti` elsewhere."""
    scope_claim: str = "scope"
    """Where the issuer puts scopes: `scp` elsewhere."""
    required_claims: tuple[str, ...] = ()
    """Further claims that have to be there."""
    required_values: Mapping[str, str | int | bool] = field(default_factory=dict)
    """Claims that have to have this very value: `typ` of the claims where the header's says nothing."""
    insecure_accept_typ_jwt: bool = False
    """Accept `typ: JWT`: the issuer's ID tokens then differ from its access tokens by `aud` alone."""
    insecure_accept_missing_typ: bool = False
    """Accept a header without `typ`: as above."""
    insecure_optional_claims: frozenset[str] = frozenset()
    """Of `sub`, `iat`, `jti`, `client_id`: those it may leave out. Without `jti` no single token can be revoked."""
    insecure_accept_scope_list: bool = False
    """Accept scopes as an array of strings beside the registered string (RFC 9068 §2.2.3)."""
    insecure_accept_symmetric: bool = False
    """Accept HS256: every service that verifies can then issue."""
    typ: str = TYP
    """Lower case. Another kind of token with the same claims has another `typ` (`core.tokens.assertion`)."""
    _audiences: frozenset[str] = field(init=False, repr=False, compare=False)
    _algorithms: frozenset[str] = field(init=False, repr=False, compare=False)
    _typs: frozenset[str | None] = field(init=False, repr=False, compare=False)
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The claims every token is asked for, in the order `_validate` takes them."""

    def __post_init__(self) -> None:
        audiences = (self.audience,) if isinstance(self.audience, str) else tuple(self.audience)
        if not isinstance(self.issuer, str) or not self.issuer:
            raise ConfigurationError(
                "issuer", self.issuer, "must be the issuer's identifier, exactly as tokens carry it"
            )
        if not audiences or not all(isinstance(name, str) and name for name in audiences):
            raise ConfigurationError("audience", self.audience, "must name at least one audience")
        unknown = [alg for alg in self.algorithms if alg not in ACCEPTABLE]
        if isinstance(self.algorithms, str) or not self.algorithms or unknown:
            raise ConfigurationError("algorithms", self.algorithms, f"must be of {', '.join(sorted(ACCEPTABLE))}")
        if not self.insecure_accept_symmetric and SYMMETRIC.intersection(self.algorithms):
            raise ConfigurationError("algorithms", self.algorithms, "needs insecure_accept_symmetric for HS256")
        if type(self.leeway) is not int or not 0 <= self.leeway <= 600:
            raise ConfigurationError("leeway", self.leeway, "must be 0 to 600 whole seconds")
        if not self.insecure_optional_claims <= _RELAXABLE:
            raise ConfigurationError(
                "insecure_optional_claims",
                sorted(self.insecure_optional_claims),
                f"may name {', '.join(sorted(_RELAXABLE))}",
            )
        typs: set[str | None] = {self.typ}
        if self.insecure_accept_typ_jwt:
            typs.add("jwt")
        if self.insecure_accept_missing_typ:
            typs.add(None)
        object.__setattr__(self, "_audiences", frozenset(audiences))
        object.__setattr__(self, "_algorithms", frozenset(self.algorithms))
        object.__setattr__(self, "_typs", frozenset(typs))
        names = ("iss", "aud", "exp", "iat", "sub", self.jti_claim, self.client_id_claim, self.scope_claim)
        object.__setattr__(self, "_names", (*names, self.roles_claim, "auth_time", "sid", "acr", "amr"))
