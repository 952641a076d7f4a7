"""A Guard made of what the manifest says about one service."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from portero.core.jose import base64url
from portero.core.policy.cookie_credential import CookieCredential
from portero.core.policy.manifest import Layout, Manifest, ManifestDpop, ManifestIssuer, Service
from portero.core.policy.manifest_reader import ManifestError, Problem
from portero.core.policy.requirement import Requirement
from portero.core.types import Secret
from portero.resource_server.guard import Guard
from portero.resource_server.issuers import FeedStart, RevocationFeed, TrustedGateway, TrustedIssuer
from portero.resource_server.required import Required
from portero.resource_server.sender import DpopPolicy


def guard_of(
    manifest: Manifest,
    service: Service,
    environ: Mapping[str, str],
    *,
    file: str = "portero.toml",
    at_edge: bool = False,
    **options: Any,
) -> Guard:
    """Make the Guard of one service.

    Args:
        at_edge: it decides in the gateway, about callers' own tokens, whatever the layout. In the
            service itself, the layout `gateway` means: only what the gateway asserts.

    Raises:
        ConfigurationError: a secret is not in the environment, or the Guard does not take a value.
    """
    return Guard(
        issuers=[trusted_issuer(manifest.issuers[name], environ, file=file) for name in service.issuers],
        audience=service.audience,
        revocation=None,  # each issuer says its own
        cors_origins=service.cors_origins,
        cors_credentials=service.cors_credentials,
        leeway=manifest.leeway,
        dpop=None if service.dpop is None else _dpop(service.dpop, service.name, environ, file=file),
        client_certificate=service.client_certificate,
        role_scopes=manifest.roles,
        cookie=_cookie(service, at_edge=at_edge, layout=manifest.layout),
        gateway=None if at_edge else _gateway(manifest),
        **options,
    )


def _cookie(service: Service, *, at_edge: bool, layout: Layout) -> CookieCredential | None:
    # Behind a gateway no cookie carries anything: the gateway has made a header of it.
    if service.cookie is None or not (at_edge or layout is Layout.MIDDLEWARE):
        return None
    return CookieCredential(service.cookie.origins, service.cookie.name, service.cookie.header)


def _gateway(manifest: Manifest) -> TrustedGateway | None:
    if manifest.layout is not Layout.GATEWAY or manifest.gateway is None:
        return None
    return TrustedGateway(manifest.gateway.assertion_issuer, manifest.gateway.assertion_keys)


def what_makes(manifest: Manifest, service: Service) -> tuple[object, ...]:
    """All that `guard_of` reads: while it is equal, so is the Guard."""
    return (
        tuple(manifest.issuers[name] for name in service.issuers),
        manifest.roles,
        manifest.leeway,
        service.audience,
        service.cors_origins,
        service.cors_credentials,
        service.cookie,
        manifest.layout,
        _gateway(manifest),
        service.dpop,
        service.client_certificate,
    )


def as_written(requirement: Requirement) -> Required:
    """The arguments of `requires` that make this requirement."""
    what = Required(
        scopes=requirement.scopes,
        scopes_any=requirement.scopes_any,
        roles=requirement.roles,
        roles_any=requirement.roles_any,
        claims=requirement.claims,
        acr=requirement.acr,
        dpop=requirement.dpop,
        mtls=requirement.mtls,
        when_stale=requirement.when_stale,
    )
    if requirement.max_auth_age is not None:
        what["max_auth_age"] = timedelta(seconds=requirement.max_auth_age)
    return what


def _dpop(dpop: ManifestDpop, name: str, environ: Mapping[str, str], *, file: str) -> DpopPolicy:
    key = f"services.{name}.dpop.nonce_key_env"
    try:
        nonce_key = base64url.decode(environ.get(dpop.nonce_key_env, "").rstrip("="))
    except ValueError:
        nonce_key = b""
    if len(nonce_key) < 32:
        expected = "names an environment variable that must hold at least 32 random bytes in base64url"
        raise ManifestError(file, [Problem(dpop.line, key, dpop.nonce_key_env, expected)])
    return DpopPolicy(dpop.urls, Secret(nonce_key))


def trusted_issuer(issuer: ManifestIssuer, environ: Mapping[str, str], *, file: str) -> TrustedIssuer:
    """One of the manifest's issuers, with the secret that follows its feed.

    Raises:
        ConfigurationError: the secret is not in the environment.
    """
    feed = issuer.revocation
    followed: RevocationFeed | None = None
    if feed is not None:
        secret = environ.get(feed.secret_env, "")
        if not secret:
            key = f"issuers.{issuer.name}.revocation.secret_env"
            expected = "names an environment variable that must be set, and is not"
            raise ManifestError(file, [Problem(feed.line, key, feed.secret_env, expected)])
        followed = RevocationFeed(
            client_id=feed.client_id,
            client_secret=Secret(secret),
            stale_after=feed.stale_after,
            start=FeedStart(feed.start),
            relay=None if feed.relay is None else Path(feed.relay),
            serve_relay=feed.serve_relay,
        )
    return TrustedIssuer(
        issuer.issuer,
        revocation=followed,
        algorithms=issuer.algorithms,
        audience=issuer.audience,
        jwks_uri=issuer.jwks_uri,
        roles_claim=issuer.roles,
        client_id_claim=issuer.client_id_claim,
        jti_claim=issuer.jti_claim,
        scope_claim=issuer.scope_claim,
        required_claims=issuer.required_claims,
        required_values=issuer.required_values,
        insecure_accept_typ_jwt=issuer.insecure_accept_typ_jwt,
        insecure_accept_missing_typ=issuer.insecure_accept_missing_typ,
        insecure_optional_claims=frozenset(issuer.insecure_optional_claims),
        insecure_accept_scope_list=issuer.insecure_accept_scope_list,
    )
