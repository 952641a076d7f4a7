"""`POST /register`: dynamic client registration (RFC 7591), off unless configured.

The initial access token (§3) is an ordinary access token of a client for itself, with the scope `clients:register`
and this server as audience: it expires, can be taken back, and names in the audit trail who let the client in.
"""

from __future__ import annotations

import orjson

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.bearer import Bearers
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import JSON, NO_STORE, Answer
from portero.core.digests import sha256_of
from portero.core.jose import base64url
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.oauth.client_authentication import AuthenticationMethod
from portero.core.oauth.client_metadata import RegistrationTerms, client_of_metadata, metadata_of
from portero.core.oauth.errors import insufficient_scope, invalid_request
from portero.core.registration import register_client
from portero.core.transitions import ClientAggregate, ClientKey, Decision, signed
from portero.core.types import ClientId, Secret

SCOPE = "clients:register"
_METHODS = (
    AuthenticationMethod.CLIENT_SECRET_BASIC,
    AuthenticationMethod.CLIENT_SECRET_POST,
    AuthenticationMethod.PRIVATE_KEY_JWT,
    AuthenticationMethod.NONE,
)


class RegistrationEndpoint:
    """The handler."""

    def __init__(self, context: Context, bearers: Bearers) -> None:
        self._context = context
        self._bearers = bearers

    async def post(self, request: Request) -> Answer:
        """Register a client; the answer holds its secret, once."""
        token = await self._bearers.presented(request)
        config = self._context.config
        if SCOPE not in token.scope or not token.is_of_client_itself or config.issuer not in token.audience:
            raise insufficient_scope(f"an initial access token is one of a client for itself, with the scope {SCOPE}")
        try:
            members = parse_object(request.body)
        except StrictJsonError:
            raise invalid_request("the body must be a JSON object") from None
        context = self._context
        secret = Secret(base64url.encode(context.random.bytes(32)))
        client = client_of_metadata(
            members,
            client_id=ClientId(f"c-{context.random.bytes(16).hex()}"),
            secret_digest=sha256_of(secret),
            terms=RegistrationTerms(
                scope=config.registration_scopes,
                audiences=config.registration_audiences,
                methods=_METHODS,
                id_token_algorithms=context.key_ring.algorithms,
            ),
            now=context.now(),
        )

        def decide(aggregate: ClientAggregate) -> Decision[bool]:
            return signed(register_client(aggregate, client=client), by=token.client_id)

        if not await context.commit(ClientKey(client.client_id), decide, now=client.created):
            raise AssertionError("128 random bits were drawn before")
        answer = {**metadata_of(client), "client_id_issued_at": client.created}
        if client.secret_digest is not None:
            answer |= {"client_secret": secret.reveal(), "client_secret_expires_at": 0}
        return Answer(201, JSON + NO_STORE, orjson.dumps(answer))
