"""`portero.toml` → `Manifest`: what the values mean, alone and together (design §3.4).

Every mistake is told with file, line and key, and all of them at once. A secret is never part
of the file, so no message can hold one.

Does not check: whether environment variables exist, and whether an issuer answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from portero.core.errors import ConfigurationError
from portero.core.policy.client_certificate import CertificateEncoding, ClientCertificate
from portero.core.policy.cookie_credential import CookieCredential
from portero.core.policy.cors import CorsPolicy
from portero.core.policy.manifest import (
    Default,
    Layout,
    Manifest,
    ManifestDpop,
    ManifestFeed,
    ManifestIssuer,
    Route,
    Service,
    gateway_matcher,
    service_matcher,
)
from portero.core.policy.manifest_gateway import Cookie, is_loopback
from portero.core.policy.manifest_gateway_parser import read_gateway
from portero.core.policy.manifest_reader import ManifestError, Places, read_document
from portero.core.policy.requirement import Carrier, Requirement, WhenStale
from portero.core.policy.routes import Access, BadTemplate, Free, Rule, Tie, parse_template

__all__ = ["ManifestError", "parse_manifest"]

_LONGEST_LEEWAY = timedelta(minutes=10)


def parse_manifest(text: str, *, file: str) -> Manifest:
    """Read and check a whole manifest.

    Args:
        text: TOML.
        file: its name, for messages.

    Raises:
        ManifestError: something is wrong; nothing of it is used.
    """
    values, places = read_document(text, file=file)
    issuers = {name: _issuer(name, table, places) for name, table in values["issuers"].items()}
    services = {
        name: _service(name, table, issuers=issuers, places=places) for name, table in values["services"].items()
    }
    gateway = None if "gateway" not in values else read_gateway(values["gateway"], services=services, places=places)
    manifest = Manifest(
        layout=Layout(values["layout"]),
        issuers=issuers,
        services=services,
        roles=values.get("roles", {}),
        leeway=values.get("leeway", timedelta(seconds=60)),
        gateway=gateway,
    )
    _check_issuers(manifest, places)
    _check_together(manifest, places)
    places.settle()
    _check_ties(manifest, places)
    places.settle()
    return manifest


def _issuer(name: str, table: Mapping[str, Any], places: Places) -> ManifestIssuer:
    feed = table["revocation"]
    line = places.line(("issuers", name, "revocation", "secret_env"))
    return ManifestIssuer(
        name=name, **{**table, "revocation": None if feed is None else ManifestFeed(**feed, line=line)}
    )


def _service(name: str, table: Mapping[str, Any], *, issuers: Mapping[str, ManifestIssuer], places: Places) -> Service:
    at = ("services", name)
    for index, issuer in enumerate(table.get("issuers", ())):
        if issuer not in issuers:
            places.wrong((*at, "issuers", index), issuer, f"must be one of [issuers]: {', '.join(sorted(issuers))}")
    for index, upstream in enumerate(table.get("upstreams", ())):
        _check_origin((*at, "upstreams", index), upstream, places)
    for index, origin in enumerate(table.get("cors_origins", ())):
        try:
            CorsPolicy.for_origins([origin])
        except ConfigurationError as error:
            places.wrong((*at, "cors_origins", index), origin, error.expected)
    trusted = tuple(table.get("issuers", tuple(issuers)))
    routes = []
    for index, entry in enumerate(table.get("routes", ())):
        route = _route(entry, (*at, "routes", index), places)
        if route is not None:
            routes.append(route)
            if _wants_feed(route.access) and not any(issuers[one].revocation for one in trusted if one in issuers):
                places.wrong(
                    (*at, "routes", index, "when_stale"), "deny", "needs a revocation feed, and no issuer has one"
                )
    given = {**table, "issuers": trusted, "default": Default(table.get("default", "deny")), "routes": tuple(routes)}
    given["cookie"] = _cookie(table, routes, at, places)
    if "dpop" in table:
        given["dpop"] = ManifestDpop(**table["dpop"], line=places.line((*at, "dpop", "nonce_key_env")))
    if "client_certificate" in table:
        certificate = table["client_certificate"]
        encoding = CertificateEncoding(certificate.get("encoding", "rfc9440"))
        given["client_certificate"] = ClientCertificate(certificate["header"], encoding)
    return Service(name=name, **given)


def _cookie(
    table: Mapping[str, Any], routes: Sequence[Route], at: tuple[str | int, ...], places: Places
) -> Cookie | None:
    said: Mapping[str, Any] | None = table.get("cookie")
    if said is None:
        for index, route in enumerate(routes):
            if isinstance(route.access, Requirement) and Carrier.COOKIE in route.access.carriers:
                places.wrong((*at, "routes", index, "cookie"), True, "needs the service to say which: cookie = {…}")
        return None
    origins = said.get("origins", table.get("cors_origins", ()))
    try:
        CookieCredential(origins=origins)
    except ConfigurationError as error:
        places.wrong((*at, "cookie", "origins"), origins, error.expected)
    return Cookie(**{**said, "origins": tuple(origins)})


def _route(entry: Mapping[str, Any], at: tuple[str | int, ...], places: Places) -> Route | None:
    access: Access
    if entry.get("public", False):
        access = Free.PUBLIC
        for other in ("require", "when_stale", "cookie"):
            if other in entry:
                places.wrong((*at, other), entry[other], "cannot stand beside public = true: no token is looked at")
    else:
        carriers = {Carrier.COOKIE} if entry.get("cookie", False) else set()
        access = _requirement(entry.get("require", {}), entry.get("when_stale", "allow"), frozenset(carriers))
    try:
        template = parse_template(entry["match"])
    except BadTemplate as error:
        places.wrong((*at, "match"), entry["match"], str(error))
        return None
    return Route(
        entry["match"],
        template,
        access,
        places.line((*at, "match")),
        stream=entry.get("stream", False),
        timeout=entry.get("timeout"),
    )


def _requirement(require: Mapping[str, Any], when_stale: str, carriers: frozenset[Carrier]) -> Requirement:
    max_auth_age: timedelta | None = require.get("max_auth_age")
    return Requirement(
        scopes=frozenset(require.get("scopes", ())),
        scopes_any=frozenset(require.get("scopes_any", ())),
        roles=frozenset(require.get("roles", ())),
        roles_any=frozenset(require.get("roles_any", ())),
        claims=require.get("claims", {}),
        max_auth_age=None if max_auth_age is None else int(max_auth_age.total_seconds()),
        acr=tuple(sorted(require.get("acr", ()))),
        dpop=require.get("dpop", False),
        mtls=require.get("mtls", False),
        when_stale=WhenStale(when_stale),
        carriers=carriers,
    )


def _wants_feed(access: Access) -> bool:
    return isinstance(access, Requirement) and access.when_stale is WhenStale.DENY


def _check_issuers(manifest: Manifest, places: Places) -> None:
    if not manifest.issuers:
        places.wrong(("issuers",), {}, "must name at least one issuer")
    seen: dict[str, str] = {}
    for name, issuer in manifest.issuers.items():
        at = ("issuers", name)
        _check_url((*at, "issuer"), issuer.issuer, places)
        if issuer.jwks_uri is not None:
            _check_url((*at, "jwks_uri"), issuer.jwks_uri, places)
        if issuer.issuer in seen:
            places.wrong((*at, "issuer"), issuer.issuer, f"is [issuers.{seen[issuer.issuer]}] too; name it once")
        seen[issuer.issuer] = name
        feed = issuer.revocation
        if feed is not None and feed.stale_after < timedelta(seconds=2):
            # A heartbeat comes every second.
            places.wrong((*at, "revocation", "stale_after"), "(shorter)", 'must be at least "2s"')
        if feed is not None and feed.serve_relay and feed.relay is None:
            places.wrong((*at, "revocation", "serve_relay"), True, "needs the socket's path in 'relay'")


def _check_together(manifest: Manifest, places: Places) -> None:
    if manifest.leeway > _LONGEST_LEEWAY:
        places.wrong(("leeway",), "(longer)", 'must be at most "10m"')
    if not manifest.services:
        places.wrong(("services",), {}, "must name at least one service")
    if manifest.layout is Layout.MIDDLEWARE:
        return
    if manifest.gateway is None:
        places.wrong(("layout",), manifest.layout.value, "needs the table [gateway]")
    elif manifest.layout is Layout.GATEWAY and not (manifest.gateway.issuer or manifest.gateway.is_local):
        places.wrong(
            ("gateway", "issuer"),
            "(missing)",
            'must be given in the layout "gateway" where it listens beyond this machine: services know it by this',
        )
    for name, service in manifest.services.items():
        if not service.upstreams:
            places.wrong(
                ("services", name, "upstreams"), "(missing)", f'must be given in the layout "{manifest.layout.value}"'
            )


def _check_ties(manifest: Manifest, places: Places) -> None:
    compilations: list[Callable[[], object]] = [
        partial(service_matcher, service) for service in manifest.services.values()
    ]
    if manifest.gateway is not None:
        compilations.append(partial(gateway_matcher, manifest))
    for compiled in compilations:
        try:
            compiled()
        except Tie as tie:
            at = _place_of(tie.second, manifest)
            places.wrong(at, tie.second.match, f"ties with {tie.first.match!r} in line {tie.first.line}: {_TIE}")
            return


_TIE = "neither has more literal segments, an earlier literal, or alone a named method; make one of them more literal"


def _place_of(rule: Rule, manifest: Manifest) -> tuple[str | int, ...]:
    routes = manifest.services[rule.service].routes
    index = next(number for number, route in enumerate(routes) if (route.line, route.match) == (rule.line, rule.match))
    return ("services", rule.service, "routes", index, "match")


def _check_url(at: tuple[str | int, ...], url: str, places: Places) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        host = ""
    if not host or not (url.startswith("https://") or (is_loopback(host) or host.endswith(".localhost"))):
        places.wrong(at, url, "must be an https URL, or http on this machine")


def _check_origin(at: tuple[str | int, ...], origin: str, places: Places) -> None:
    try:
        _ = urlsplit(origin).port
    except ValueError:
        places.wrong(at, origin, "must be the origin of a server, such as http://127.0.0.1:8101")
