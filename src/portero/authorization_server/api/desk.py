"""What the API's operations work with, and for whom: the person of a token, or an operator's program.

Both present an access token of this server whose audience is this server (RFC 8707): a service that was given
a token of its own cannot turn to its owner's account with it. No cookie is ever looked at (decision 0090).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.openapi.models import OAuthFlowAuthorizationCode, OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import OAuth2

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.bearer import Bearers, OwnAccessToken
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.exchange import Request as Exchange
from portero.authorization_server.operations import Operations
from portero.core.errors import RequestError
from portero.core.oauth.errors import insufficient_scope, invalid_token
from portero.core.transitions import SubjectKey, User
from portero.core.types import ClientId, Sid, Subject

ACCOUNT = "account"
"""The scope with which an application of ours acts for a person in their account."""
OPERATOR = "operator"
"""The scope with which an operator's program acts for itself."""

_PERSON = OAuth2(
    scheme_name="person",
    description="An access token of a person, for this server as audience, from a first-party client.",
    flows=OAuthFlows(
        authorizationCode=OAuthFlowAuthorizationCode(
            authorizationUrl="/authorize", tokenUrl="/token", scopes={ACCOUNT: "See and end one's own sessions."}
        )
    ),
    auto_error=False,
)
_OPERATOR = OAuth2(
    scheme_name="operator",
    description="An access token of a client for itself, for this server as audience.",
    flows=OAuthFlows(
        clientCredentials=OAuthFlowClientCredentials(
            tokenUrl="/token", scopes={OPERATOR: "See and change everybody's sessions, users and clients."}
        )
    ),
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Desk:
    """The ports, and who may be believed."""

    context: Context
    clients: Clients
    bearers: Bearers

    async def client_name(self, client_id: ClientId) -> str:
        """What people call a client; its id where it is not registered any more."""
        client = await self.clients.get(client_id)
        return client_id if client is None else client.client_name


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, and from which of their sessions."""

    user: User
    sid: Sid


@dataclass(frozen=True, slots=True)
class Operator:
    """The program that asks."""

    client_id: ClientId

    def operations(self, desk: Desk) -> Operations:
        """What it may do, in its name."""
        return Operations(desk.context, by=self.client_id)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]


async def _person(
    request: Request, desk: AtDesk, _: Annotated[str | None, Security(_PERSON, scopes=[ACCOUNT])]
) -> Person:
    token = await _token(request, desk, scope=ACCOUNT)
    client = await desk.clients.get(token.client_id)
    if client is None or not client.first_party:
        # Whoever may end all of a person's sessions is no stranger, whatever the person agreed to.
        raise insufficient_scope("this application may not act in the account")
    subject, sid = token.claims.get("sub"), token.claims.get("sid")
    user = None
    if isinstance(subject, str) and isinstance(sid, str):
        user = (await desk.context.store.read(SubjectKey(Subject(subject)))).user
    if user is None or not user.enabled:
        raise invalid_token("the access token is not about a person who can sign in")
    return Person(user, Sid(str(sid)))


async def _operator(
    request: Request, desk: AtDesk, _: Annotated[str | None, Security(_OPERATOR, scopes=[OPERATOR])]
) -> Operator:
    token = await _token(request, desk, scope=OPERATOR)
    if not token.is_of_client_itself:
        # Granted by a person, it would make an operator of everybody who can sign in to that client.
        raise insufficient_scope("an operator's token is one of a client for itself (client_credentials)")
    return Operator(token.client_id)


async def _token(request: Request, desk: Desk, *, scope: str) -> OwnAccessToken:
    exchange = Exchange(request.method, request.scope["headers"], request.scope["query_string"], b"")
    token = await desk.bearers.presented(exchange)
    if desk.context.config.issuer not in token.audience:
        raise invalid_token("the access token is for another audience")
    if scope not in token.scope:
        raise insufficient_scope(f"the scope {scope} is needed")
    return token


ThisPerson = Annotated[Person, Depends(_person)]
ThisOperator = Annotated[Operator, Depends(_operator)]


def not_found(what: str) -> RequestError:
    """There is no such thing, or it is somebody else's: the same answer."""
    return RequestError("not_found", f"there is no such {what}", status=404)
