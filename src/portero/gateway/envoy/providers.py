"""How Envoy verifies tokens: one `jwt_authn` provider for each service and issuer it trusts (RFC 9068 §4).

What `jwt_authn` accepts by itself and the Guard does not is closed here or in `rules`: `typ`, a
token without `exp`, seconds of leeway, `alg` by key. A token whose key is not known is decided by
the Guard, which may have to fetch keys first (`unknown_key` in `listener`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Final

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from portero.core.jose.jwk import PublicKey, private_key_of, render_public_jwk
from portero.core.jose.jws import MAX_TOKEN_LENGTH
from portero.core.policy.manifest import Manifest, ManifestIssuer, Service
from portero.core.revocation.entry import RevokedKind
from portero.gateway.envoy.resources import SCOPE_HEADER, SUBJECT_HEADER, Json, typed
from portero.gateway.envoy.revoked import header_of

CACHE_TOKENS: Final = 2000
"""Verified tokens a provider and worker remembers."""
LEAST_LEEWAY: Final = 2
"""Seconds. `jwt_authn` counts whole seconds and reads 0 as 60: with less leeway the Guard decides."""
BOUND_HEADERS: Final = ("x-portero-bound-jkt", "x-portero-bound-x5t")
CONFIRMED_HEADER: Final = "x-portero-confirmed"
"""Any `cnf`: an object is written in base64, and nobody reads it."""
FAILED_STATUS: Final = "failed"
"""Where the metadata say why a token was not verified."""

Keys = Mapping[str, Sequence[PublicKey]]
"""Issuer's name in the manifest → its usable keys."""


def place_of(manifest: Manifest, issuer: str) -> int:
    """The issuer's place in the manifest, by which its headers and metadata are named."""
    return list(manifest.issuers).index(issuer)


class Way(StrEnum):
    """What the filters after `jwt_authn` are to know of a token: each more is dearer."""

    ORDINARY = "ordinary"
    """A few claims."""
    HEADER = "header"
    """Its header, too."""
    CLAIMS = "claims"
    """All of its claims, too."""


def _spellings(way: Way) -> tuple[str, ...]:
    """Of the scheme, which is case-insensitive (RFC 9110 §11.1). Others than these are no token here.

    A field may hold a token behind each spelling: the ordinary way, which has looked at the first, verifies no other.
    """
    return ("Bearer",) if way is Way.ORDINARY else ("Bearer", "bearer", "BEARER")


def requirement_name(service: str, way: Way) -> str:
    """What a route asks of `jwt_authn`."""
    return f"{service}:{way.value}"


def jwt_filter(manifest: Manifest, keys: Keys) -> Json:
    """The filter; each route says which requirement is its own. Without one, nothing is verified and `rules` denies."""
    providers: dict[str, Json] = {}
    requirements: dict[str, Json] = {}
    for service in manifest.services.values():
        for way in Way:
            names = []
            for issuer in service.issuers:
                name = f"{service.name}:{issuer}:{way.value}"
                providers[name] = _provider(manifest, service, issuer, keys.get(issuer, ()), way)
                names.append({"provider_name": name})
            # Failed or missing goes on: `rules` refuses it, by its reason.
            requirements[requirement_name(service.name, way)] = {
                "requires_any": {"requirements": [*names, {"allow_missing_or_failed": {}}]}
            }
    return typed(
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        {"providers": providers, "requirement_map": requirements},
    )


def _provider(manifest: Manifest, service: Service, name: str, keys: Sequence[PublicKey], way: Way) -> Json:
    issuer = manifest.issuers[name]
    place = place_of(manifest, name)
    provider: Json = {
        "issuer": issuer.issuer,
        "audiences": [issuer.audience or service.audience],
        "local_jwks": {"inline_string": orjson.dumps({"keys": _written(issuer, keys)}).decode()},
        "forward": True,
        "require_expiration": True,
        # It refuses after exp + skew, the Guard from exp + leeway on.
        "clock_skew_seconds": max(1, int(manifest.leeway.total_seconds()) - 1),
        "from_headers": [{"name": "authorization", "value_prefix": f"{one} "} for one in _spellings(way)],
        "failed_status_in_metadata": FAILED_STATUS,
        "jwt_cache_config": {"jwt_cache_size": CACHE_TOKENS, "jwt_max_token_size": MAX_TOKEN_LENGTH},
    }
    headers = _headers(issuer, place)
    if way is Way.ORDINARY:
        headers = [*(one for one in headers if one[0] not in BOUND_HEADERS), (CONFIRMED_HEADER, "cnf")]
    else:
        provider["header_in_metadata"] = f"header-{place}"
    if way is Way.CLAIMS:
        provider["payload_in_metadata"] = f"claims-{place}"
    provider["claim_to_headers"] = [{"header_name": header, "claim_name": claim} for header, claim in headers]
    return provider


def _headers(issuer: ManifestIssuer, place: int) -> list[tuple[str, str]]:
    return [
        (header_of(RevokedKind.SESSION, place), "sid"),
        (header_of(RevokedKind.TOKEN, place), issuer.jti_claim),
        (header_of(RevokedKind.CLIENT, place), issuer.client_id_claim),
        (SCOPE_HEADER, issuer.scope_claim),
        (SUBJECT_HEADER, "sub"),
        (BOUND_HEADERS[0], "cnf.jkt"),
        (BOUND_HEADERS[1], "cnf.x5t#S256"),
    ]


def headers_set(manifest: Manifest) -> list[str]:
    """Every header that is set on the way, and taken off before the request leaves."""
    names = {header for place, one in enumerate(manifest.issuers.values()) for header, _ in _headers(one, place)}
    return sorted({*names, CONFIRMED_HEADER})


def _written(issuer: ManifestIssuer, keys: Sequence[PublicKey]) -> list[dict[str, str]]:
    # `alg` in every key pins it: `jwt_authn` compares the header's with it (attack row 6).
    return [render_public_jwk(key) for key in keys] or [
        _nobodys_key("ES384" if "ES512" in issuer.algorithms else "ES512")
    ]


@cache
def _nobodys_key(alg: str) -> dict[str, str]:
    """What stands in an empty set: of an algorithm the issuer does not use, so that every token's key is unknown.

    Routes need not change with the keys: two files that Envoy reads one after the other could refuse a valid token.
    """
    thrown_away = ec.generate_private_key(ec.SECP521R1() if alg == "ES512" else ec.SECP384R1())
    return render_public_jwk(private_key_of(thrown_away, alg=alg, kid="nobody").public)
