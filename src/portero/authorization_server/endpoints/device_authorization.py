"""`POST /device_authorization` (RFC 8628 §3.1): a code to type elsewhere, and a code to poll with."""

from __future__ import annotations

from dataclasses import replace

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authentication import ClientAuthenticator, refuse_client
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.heard_from import place_of, source_of
from portero.authorization_server.endpoints.responses import Answer, sensitive_json, too_many
from portero.authorization_server.limits import Levels, Limit, TooManyRequests
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.grants.grant import audience_of, check_registered_for
from portero.core.limits import Rate
from portero.core.oauth.device import (
    DeviceRequest,
    make_device_code,
    make_user_code,
    parse_device_authorization_request,
    render_device_authorization_response,
    waiting_record,
)
from portero.core.oauth.errors import invalid_scope
from portero.core.oauth.metadata import DEVICE, Endpoints
from portero.core.oauth.token import GrantType
from portero.core.sessions.device_name import device_name
from portero.core.transitions import Decision, LoginKey, LoginTransaction, Put
from portero.core.types import ClientId, Issuer, NumericDate

RATE = Rate(60, 60.0)
"""Codes for one address: each is a row until it expires, and makes a guess at any code a little likelier."""


class DeviceAuthorizationEndpoint:
    """The handler."""

    def __init__(self, context: Context, clients: Clients) -> None:
        self._context = context
        self._authenticator = ClientAuthenticator(context, clients)
        self._lifetime = int(context.config.device_code_lifetime.total_seconds())
        self._verification_uri = Endpoints.of(Issuer(context.config.issuer)).url(DEVICE)
        self._asked = Levels(RATE)

    async def post(self, request: Request) -> Answer:
        """Serve a device authorization request."""
        context = self._context
        now = context.now()
        form = request.form()
        client = (await self._authenticator.authenticate(request, form, now=now)).client
        check_registered_for(client, GrantType.DEVICE_CODE.value)
        asked = parse_device_authorization_request(form)
        if asked.scope is None:
            raise invalid_scope("scope is missing: name at least one")
        if not set(asked.scope) <= set(client.scope):
            raise invalid_scope("the scope exceeds what this client may ask for")
        audience_of(asked.resource, allowed=client.audiences or (context.config.issuer,))
        proxies = context.config.trusted_proxies
        self._take(source_of(request, trusted_proxies=proxies), client.client_id, now=now)
        waiting = DeviceRequest(
            client_id=client.client_id,
            scope=asked.scope,
            resource=asked.resource,
            device_name=device_name(request.header(b"user-agent")),
            place=place_of(request, trusted_proxies=proxies),
            code_digest="",
        )
        return sensitive_json(await self._kept(waiting, now=now), origins=client.allowed_origins)

    def refuse(self, request: Request, error: RequestError) -> Answer:
        """Render a refusal."""
        if isinstance(error, TooManyRequests):
            return too_many(retry_after=error.retry_after)
        return refuse_client(request, error)

    async def _kept(self, request: DeviceRequest, *, now: NumericDate) -> bytes:
        context = self._context
        expires = NumericDate(now + self._lifetime)
        for _ in range(8):
            user_code = make_user_code(context.random.bytes)
            device_code = make_device_code(user_code, secret=context.random.bytes(32), expires=expires)
            record = waiting_record(
                replace(request, code_digest=sha256_of(device_code).hex()),
                user_code=user_code,
                created=now,
                expires=expires,
            )

            def decide(there: LoginTransaction | None, record: LoginTransaction = record) -> Decision[bool]:
                # One code, one device: a second one with the same letters is made anew.
                free = there is None or there.expires <= now
                return Decision(free, (Put(record),) if free else ())

            if await context.commit(LoginKey(record.id_digest), decide, now=now):
                return render_device_authorization_response(
                    device_code=device_code,
                    user_code=user_code,
                    verification_uri=self._verification_uri,
                    expires_in=self._lifetime,
                )
        raise RuntimeError("eight codes of eight letters were taken")

    def _take(self, address: str, client_id: ClientId, *, now: NumericDate) -> None:
        at = self._context.clock.monotonic()
        wait = self._asked.wait(address, at=at)
        if wait > 0:
            fields = {"limit": Limit.DEVICE.value}
            event = Event(EventName.TOKEN_LIMITED, now, client_id=client_id, fields=fields)
            self._context.telemetry.record((event,))
            raise TooManyRequests(Limit.DEVICE, wait=wait)
        self._asked.spend(address, at=at)
