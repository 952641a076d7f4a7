"""`GET` and `POST /userinfo` (OpenID Connect Core §5.3). The token comes in the header, or in a form (§5.3.1).

Never in the URL, which ends in logs.
"""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.bearer import Bearers
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import Answer, sensitive_json
from portero.core.oauth.errors import insufficient_scope, invalid_token
from portero.core.oauth.userinfo import render_userinfo
from portero.core.transitions import SubjectKey
from portero.core.types import Subject


class UserinfoEndpoint:
    """The handler."""

    def __init__(self, context: Context, clients: Clients, bearers: Bearers) -> None:
        self._context = context
        self._clients = clients
        self._bearers = bearers

    async def answer(self, request: Request) -> Answer:
        """Serve a userinfo request."""
        token = await self._bearers.presented(request, in_body=True)
        # The scope is what makes a token good for here (OIDC Core §5.3: an access token obtained by an OpenID
        # authentication request); its audience are the services it was asked for beside that (decision 0043).
        if "openid" not in token.scope:
            raise insufficient_scope("the scope openid is needed")
        subject = token.claims.get("sub")
        user = None
        if isinstance(subject, str):
            user = (await self._context.store.read(SubjectKey(Subject(subject)))).user
        if user is None or not user.enabled:
            raise invalid_token("the access token is not about a person who can sign in")
        client = await self._clients.get(token.client_id)
        origins = () if client is None else client.allowed_origins
        return sensitive_json(
            render_userinfo(user, scope=token.scope, scope_claims=self._context.config.scope_claims), origins=origins
        )
