"""What a route requires, as RBAC on what `jwt_authn` verified; and what Envoy cannot decide, which the Guard does.

The policies deny, each under a name that `replies` turns into the refusal of design §3.5. Envoy tries
them in the order of their names, which is the order of the Guard's checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from portero.core.policy.manifest import Layout, Manifest, ManifestIssuer, Route, Service
from portero.core.policy.requirement import Carrier, ClaimValue, Requirement, WhenStale
from portero.core.revocation.entry import RevokedKind
from portero.core.tokens.access_token import TYP
from portero.gateway.envoy.providers import BOUND_HEADERS, FAILED_STATUS, LEAST_LEEWAY, place_of
from portero.gateway.envoy.resources import (
    SCOPE_HEADER,
    SUBJECT_HEADER,
    Json,
    all_ids,
    any_id,
    has_header,
    header,
    metadata_id,
    not_id,
    regex,
    typed,
)
from portero.gateway.envoy.revoked import header_of

TWO_TOKENS: Final = "a-two-tokens"
NO_TOKEN: Final = "b-no-token"
EXPIRED: Final = "c-expired"
AUDIENCE: Final = "c-audience"
ISSUER: Final = "c-issuer"
FAILED: Final = "d-failed"
TYPE: Final = "e-type"
CLAIMS: Final = "f-claims"
BOUND: Final = "g-bound"
SCOPE: Final = "h-scope"
ROLE: Final = "i-role"
CLAIM: Final = "j-claim"
SIGN_IN: Final = "k-sign-in"

# What jwt_verify_lib says; `tests/gateway/envoy` holds these to the Envoy that is installed.
JWT_EXPIRED: Final = "Jwt is expired"
JWT_AUDIENCE: Final = "Audiences in Jwt are not allowed"
JWT_ISSUER: Final = "Jwt issuer is not configured"
JWT_UNKNOWN_KEY: Final = "Jwks doesn't have key to match kid or alg from Jwt"
JWT_MISSING: Final = "Jwt is missing"

ONE_TOKEN: Final = "(?:Bearer|bearer|BEARER) +[A-Za-z0-9_.-]+"
"""The whole field. `jwt_authn` finds a token behind other words and before them, and takes the last of several
spellings: a service that reads another part of the field would see another caller."""
_ENCODED: Final = "".join(f"(?:{char}|%{ord(char):02x}|%{ord(char):02X})" for char in "access_token")
QUERY_TOKEN: Final = rf"[^?]*\?(?:.*&)?{_ENCODED}(?:[=&].*)?"
"""A second token in the query, however its name is encoded (attack row 82)."""


def guard_decides_because(manifest: Manifest, service: Service, route: Route | None) -> tuple[str, ...]:
    """Why a route goes through the Guard (`ext_authz`); empty where Envoy decides alone.

    Args:
        route: `None`: the service's default.
    """
    access = service.fallback.access if route is None else route.access
    if not isinstance(access, Requirement):
        return ()
    because = []
    if manifest.layout is Layout.GATEWAY:
        because.append("the service gets an assertion")
    if access.dpop or service.dpop is not None:
        because.append("dpop")
    if access.mtls or service.client_certificate is not None:
        because.append("mtls")
    if access.max_auth_age is not None:
        because.append("max_auth_age")
    if Carrier.COOKIE in access.carriers:
        because.append("cookie")
    if access.when_stale is WhenStale.DENY:
        because.append("when_stale")
    if route is not None and route.stream:
        because.append("stream")
    if manifest.leeway.total_seconds() < LEAST_LEEWAY:
        because.append(f"leeway under {LEAST_LEEWAY}s")
    for name in service.issuers:
        because += [f"[issuers.{name}] {setting}" for setting in _beyond_envoy(manifest.issuers[name])]
    return tuple(because)


def _beyond_envoy(issuer: ManifestIssuer) -> Iterable[str]:
    if {"EdDSA", "Ed25519"} & set(issuer.algorithms):
        yield "algorithms"
    if issuer.required_claims:
        yield "required_claims"
    if issuer.insecure_optional_claims:
        yield "insecure_optional_claims"
    if issuer.insecure_accept_scope_list:
        yield "insecure_accept_scope_list"
    if issuer.roles.endswith(".*"):
        yield "roles"
    if any("." in claim for claim in (issuer.client_id_claim, issuer.jti_claim, issuer.scope_claim)):
        yield "claims with a dot in their name"


def needs_claims(manifest: Manifest, requirement: Requirement) -> bool:
    """Whether RBAC has to see all claims, which costs more than a few headers."""
    return bool(requirement.roles or requirement.roles_any or requirement.claims or requirement.acr) or any(
        _roles_with(manifest, scope) for scope in requirement.scopes | requirement.scopes_any
    )


def route_rules(manifest: Manifest, service: Service, requirement: Requirement) -> Json:
    """The per-route configuration of the RBAC filter."""
    verified = [place_of(manifest, name) for name in service.issuers]
    policies: dict[str, Json] = {TWO_TOKENS: two_tokens(), NO_TOKEN: _no_token(verified)}
    if len(service.issuers) == 1:
        policies |= failures()
    unverified = [not_id(metadata_id([f"header-{place}"], {"present_match": True})) for place in verified]
    policies[FAILED] = any_id([not_one_token(), all_ids([*unverified, not_id(unknown_key())])])
    # From here on a token of one issuer was verified, or its key is not known and the Guard decides (`unknown_key`).
    known = not_id(all_ids([*unverified, unknown_key()]))
    policies[TYPE] = all_ids([known, *[not_id(_typ(manifest, name)) for name in service.issuers]])
    policies[CLAIMS] = all_ids([known, *[not_id(_has_claims(place)) for place in verified]])
    policies[BOUND] = any_id([{"header": has_header(name)} for name in BOUND_HEADERS])
    required = {
        SCOPE: [_scope(manifest, service, one) for one in sorted(requirement.scopes)]
        + [any_id([_scope(manifest, service, one) for one in sorted(requirement.scopes_any)])][
            : bool(requirement.scopes_any)
        ],
        ROLE: [_role(manifest, service, one) for one in sorted(requirement.roles)]
        + [any_id([_role(manifest, service, one) for one in sorted(requirement.roles_any)])][
            : bool(requirement.roles_any)
        ],
        CLAIM: [_claim(manifest, service, path, value) for path, value in sorted(requirement.claims.items())],
        SIGN_IN: [any_id([_claim(manifest, service, "acr", acr) for acr in requirement.acr])][: bool(requirement.acr)],
    }
    for name, ids in required.items():
        if ids:
            policies[name] = all_ids([known, not_id(all_ids(ids))])
    return typed("envoy.extensions.filters.http.rbac.v3.RBACPerRoute", {"rbac": denied(policies)})


def denied(policies: Mapping[str, Json]) -> Json:
    """RBAC that denies whom one of the policies names."""
    written = {name: {"permissions": [{"any": True}], "principals": [one]} for name, one in policies.items()}
    return {"rules": {"action": "DENY", "policies": written}}


def nothing_required() -> Json:
    """For routes that are open, or that another filter decides: the filter's own configuration denies all."""
    return typed("envoy.extensions.filters.http.rbac.v3.RBACPerRoute")


def deny_all() -> Json:
    """The filter's own configuration: a route that says nothing is denied."""
    return typed("envoy.extensions.filters.http.rbac.v3.RBAC", {"rules": {"action": "ALLOW", "policies": {}}})


def _text(value: str) -> Json:
    return {"string_match": {"exact": value}}


def failures() -> dict[str, Json]:
    """Why a token was not verified, by the one issuer a service trusts."""
    reasons = ((EXPIRED, JWT_EXPIRED), (AUDIENCE, JWT_AUDIENCE), (ISSUER, JWT_ISSUER))
    return {name: metadata_id([FAILED_STATUS, "message"], _text(message)) for name, message in reasons}


def unknown_key() -> Json:
    """The token's key is not known: the Guard decides."""
    return metadata_id([FAILED_STATUS, "message"], _text(JWT_UNKNOWN_KEY))


def two_tokens() -> Json:
    """A second token, in the header or in the query."""
    return any_id(
        [
            {"header": header("authorization", {"contains": ","})},
            all_ids(
                [
                    # Hardly a request has a query: the pattern is for those that have.
                    {"header": header(":path", {"contains": "?"})},
                    {"header": has_header("authorization")},
                    {"header": header(":path", regex(QUERY_TOKEN))},
                ]
            ),
        ]
    )


def not_one_token() -> Json:
    """`Authorization` is more than a scheme and a token."""
    whole = {"header": header("authorization", regex(ONE_TOKEN))}
    return all_ids([{"header": has_header("authorization")}, not_id(whole)])


def _no_token(verified: list[int]) -> Json:
    unverified = [not_id(metadata_id([f"header-{place}"], {"present_match": True})) for place in verified]
    nothing_failed = not_id(metadata_id([FAILED_STATUS], {"present_match": True}))
    missing = metadata_id([FAILED_STATUS, "message"], _text(JWT_MISSING))
    return all_ids([*unverified, any_id([nothing_failed, missing])])


def _typ(manifest: Manifest, name: str) -> Json:
    issuer = manifest.issuers[name]
    path = [f"header-{place_of(manifest, name)}"]
    typs = [TYP, *(["jwt"] if issuer.insecure_accept_typ_jwt else [])]
    # RFC 7515 §4.1.9: case is ignored, and `application/` may be left out.
    pattern = f"(?i)(?:application/)?(?:{'|'.join(typ.replace('+', '[+]') for typ in typs)})"
    spellings = (_text(TYP), {"string_match": regex(pattern)})
    accepted = any_id([metadata_id([*path, "typ"], one) for one in spellings])
    if not issuer.insecure_accept_missing_typ:
        return accepted
    present = metadata_id([*path, "typ"], {"present_match": True})
    return any_id([accepted, all_ids([metadata_id(path, {"present_match": True}), not_id(present)])])


def _has_claims(place: int) -> Json:
    names = (header_of(RevokedKind.TOKEN, place), header_of(RevokedKind.CLIENT, place), SUBJECT_HEADER)
    return all_ids([{"header": has_header(name)} for name in names])


def _roles_with(manifest: Manifest, scope: str) -> list[str]:
    return sorted(role for role, scopes in manifest.roles.items() if scope in scopes)


def _scope(manifest: Manifest, service: Service, scope: str) -> Json:
    granted = {"header": header(SCOPE_HEADER, regex(scope_pattern(scope)))}
    return any_id([granted, *[_role(manifest, service, role) for role in _roles_with(manifest, scope)]])


def scope_pattern(scope: str) -> str:
    """A list of scopes that has this one (RFC 6749 §3.3)."""
    return rf"(?:.* )?{_literal(scope)}(?: .*)?"


def _role(manifest: Manifest, service: Service, role: str) -> Json:
    found = []
    for name in service.issuers:
        place = f"claims-{place_of(manifest, name)}"
        paths = _paths(manifest.issuers[name].roles)
        found += [metadata_id([place, *path], {"list_match": {"one_of": _text(role)}}) for path in paths]
    return any_id(found)


def _claim(manifest: Manifest, service: Service, claim: str, value: ClaimValue) -> Json:
    wanted: Mapping[str, object]
    if isinstance(value, bool):
        wanted = {"bool_match": value}
    elif isinstance(value, int):
        wanted = {"double_match": {"exact": value}}
    else:
        wanted = _text(value)
    either = (wanted, {"list_match": {"one_of": wanted}})
    return any_id(
        [
            metadata_id([f"claims-{place_of(manifest, name)}", *path], match)
            for name in service.issuers
            for path in _paths(claim)
            for match in either
        ]
    )


def _paths(claim: str) -> list[list[str]]:
    """A claim by its name, or by a path where no claim has that name."""
    return [[claim]] if "." not in claim else [[claim], claim.split(".")]


def _literal(text: str) -> str:
    """The text in an RE2 pattern."""
    return "".join(char if char.isalnum() else rf"\x{{{ord(char):x}}}" for char in text)
