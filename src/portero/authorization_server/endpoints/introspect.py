"""`POST /introspect` (RFC 7662), for services that cannot verify a token themselves.

The caller authenticates as a confidential client. It is told of its own tokens, and of
access tokens for an audience it may name itself; everything else is inactive.
"""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authentication import ClientAuthenticator
from portero.authorization_server.endpoints.bearer import Bearers
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import Answer, sensitive_json
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.oauth.errors import invalid_client
from portero.core.oauth.introspection import INACTIVE, render_active_access_token, render_active_refresh_token
from portero.core.oauth.revocation import parse_revocation_request
from portero.core.sessions.lifetimes import is_live
from portero.core.sessions.records import SessionStatus
from portero.core.tokens.access_token import TYP, unverified_header_of
from portero.core.tokens.refresh_token import PREFIX, parse_refresh_token
from portero.core.transitions import Client, FamilyKey
from portero.core.types import Issuer, NumericDate, Secret


class IntrospectionEndpoint:
    """The handler."""

    def __init__(self, context: Context, clients: Clients, bearers: Bearers) -> None:
        self._context = context
        self._bearers = bearers
        self._authenticator = ClientAuthenticator(context, clients)

    async def post(self, request: Request) -> Answer:
        """Serve an introspection request."""
        now = self._context.now()
        form = request.form()
        authenticated = await self._authenticator.authenticate(request, form, now=now)
        if not authenticated.is_proven:
            # RFC 7662 §2.1: "the endpoint MUST also require some form of authorization".
            raise invalid_client("introspection is for clients that authenticate")
        token = parse_revocation_request(form).token
        if token.reveal().startswith(PREFIX):
            body = await self._refresh_token(token, authenticated.client, now=now)
        else:
            body = await self._access_token(token.reveal(), authenticated.client, now=now)
        return sensitive_json(body)

    async def _access_token(self, token: str, client: Client, *, now: NumericDate) -> bytes:
        await self._context.key_ring.keep_up()
        try:
            claims = self._context.key_ring.verify_own(token, typ=TYP)
        except RequestError:
            return INACTIVE
        exp, aud = claims.get("exp"), claims.get("aud")
        audience = {name for name in (aud if isinstance(aud, list) else [aud]) if isinstance(name, str)}
        concerned = claims.get("client_id") == client.client_id or not audience.isdisjoint(client.audiences)
        if type(exp) is not int or exp <= now or not concerned:
            return INACTIVE
        if await self._bearers.taken_back(claims, kid=unverified_header_of(token).kid, now=now):
            return INACTIVE
        return render_active_access_token(claims)

    async def _refresh_token(self, token: Secret[str], client: Client, *, now: NumericDate) -> bytes:
        try:
            presented = parse_refresh_token(token, tag_key=self._context.tag_keys.get)
        except RequestError:
            return INACTIVE
        aggregate = await self._context.store.read(FamilyKey(presented.family_id))
        family, session, user = aggregate.family, aggregate.session, aggregate.user
        if family is None or session is None or family.client_id != client.client_id:
            return INACTIVE
        live = is_live(session, now=now) and family.status is SessionStatus.ACTIVE and now < family.head.expires
        is_head = presented.generation == family.head.generation and Secret[bytes](family.head.digest).matches(
            Secret[bytes](sha256_of(presented.secret))
        )
        if not (live and is_head and (user is None or user.enabled)):
            return INACTIVE
        return render_active_refresh_token(family, session, issuer=Issuer(self._context.config.issuer))
