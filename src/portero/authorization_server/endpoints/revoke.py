"""`POST /revoke` (RFC 7009).

Any authentic generation of a refresh token ends its device session; an access token is
taken back by its `jti`. The answer is 200 whatever the token was: unknown, invented,
expired, or another client's (which is left alone).
"""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authentication import ClientAuthenticator
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import NO_STORE, Answer
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.oauth.revocation import parse_revocation_request
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.sessions.ending import Ended, decide_token_revocation
from portero.core.tokens.access_token import TYP
from portero.core.tokens.refresh_token import PREFIX, parse_refresh_token
from portero.core.transitions import (
    Audit,
    Client,
    ClientAggregate,
    ClientKey,
    Decision,
    FamilyAggregate,
    FamilyKey,
    Revoke,
)
from portero.core.types import Issuer, NumericDate, Secret


class RevocationEndpoint:
    """The handler."""

    def __init__(self, context: Context, clients: Clients) -> None:
        self._context = context
        self._authenticator = ClientAuthenticator(context, clients)
        self._issuer = Issuer(context.config.issuer)
        self._leeway = int(context.config.revocation_margin.total_seconds())

    async def post(self, request: Request) -> Answer:
        """Serve a revocation request."""
        now = self._context.now()
        form = request.form()
        client = (await self._authenticator.authenticate(request, form, now=now)).client
        token = parse_revocation_request(form).token
        if token.reveal().startswith(PREFIX):
            await self._end_session(token, client, now=now)
        else:
            await self._take_back(token, client, now=now)
        return Answer(200, (*NO_STORE, (b"content-type", b"text/plain; charset=utf-8")), origins=client.allowed_origins)

    async def _end_session(self, token: Secret[str], client: Client, *, now: NumericDate) -> None:
        try:
            refresh_token = parse_refresh_token(token, tag_key=self._context.tag_keys.get)
        except RequestError:
            return  # RFC 7009 §2.2: 200 for an invalid token

        def decide(aggregate: FamilyAggregate) -> Decision[Ended]:
            return decide_token_revocation(
                aggregate, client_id=client.client_id, now=now, iss=self._issuer, leeway=self._leeway
            )

        await self._context.commit(FamilyKey(refresh_token.family_id), decide, now=now)

    async def _take_back(self, token: Secret[str], client: Client, *, now: NumericDate) -> None:
        await self._context.key_ring.keep_up()
        try:
            claims = self._context.key_ring.verify_own(token.reveal(), typ=TYP)
        except RequestError:
            return
        jti, exp = claims.get("jti"), claims.get("exp")
        if claims.get("client_id") != client.client_id or not isinstance(jti, str) or type(exp) is not int:
            return
        until = NumericDate(exp + self._leeway)
        if until <= now:
            return  # nobody accepts it any more
        event = Event(
            EventName.TOKEN_REVOKED, now, claims.get("sub"), client.client_id, claims.get("sid"), {"jti": jti}
        )

        def decide(aggregate: ClientAggregate) -> Decision[None]:
            revocation = Revocation(self._issuer, RevokedKind.TOKEN, jti, now, until)
            return Decision(None, (Revoke(revocation), Audit(event)), (event,))

        await self._context.commit(ClientKey(client.client_id), decide, now=now)
