"""`POST /par` (RFC 9126): authenticate the client, judge its request, keep it, and hand out a reference."""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authentication import ClientAuthenticator, refuse_client
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.dpop import Proofs
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import JSON, NO_STORE, Answer
from portero.authorization_server.sign_in.methods import offered_acr, open_methods
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.jose import base64url
from portero.core.oauth.authorization import response_target, validate_authorization_request
from portero.core.oauth.errors import invalid_dpop_proof
from portero.core.oauth.metadata import PAR, Endpoints
from portero.core.oauth.pushed_authorization import pushed_parameters, render_pushed, to_record
from portero.core.transitions import Decision, LoginKey, LoginTransaction, Put
from portero.core.types import Issuer, Secret


class PushedAuthorizationEndpoint:
    """The handler."""

    def __init__(self, context: Context, clients: Clients) -> None:
        self._context = context
        self._authenticator = ClientAuthenticator(context, clients)
        self._proofs = Proofs(context, htu=Endpoints.of(Issuer(context.config.issuer)).url(PAR))
        self._offered_acr = offered_acr(open_methods(context.config.sign_in))
        self._lifetime = int(context.config.pushed_request_lifetime.total_seconds())

    async def post(self, request: Request) -> Answer:
        """Serve a pushed request: 201 with its reference, or the error that the authorization endpoint would give."""
        now = self._context.now()
        form = request.form()
        client = (await self._authenticator.authenticate(request, form, now=now)).client
        parameters = pushed_parameters(form).with_value("client_id", client.client_id)
        jkt = await self._proofs.proven(request, now=now)
        if jkt is not None:
            # RFC 9449 §10.1: a proof binds the code as `dpop_jkt` does, and both must name the same key.
            if parameters.get("dpop_jkt") not in (None, jkt):
                raise invalid_dpop_proof("dpop_jkt names another key than the proof")
            parameters = parameters.with_value("dpop_jkt", jkt)
        target = response_target(parameters, client=client)
        validate_authorization_request(parameters, client=client, target=target, offered_acr=self._offered_acr)
        secret = Secret(base64url.encode(self._context.random.bytes(32)))
        record = to_record(
            parameters, id_digest=sha256_of(secret), client_id=client.client_id, now=now, lifetime=self._lifetime
        )

        def decide(_: LoginTransaction | None) -> Decision[None]:
            return Decision(None, (Put(record),))

        await self._context.commit(LoginKey(record.id_digest), decide, now=now)
        body = render_pushed(secret, lifetime=self._lifetime)
        return Answer(201, JSON + NO_STORE, body, client.allowed_origins)

    def refuse(self, request: Request, error: RequestError) -> Answer:
        """Render a refusal; to whoever speaks DPoP with the nonce for the next try."""
        # Not a `RedirectedError` on the wire: the one who asks is the client itself (RFC 9126 §2.3).
        return self._proofs.refused(request, refuse_client(request, error))
