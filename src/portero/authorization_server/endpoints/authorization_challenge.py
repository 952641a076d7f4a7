"""`POST /authorization_challenge`: name and password from an application of the house (first-party-apps draft, §5).

The client, its page and its key first; then the request, new or stored; then the step of `sign_in.direct`.
"""

from __future__ import annotations

from portero.authorization_server.endpoints.authentication import ClientAuthenticator, refuse_client
from portero.authorization_server.endpoints.authorize import with_hint
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.dpop import Proofs
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.heard_from import address_of
from portero.authorization_server.endpoints.responses import JSON, NO_STORE, Answer, sensitive_json, too_many
from portero.authorization_server.limits import Levels, Limit, TooManyRequests
from portero.authorization_server.pages.language import choose_language
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.address import limiting_key
from portero.authorization_server.sign_in.direct import Insufficient, NeedsPage, keep_waiting, open_with_code, take_step
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.jose import base64url
from portero.core.limits import Rate
from portero.core.oauth.authorization_challenge import (
    StoredChallenge,
    auth_session_of,
    challenge_from_record,
    challenge_parameters,
    follow_up,
    render_authorization_code,
    render_insufficient,
    render_redirect_to_web,
    require_direct_sign_in,
    validate_challenge,
)
from portero.core.oauth.forms import Parameters
from portero.core.oauth.metadata import AUTHORIZATION_CHALLENGE, Endpoints
from portero.core.oauth.pushed_authorization import to_record
from portero.core.transitions import Client, Decision, LoginKey, LoginTransaction, Put
from portero.core.types import Issuer, NumericDate, Secret

RATE = Rate(300, 60.0)
"""Requests from one address: an office that signs in at nine passes, and each may leave a row for some minutes.

Guesses at passwords are held back long before, by the same counts as in the form (`sign_in.throttle`)."""


class AuthorizationChallengeEndpoint:
    """The handler."""

    def __init__(self, site: Site, clients: Clients) -> None:
        config = site.context.config
        self._site = site
        self._context = site.context
        self._authenticator = ClientAuthenticator(site.context, clients)
        self._proofs = Proofs(site.context, htu=Endpoints.of(Issuer(config.issuer)).url(AUTHORIZATION_CHALLENGE))
        self._pushed_lifetime = int(config.pushed_request_lifetime.total_seconds())
        self._asked = Levels(RATE)

    async def post(self, request: Request) -> Answer:
        """Serve a challenge request: a code, what to ask the person, or where only a page leads on."""
        now = self._context.now()
        form = request.form()
        visit = self._visit(request, form)
        self._take(visit, now=now)
        auth_session = auth_session_of(form)
        stored = None if auth_session is None else await self._stored(auth_session)
        client = (await self._authenticator.authenticate(request, _naming(form, request, stored), now=now)).client
        require_direct_sign_in(client, origin=visit.origin)
        jkt = await self._proofs.proven(request, now=now)
        if auth_session is None:
            parameters = challenge_parameters(form, client_id=client.client_id, jkt=jkt)
        else:
            parameters = follow_up(stored, client_id=client.client_id, jkt=jkt, now=now)
        answer = await self._answered(visit, parameters, client=client, stored=stored, now=now)
        return answer if jkt is None else answer.with_headers(self._proofs.nonce(now=now))

    def refuse(self, request: Request, error: RequestError) -> Answer:
        """Render a refusal; to whoever speaks DPoP with the nonce for the next try."""
        if isinstance(error, TooManyRequests):
            return too_many(retry_after=error.retry_after)
        return self._proofs.refused(request, refuse_client(request, error))

    async def _answered(
        self,
        visit: Visit,
        parameters: Parameters,
        *,
        client: Client,
        stored: StoredChallenge | None,
        now: NumericDate,
    ) -> Answer:
        site = self._site
        asked = await with_hint(
            site, parameters, validate_challenge(parameters, client=client, offered_acr=site.offered_acr)
        )
        outcome = await take_step(site, visit, asked)
        match outcome:
            case Insufficient(asks, problems):
                auth_session, expires_in = await keep_waiting(site, parameters, client=client, stored=stored)
                body = render_insufficient(
                    auth_session=auth_session, expires_in=expires_in, asks=asks, problems=problems
                )
                return _forbidden(body, client)
            case NeedsPage():
                pushed = await self._pushed(parameters, client=client, now=now)
                return _forbidden(render_redirect_to_web(pushed, lifetime=self._pushed_lifetime), client)
            case (method, proven):
                code = await open_with_code(
                    site, visit, proven, method=method, request=asked, client=client, stored=stored
                )
                return sensitive_json(render_authorization_code(code), origins=client.allowed_origins)

    async def _stored(self, auth_session: Secret[str]) -> StoredChallenge | None:
        return challenge_from_record(await self._context.store.read(LoginKey(sha256_of(auth_session))))

    async def _pushed(self, parameters: Parameters, *, client: Client, now: NumericDate) -> Secret[str] | None:
        """Keep the request for the authorization endpoint, where it says where to go from there."""
        if "redirect_uri" not in parameters:
            return None
        secret = Secret(base64url.encode(self._context.random.bytes(32)))
        record = to_record(
            parameters,
            id_digest=sha256_of(secret),
            client_id=client.client_id,
            now=now,
            lifetime=self._pushed_lifetime,
        )

        def decide(_: LoginTransaction | None) -> Decision[None]:
            return Decision(None, (Put(record),))

        await self._context.commit(LoginKey(record.id_digest), decide, now=now)
        return secret

    def _visit(self, request: Request, form: Parameters) -> Visit:
        config = self._context.config
        return Visit(
            method=request.method,
            query=Parameters({}),
            form=form,
            cookies={},
            language=choose_language(
                ui_locales=(form.get("ui_locales") or "").split()[:16],
                accept_language=request.header(b"accept-language") or "",
                offered=config.languages,
            ),
            user_agent=request.header(b"user-agent") or "",
            address=address_of(request, trusted_proxies=config.trusted_proxies),
            origin=request.header(b"origin"),
            fetch_site=request.header(b"sec-fetch-site"),
        )

    def _take(self, visit: Visit, *, now: NumericDate) -> None:
        at, source = self._context.clock.monotonic(), limiting_key(visit.address)
        wait = self._asked.wait(source, at=at)
        if wait > 0:
            event = Event(EventName.TOKEN_LIMITED, now, fields={"limit": Limit.DIRECT.value})
            self._context.telemetry.record((event,))
            raise TooManyRequests(Limit.DIRECT, wait=wait)
        self._asked.spend(source, at=at)


def _naming(form: Parameters, request: Request, stored: StoredChallenge | None) -> Parameters:
    """The form with its client: `auth_session` says it where nothing else does (§5.1)."""
    named = "client_id" in form or "client_assertion" in form or request.header(b"authorization") is not None
    return form if named or stored is None else form.with_value("client_id", stored.client_id)


def _forbidden(body: bytes, client: Client) -> Answer:
    return Answer(403, JSON + NO_STORE, body, client.allowed_origins)
