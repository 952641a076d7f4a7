"""The doors of the configured providers, and the steps behind each."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.routing import BaseRoute

from portero.adapters.fetch.discovery import discover_provider
from portero.adapters.telemetry.json_log import log
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.texts import Texts
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.cookies import HANDLE_LENGTH
from portero.authorization_server.sign_in.method import Again, Ask, Attempt, Away, Door, Outcome, Person, Proven, StepOf
from portero.authorization_server.sign_in.methods.openid import ending, signed_out
from portero.authorization_server.sign_in.methods.openid.provider import (
    Departure,
    Provider,
    Vouching,
    departing,
    drive,
    redeeming,
)
from portero.authorization_server.sign_in.methods.openid.texts import TEXTS
from portero.core.errors import RequestError, Unavailable
from portero.core.events import Event, EventName
from portero.core.jose import base64url
from portero.core.types import NumericDate
from portero.core.vouched import MAX_CLAIMS, Vouched, vouched_to_json

NAME = "openid"
MAX_HINT = 4096
"""Characters of an ID token that is kept for a sign-out there."""
MAX_AMR = 8
LEEWAY = 60
"""Seconds by which a provider's clock may be behind ours where somebody has to sign in anew."""


@dataclass(frozen=True, slots=True)
class OpenIdMethod:
    """Signing in by another provider's word."""

    providers: Mapping[str, Provider]
    name: str = NAME
    panel: None = None
    asks: tuple[str, ...] = ()
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: TEXTS)

    @property
    def steps(self) -> Mapping[str, StepOf]:
        found: dict[str, StepOf] = {}
        for name, provider in self.providers.items():
            found[f"{name}/start"] = StepOf(partial(_start, provider), posts=False)
            found[f"{name}/callback"] = StepOf(partial(_callback, provider), posts=False, handle_of=_handle)
            found[f"{name}/finish"] = StepOf(partial(_finish, provider), posts=False, handle_of=_handle)
        return found

    @property
    def acr_values(self) -> tuple[str, ...]:
        return tuple(one.acr_prefix + each for one in self.providers.values() for each in one.acr_values)

    def doors(self, texts: Texts) -> tuple[Door, ...]:
        return tuple(
            Door(
                texts("sign_in.openid.door", provider=provider.label),
                f"{name}/start",
                provider=provider.issuer,
                provider_name=provider.label,
            )
            for name, provider in self.providers.items()
        )

    def panel_values(self, attempt: Attempt) -> Mapping[str, Any]:
        return {}

    async def end_session_url(self, site: Site, vouched: Vouched) -> str | None:
        provider = next((each for each in self.providers.values() if each.issuer == vouched.provider), None)
        if provider is None or not provider.sign_out or vouched.id_token_hint is None:
            return None
        try:
            endpoint: str | None = (await drive(provider, discover_provider(provider.issuer))).end_session_endpoint
        except Unavailable as failure:
            log("a provider cannot be reached", {"provider": provider.name, "what": failure.what})
            return None
        return None if endpoint is None else ending.location(site, provider, endpoint, hint=vouched.id_token_hint)

    def routes(self, site: Site) -> list[BaseRoute]:
        for provider in self.providers.values():
            provider.client_secret()  # a server that lacks one does not start
        providers = self.providers.values()
        return [route(site, provider) for provider in providers for route in (signed_out.route, ending.route)]


def _handle(visit: Visit) -> str:
    """`state` begins with the handle of the attempt it belongs to."""
    return (visit.query.get("state") or "")[:HANDLE_LENGTH]


def _in_their_words(provider: Provider, acr_values: tuple[str, ...]) -> tuple[str, ...]:
    # A level that stands in a claim of their own is no `acr` to them.
    if provider.acr_claim != "acr":
        return ()
    return tuple(each for each in provider.acr_values if provider.acr_prefix + each in acr_values)


def _redirect_uri(site: Site, provider: Provider) -> str:
    # One for each provider: an answer that comes to another's is not even looked at (RFC 9700 §4.4.2.2).
    return f"{site.issuer}/sign-in/{NAME}/{provider.name}/callback"


async def _start(provider: Provider, site: Site, visit: Visit, attempt: Attempt, texts: Texts) -> Outcome:
    """Leave for the provider."""
    random = site.context.random
    departure = Departure(
        state=attempt.handle + base64url.encode(random.bytes(16)),
        nonce=base64url.encode(random.bytes(16)),
        code_verifier=base64url.encode(random.bytes(32)),
    )
    challenge = base64url.encode(hashlib.sha256(departure.code_verifier.encode()).digest())
    try:
        location = await drive(
            provider,
            departing(
                provider,
                departure,
                redirect_uri=_redirect_uri(site, provider),
                code_challenge=challenge,
                fresh=attempt.fresh,
                acr_values=_in_their_words(provider, attempt.acr_values),
            ),
        )
    except Unavailable as failure:
        return _unavailable(provider, failure, texts)
    return Away(location, keep={"provider": provider.name, "left": site.context.now(), **asdict(departure)})


async def _callback(provider: Provider, site: Site, visit: Visit, attempt: Attempt, texts: Texts) -> Outcome:
    """Come back from the provider, and end the chain of redirects with a page that goes on by itself.

    The chain began with the provider's own form. Chromium holds every redirect of it to that form's `form-action`,
    where the provider names us, and not the application that waits.
    """
    query = {name: visit.query.get(name) for name in ("state", "code", "iss", "error")}
    carried = urlencode({name: value for name, value in query.items() if value is not None})
    return Ask("openid/onward.html", {"onward": site.path(f"/sign-in/{NAME}/{provider.name}/finish?{carried}")})


async def _finish(provider: Provider, site: Site, visit: Visit, attempt: Attempt, texts: Texts) -> Outcome:
    """Redeem what the provider sent, and know who it is."""
    kept = dict(attempt.kept or {})
    state = visit.query.get("state") or ""
    if kept.pop("provider", None) != provider.name or not hmac.compare_digest(state.encode(), kept["state"].encode()):
        raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="another state")
    code, left = visit.query.get("code"), kept.pop("left")
    try:
        if code is None:
            raise RequestError("access_denied", "the provider refused", detail=(visit.query.get("error") or "")[:60])
        vouching = await drive(
            provider,
            redeeming(
                provider,
                Departure(**kept),
                code=code,
                iss=visit.query.get("iss"),
                redirect_uri=_redirect_uri(site, provider),
                now=site.context.clock.now(),
            ),
        )
        if attempt.fresh and not _is_fresh(vouching.id_token.auth_time, left=left, links=attempt.links):
            return _failed(provider, site, texts, "sign_in.openid.stale", detail="auth_time is missing or from before")
        return _proven(provider, vouching, now=site.context.now())
    except Unavailable as failure:
        return _unavailable(provider, failure, texts)
    except RequestError as refused:
        return _failed(provider, site, texts, "sign_in.openid.refused", detail=refused.detail)


def _is_fresh(auth_time: int | None, *, left: int, links: bool) -> bool:
    """Say whether the person proved themselves there after they left.

    Some providers never say when (Google). That is no answer to an application that asked. Where an identity is
    linked the person sees whose it is before it counts, and has proved themselves here: one that is old is refused, and
    one without a time is not.
    """
    if auth_time is None:
        return links
    return auth_time >= left - LEEWAY


def _failed(provider: Provider, site: Site, texts: Texts, text: str, *, detail: str) -> Again:
    log("a provider's answer was refused", {"provider": provider.name, "detail": detail})
    failed = Event(EventName.SIGN_IN_FAILED, site.context.now(), fields={"method": NAME})
    site.context.telemetry.record((failed,))
    return Again(((texts(text, provider=provider.label), None),), 422)


def _proven(provider: Provider, vouching: Vouching, *, now: NumericDate) -> Proven:
    token, said = vouching.id_token, vouching.claims
    claims = {ours: said[theirs] for ours, theirs in provider.claims.items() if _is_plain(said.get(theirs))}
    level = said.get(provider.acr_claim)
    email = _read(said.get("email"), 200) if said.get("email_verified") is True else ""
    label = email or _read(said.get("preferred_username"), 60) or _read(said.get("name"), 60) or token.subject
    vouched = Vouched(
        provider=provider.issuer,
        external=token.subject,
        claims=claims,
        session=token.sid,
        id_token_hint=vouching.raw_id_token if len(vouching.raw_id_token) <= MAX_HINT else None,
    )
    try:
        vouched_to_json(vouched)
    except ValueError as error:
        raise RequestError("invalid_request", "the provider says too much", detail=str(error)) from None
    return Proven(
        Person(
            vouched,
            label=label[:60],
            name=_read(said.get("name"), 120),
            # For the person's page. No account is ever found by it.
            email=email,
            create=provider.just_in_time,
        ),
        auth_time=NumericDate(min(token.iat if token.auth_time is None else token.auth_time, now)),
        # Theirs, under a name of ours: no provider's word is the word of another, or of our own password.
        acr=provider.acr_prefix + (_read(str(level) if _is_plain(level) else None, 60) or "unspecified"),
        amr=tuple(each for each in (_read(amr, 60) for amr in token.amr[:MAX_AMR]) if each) or ("fed",),
    )


def _read(value: object, limit: int) -> str:
    """What people and databases can take of a text: printable characters; empty where it is none."""
    return "".join(filter(str.isprintable, value))[:limit] if isinstance(value, str) else ""


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | bool) and len(str(value)) <= MAX_CLAIMS // 8


def _unavailable(provider: Provider, failure: Unavailable, texts: Texts) -> Again:
    log("a provider cannot be reached", {"provider": provider.name, "what": failure.what})
    return Again(((texts("sign_in.openid.unavailable", provider=provider.label), None),), 503, wait=5)
