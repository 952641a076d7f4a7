"""`POST /token` (RFC 6749 §3.2): authenticate, prove, decide in one transition, sign after the commit.

The hot path. All checks that need no record come before the one transition that changes
state; the access token's times are fixed inside it, its signature is made after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import assert_never

from portero.authorization_server.config import Config
from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authentication import ClientAuthenticator, refuse_client
from portero.authorization_server.endpoints.bearer import Bearers
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.device_polls import DevicePolls
from portero.authorization_server.endpoints.dpop import Proofs
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.heard_from import place_of, source_of
from portero.authorization_server.endpoints.responses import Answer, sensitive_json, too_many
from portero.authorization_server.limits import Invented, TokenLimits, TooManyRequests
from portero.authorization_server.status_indexes import StatusIndexes
from portero.core.digests import sha256_of
from portero.core.errors import RequestError, Unavailable
from portero.core.events import Event, EventName
from portero.core.grants.authorization_code import decide_code_exchange
from portero.core.grants.client_credentials import grant_client_credentials
from portero.core.grants.device_code import decide_device_exchange
from portero.core.grants.grant import Denied, Grant, check_may_use
from portero.core.grants.refresh_token import decide_refresh_grant
from portero.core.grants.token_exchange import grant_token_exchange
from portero.core.oauth.errors import invalid_grant, invalid_request
from portero.core.oauth.metadata import STATUS_LISTS, TOKEN, Endpoints
from portero.core.oauth.token import (
    ACCESS_TOKEN_TYPE,
    ClientCredentialsRequest,
    CodeExchangeRequest,
    DeviceTokenRequest,
    GrantType,
    RefreshRequest,
    TokenExchangeRequest,
    TokenRequest,
    TokenResponse,
    TokenType,
    parse_token_request,
    render_token_response,
)
from portero.core.revocation.status_list import status_claim
from portero.core.sessions.rules import FreshMaterial, FreshStart, RefreshRules
from portero.core.tokens import access_token, id_token
from portero.core.tokens.refresh_token import TagKey, parse_refresh_token
from portero.core.transitions import Client, ClientType, CodeAggregate, CodeKey, Decision, FamilyAggregate, FamilyKey
from portero.core.types import Issuer, NumericDate, Secret
from portero.core.vouched import add_claims


class TokenEndpoint:
    """The handler."""

    def __init__(self, context: Context, clients: Clients, bearers: Bearers) -> None:
        config = context.config
        self._context = context
        self._bearers = bearers
        self._authenticator = ClientAuthenticator(context, clients)
        self._proofs = Proofs(context, htu=Endpoints.of(Issuer(config.issuer)).url(TOKEN))
        self._rules = replace(refresh_rules(config), restored_at=context.restored_at)
        # A session opened while lists are on keeps its place when they are off: its tokens go on naming it.
        self._status_lists = Endpoints.of(Issuer(config.issuer)).url(STATUS_LISTS)
        self._indexes = StatusIndexes(context) if config.status_list else None
        self._id_token_lifetime = int(config.id_token_lifetime.total_seconds())
        self._polls = DevicePolls(context)
        self._limits = TokenLimits(config, monotonic=context.clock.monotonic)

    async def post(self, request: Request) -> Answer:
        """Serve a token request."""
        now = self._context.now()
        await self._context.key_ring.keep_up()
        form = request.form()
        client = asked = None
        try:
            client = (await self._authenticator.authenticate(request, form, now=now)).client
            asked = parse_token_request(form)
            cnf_jkt = await self._proofs.proven(request, now=now)
            outcome = await self._outcome(request, asked, client, cnf_jkt=cnf_jkt, now=now)
        except RequestError as error:
            raise self._counted(error, request=request, asked=asked, client=client, now=now) from None
        if isinstance(outcome, Denied):
            raise outcome.as_error()
        answer = sensitive_json(self._rendered(outcome), origins=client.allowed_origins)
        return answer if cnf_jkt is None else answer.with_headers(self._proofs.nonce(now=now))

    async def _outcome(
        self, request: Request, asked: TokenRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant | Denied:
        match asked:
            case RefreshRequest():
                return await self._refreshed(request, asked, client, cnf_jkt=cnf_jkt, now=now)
            case CodeExchangeRequest():
                return await self._exchanged(request, asked, client, cnf_jkt=cnf_jkt, now=now)
            case ClientCredentialsRequest():
                return self._granted_to_client(asked, client, cnf_jkt=cnf_jkt, now=now)
            case TokenExchangeRequest():
                return await self._traded(asked, client, cnf_jkt=cnf_jkt, now=now)
            case DeviceTokenRequest():
                return await self._polled(asked, client, cnf_jkt=cnf_jkt, now=now)
            case _:
                assert_never(asked)

    def refuse(self, request: Request, error: RequestError) -> Answer:
        """Render a refusal; to whoever speaks DPoP with the nonce for the next try (RFC 9449 §8)."""
        if isinstance(error, TooManyRequests):
            return too_many(retry_after=error.retry_after)
        return self._proofs.refused(request, refuse_client(request, error))

    async def _refreshed(
        self, request: Request, asked: RefreshRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant | Denied:
        context = self._context
        token = parse_refresh_token(asked.refresh_token, tag_key=context.tag_keys.get)
        self._limits.check_refresh(token, client_id=client.client_id)
        fresh = FreshMaterial.of(context.random.bytes(FreshMaterial.SIZE))
        tag_key = self._tag_key()
        # A confidential client's request comes from its own machine: it says nothing of the person's place.
        place = self._place(request) if client.client_type is ClientType.PUBLIC else None

        def decide(aggregate: FamilyAggregate) -> Decision[Grant | Denied]:
            return decide_refresh_grant(
                aggregate,
                request=asked,
                token=token,
                client=client,
                cnf_jkt=cnf_jkt,
                now=now,
                rules=self._rules,
                fresh=fresh,
                tag_key=tag_key,
                place=place,
            )

        outcome = await context.commit(FamilyKey(token.family_id), decide, now=now)
        if isinstance(outcome, Denied):
            self._limits.refresh_refused(token, client_id=client.client_id)
        else:
            self._limits.refreshed(token.family_id)
        return outcome

    async def _exchanged(
        self, request: Request, asked: CodeExchangeRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant | Denied:
        context = self._context
        key = CodeKey(sha256_of(asked.code))
        guesses = self._limits.has_invented_enough(Invented.CODE, address=self._source(request))
        # A guesser does not get at the one writer any more; an honest neighbour's code is still found.
        if guesses and (await context.store.read(key)).code is None:
            raise invalid_grant("the code is not valid", detail="unknown code, from an address that guesses")
        return await self._redeemed(key, partial(decide_code_exchange, request=asked), client, cnf_jkt=cnf_jkt, now=now)

    async def _polled(
        self, asked: DeviceTokenRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant | Denied:
        check_may_use(client, GrantType.DEVICE_CODE.value, cnf_jkt=cnf_jkt)
        key = await self._polls.agreed(asked.device_code, client, now=now)
        decide = partial(decide_device_exchange, request=asked)
        return await self._redeemed(key, decide, client, cnf_jkt=cnf_jkt, now=now)

    async def _redeemed(
        self,
        key: CodeKey,
        exchange: Callable[..., Decision[Grant | Denied]],
        client: Client,
        *,
        cnf_jkt: str | None,
        now: NumericDate,
    ) -> Grant | Denied:
        context = self._context
        index = None if self._indexes is None else await self._indexes.take()
        fresh = FreshStart.of(context.random.bytes(FreshStart.SIZE), status_index=index)
        tag_key = self._tag_key()

        def decide(aggregate: CodeAggregate) -> Decision[Grant | Denied]:
            return exchange(
                aggregate, client=client, cnf_jkt=cnf_jkt, now=now, rules=self._rules, fresh=fresh, tag_key=tag_key
            )

        outcome: Grant | Denied | None = None
        try:
            outcome = await context.commit(key, decide, now=now)
        except Unavailable:
            index = None  # it may have been stored: nobody else is given it
            raise
        finally:
            if self._indexes is not None and index is not None and getattr(outcome, "status_index", None) != index:
                self._indexes.give_back(index)
        return outcome

    def _granted_to_client(
        self, asked: ClientCredentialsRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant:
        context = self._context
        fresh = FreshMaterial.of(context.random.bytes(FreshMaterial.SIZE))
        grant = grant_client_credentials(
            client, request=asked, cnf_jkt=cnf_jkt, now=now, rules=self._rules, fresh=fresh
        )
        self._limits.take_client(client.client_id)
        fields = {"grant_type": GrantType.CLIENT_CREDENTIALS.value}
        context.telemetry.record((Event(EventName.TOKEN_ISSUED, now, client_id=client.client_id, fields=fields),))
        return grant

    async def _traded(
        self, asked: TokenExchangeRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant:
        context = self._context
        try:
            subject = await self._bearers.validated(asked.subject_token.reveal())
        except RequestError as error:
            # RFC 8693 §2.2.2: a subject token that is not good is the request's fault, not the client's.
            raise invalid_request("the subject token is not valid", detail=error.detail) from None
        self._limits.take_client(client.client_id, for_subject=str(subject.claims.get("sub")))
        fresh = FreshMaterial.of(context.random.bytes(FreshMaterial.SIZE))
        grant = grant_token_exchange(
            client,
            request=asked,
            subject_claims=subject.claims,
            cnf_jkt=cnf_jkt,
            now=now,
            rules=self._rules,
            fresh=fresh,
        )
        fields = {"grant_type": "token-exchange"}
        event = Event(EventName.TOKEN_ISSUED, now, grant.subject, client.client_id, grant.sid, fields)
        context.telemetry.record((event,))
        return grant

    def _rendered(self, grant: Grant) -> bytes:
        issuer, sign = self._context.config.issuer, self._context.key_ring.sign
        claims = access_token.access_token_claims(
            issuer=issuer,
            subject=grant.subject,
            audience=grant.audience,
            client_id=grant.client_id,
            scope=grant.scope,
            jti=grant.jti,
            iat=grant.iat,
            exp=grant.exp,
            sid=grant.sid,
            auth_time=grant.auth_time,
            acr=grant.acr,
            amr=grant.amr,
            roles=grant.roles,
            cnf_jkt=grant.cnf_jkt,
        )
        add_claims(claims, grant.vouched)
        if grant.act is not None:
            claims["act"] = grant.act
        if grant.status_index is not None:
            claims["status"] = status_claim(grant.status_index, base=self._status_lists)
        token = sign(claims, typ=access_token.TYP)
        return render_token_response(
            TokenResponse(
                access_token=Secret(token),
                token_type=TokenType.BEARER if grant.cnf_jkt is None else TokenType.DPOP,
                expires_in=grant.exp - grant.iat,
                scope=grant.scope,
                refresh_token=grant.refresh_token,
                id_token=self._id_token(grant, token) if "openid" in grant.scope else None,
                refresh_after=grant.refresh_after,
                refresh_token_expires_in=grant.refresh_token_expires_in,
                session_expires_in=grant.session_expires_in,
                issued_token_type=None if grant.act is None else ACCESS_TOKEN_TYPE,
            )
        )

    def _id_token(self, grant: Grant, token: str) -> Secret[str] | None:
        if grant.user is None:
            return None  # no person signed in
        key_ring = self._context.key_ring
        claims = id_token.id_token_claims(
            issuer=self._context.config.issuer,
            subject=grant.subject,
            client_id=grant.client_id,
            iat=grant.iat,
            exp=grant.iat + self._id_token_lifetime,
            auth_time=grant.auth_time,
            nonce=grant.nonce,
            acr=grant.acr,
            amr=grant.amr,
            sid=grant.sid,
            at_hash=id_token.at_hash_of(token, alg=access_token.unverified_header_of(token).alg),
        )
        add_claims(claims, grant.vouched)
        return Secret(key_ring.sign(claims, typ=id_token.TYP))

    def _tag_key(self) -> TagKey:
        tag_keys = self._context.tag_keys
        key = tag_keys.get(tag_keys.current)
        if key is None:
            raise Unavailable("there is no current tag key")
        return TagKey(tag_keys.current, key)

    def _place(self, request: Request) -> str:
        return place_of(request, trusted_proxies=self._context.config.trusted_proxies)

    def _source(self, request: Request) -> str:
        return source_of(request, trusted_proxies=self._context.config.trusted_proxies)

    def _counted(
        self,
        error: RequestError,
        *,
        request: Request,
        asked: TokenRequest | None,
        client: Client | None,
        now: NumericDate,
    ) -> RequestError:
        """Count a failure that names something invented, and return what to answer: the failure, or 429."""
        client_id = None if client is None else client.client_id
        kind = _invented(error, asked)
        record = self._context.telemetry.record
        if kind is Invented.REFRESH_TOKEN:
            record((Event(EventName.REFRESH_REFUSED, now, client_id=client_id, fields={"because": "invented"}),))
        if kind is not None:
            try:
                self._limits.invented(kind, address=self._source(request))
            except TooManyRequests as limited:
                error = limited
        if isinstance(error, TooManyRequests):
            fields = {"limit": error.limit.value}
            record((Event(EventName.TOKEN_LIMITED, now, client_id=client_id, fields=fields),))
        return error


def _invented(error: RequestError, asked: TokenRequest | None) -> Invented | None:
    # What a transition refused about a stored record is a `Denied`; what is raised was not good at all.
    match error.error:
        case "invalid_client":
            return Invented.CREDENTIAL
        case "invalid_dpop_proof":
            return Invented.PROOF
        case "invalid_grant":
            return Invented.REFRESH_TOKEN if isinstance(asked, RefreshRequest) else Invented.CODE
        case _:
            return None


def refresh_rules(config: Config) -> RefreshRules:
    """Return the numbers of the settings, as the decisions want them."""
    return RefreshRules(
        iss=Issuer(config.issuer),
        leeway=int(config.revocation_margin.total_seconds()),
        access_token_lifetime=int(config.access_token_lifetime.total_seconds()),
        access_token_jitter=config.access_token_jitter,
        refresh_token_lifetime=int(config.refresh_token_lifetime.total_seconds()),
        session_lifetime=int(config.session_lifetime.total_seconds()),
        idle_lifetime=int(config.idle_lifetime.total_seconds()),
    )
