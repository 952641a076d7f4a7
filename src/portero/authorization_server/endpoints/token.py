"""`POST /token` (RFC 6749 §3.2): authenticate, prove, decide in one transition, sign after the commit.

The hot path. All checks that need no record come before the one transition that changes
state; the access token's times are fixed inside it, its signature is made after it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import assert_never

from portero.authorization_server.config import Config
from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authentication import ClientAuthenticator, refuse_client
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.dpop import Proofs
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import Answer, sensitive_json
from portero.authorization_server.sign_in.address import client_address
from portero.core.digests import sha256_of
from portero.core.errors import RequestError, Unavailable
from portero.core.events import Event, EventName
from portero.core.grants.authorization_code import decide_code_exchange
from portero.core.grants.client_credentials import grant_client_credentials
from portero.core.grants.grant import Denied, Grant
from portero.core.grants.refresh_token import decide_refresh_grant
from portero.core.oauth.metadata import TOKEN, Endpoints
from portero.core.oauth.token import (
    ClientCredentialsRequest,
    CodeExchangeRequest,
    GrantType,
    RefreshRequest,
    TokenResponse,
    TokenType,
    parse_token_request,
    render_token_response,
)
from portero.core.sessions.device_name import coarse_place
from portero.core.sessions.rules import FreshMaterial, FreshStart, RefreshRules
from portero.core.tokens import access_token, id_token
from portero.core.tokens.refresh_token import TagKey, parse_refresh_token
from portero.core.transitions import Client, ClientType, CodeAggregate, CodeKey, Decision, FamilyAggregate, FamilyKey
from portero.core.types import Issuer, NumericDate, Secret


class TokenEndpoint:
    """The handler."""

    def __init__(self, context: Context, clients: Clients) -> None:
        config = context.config
        self._context = context
        self._authenticator = ClientAuthenticator(context, clients)
        self._proofs = Proofs(context, htu=Endpoints.of(Issuer(config.issuer)).url(TOKEN))
        self._rules = refresh_rules(config)
        self._id_token_lifetime = int(config.id_token_lifetime.total_seconds())

    async def post(self, request: Request) -> Answer:
        """Serve a token request."""
        context = self._context
        now = context.now()
        await context.key_ring.keep_up()
        form = request.form()
        client = (await self._authenticator.authenticate(request, form, now=now)).client
        asked = parse_token_request(form)
        cnf_jkt = await self._proofs.proven(request, now=now)
        match asked:
            case RefreshRequest():
                outcome = await self._refreshed(request, asked, client, cnf_jkt=cnf_jkt, now=now)
            case CodeExchangeRequest():
                outcome = await self._exchanged(asked, client, cnf_jkt=cnf_jkt, now=now)
            case ClientCredentialsRequest():
                outcome = self._granted_to_client(asked, client, cnf_jkt=cnf_jkt, now=now)
            case _:
                assert_never(asked)
        if isinstance(outcome, Denied):
            raise outcome.as_error()
        answer = sensitive_json(self._rendered(outcome), origins=client.allowed_origins)
        return answer if cnf_jkt is None else answer.with_headers(self._proofs.nonce(now=now))

    def refuse(self, request: Request, error: RequestError) -> Answer:
        """Render a refusal; to whoever speaks DPoP with the nonce for the next try (RFC 9449 §8)."""
        answer = refuse_client(request, error)
        if not any(name == b"dpop" for name, _ in request.unverified_headers):
            return answer
        return answer.with_headers(self._proofs.nonce(now=self._context.now()))

    async def _refreshed(
        self, request: Request, asked: RefreshRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant | Denied:
        context = self._context
        token = parse_refresh_token(asked.refresh_token, tag_key=context.tag_keys.get)
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

        return await context.commit(FamilyKey(token.family_id), decide, now=now)

    async def _exchanged(
        self, asked: CodeExchangeRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant | Denied:
        context = self._context
        fresh = FreshStart.of(context.random.bytes(FreshStart.SIZE))
        tag_key = self._tag_key()

        def decide(aggregate: CodeAggregate) -> Decision[Grant | Denied]:
            return decide_code_exchange(
                aggregate,
                request=asked,
                client=client,
                cnf_jkt=cnf_jkt,
                now=now,
                rules=self._rules,
                fresh=fresh,
                tag_key=tag_key,
            )

        return await context.commit(CodeKey(sha256_of(asked.code)), decide, now=now)

    def _granted_to_client(
        self, asked: ClientCredentialsRequest, client: Client, *, cnf_jkt: str | None, now: NumericDate
    ) -> Grant:
        context = self._context
        fresh = FreshMaterial.of(context.random.bytes(FreshMaterial.SIZE))
        grant = grant_client_credentials(
            client, request=asked, cnf_jkt=cnf_jkt, now=now, rules=self._rules, fresh=fresh
        )
        fields = {"grant_type": GrantType.CLIENT_CREDENTIALS.value}
        context.telemetry.record((Event(EventName.TOKEN_ISSUED, now, client_id=client.client_id, fields=fields),))
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
        return Secret(key_ring.sign(claims, typ=id_token.TYP))

    def _tag_key(self) -> TagKey:
        tag_keys = self._context.tag_keys
        key = tag_keys.get(tag_keys.current)
        if key is None:
            raise Unavailable("there is no current tag key")
        return TagKey(tag_keys.current, key)

    def _place(self, request: Request) -> str:
        proxies = self._context.config.trusted_proxies
        forwarded = tuple(
            value.decode("latin-1") for name, value in request.unverified_headers if name == b"x-forwarded-for"
        )
        return _place_of(request.peer, forwarded if proxies else (), proxies)


def refresh_rules(config: Config) -> RefreshRules:
    """Return the numbers of the settings, as the decisions want them."""
    return RefreshRules(
        iss=Issuer(config.issuer),
        leeway=int(config.leeway.total_seconds()),
        access_token_lifetime=int(config.access_token_lifetime.total_seconds()),
        access_token_jitter=config.access_token_jitter,
        refresh_token_lifetime=int(config.refresh_token_lifetime.total_seconds()),
        session_lifetime=int(config.session_lifetime.total_seconds()),
        idle_lifetime=int(config.idle_lifetime.total_seconds()),
    )


@lru_cache(maxsize=4096)
def _place_of(peer: str | None, forwarded_for: tuple[str, ...], trusted_proxies: tuple[str, ...]) -> str:
    address = client_address(peer, forwarded_for=forwarded_for, trusted_proxies=trusted_proxies)
    return coarse_place(None if address is None else str(address))
