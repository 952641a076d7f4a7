"""One attempt at a delivery: load the receiver, sign, post, judge the answer."""

from __future__ import annotations

from typing import Final, Protocol, assert_never
from urllib.parse import urlencode

import orjson

from portero.authorization_server.context import Context
from portero.core.errors import Unavailable
from portero.core.logout import logout_token
from portero.core.outbox import Answer, Attempt
from portero.core.outbox_records import Delivery, DeliveryKind, DeliveryMethod, EventStream, StreamStatus
from portero.core.signals import security_event
from portero.core.transitions import ClientKey, StreamKey
from portero.core.types import ClientId, Issuer, NumericDate

_NOBODY: Final = Attempt(Answer.REFUSED, "the receiver is gone")


class Post(Protocol):
    """How something is posted (`adapters.fetch.post`)."""

    async def post(self, uri: str, body: bytes, *, headers: dict[str, str]) -> int:
        """Post; return the status.

        Raises:
            Unavailable: no answer, or nothing is posted there.
        """
        ...


class Courier:
    """Attempts deliveries."""

    def __init__(self, context: Context, poster: Post) -> None:
        self._context = context
        self._poster = poster
        self._issuer = Issuer(context.config.issuer)

    async def attempt(self, delivery: Delivery) -> Attempt:
        """Attempt one delivery; never raises for what the receiver or the network does.

        Raises:
            Unavailable: the store or the keys are away: nothing was sent.
        """
        match delivery.kind:
            case DeliveryKind.LOGOUT:
                return await self._log_out(delivery)
            case DeliveryKind.EVENT:
                return await self._push(delivery)
            case _:
                assert_never(delivery.kind)

    async def _log_out(self, delivery: Delivery) -> Attempt:
        context = self._context
        client_id = ClientId(delivery.receiver)
        client = (await context.store.read(ClientKey(client_id))).client
        if client is None or not client.enabled or client.backchannel_logout_uri is None:
            return _NOBODY
        await context.key_ring.keep_up()
        claims = logout_token.logout_token_claims(
            orjson.loads(delivery.claims),
            issuer=self._issuer,
            client_id=client_id,
            jti=delivery.id,
            now=context.now(),
        )
        token = context.key_ring.sign(claims, typ=logout_token.TYP)
        body = urlencode({"logout_token": token}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        try:
            status = await self._poster.post(client.backchannel_logout_uri, body, headers=headers)
        except Unavailable as failure:
            return Attempt(Answer.NONE, failure.what)
        return Attempt(_logout_answer(status), str(status))

    async def _push(self, delivery: Delivery) -> Attempt:
        context = self._context
        stream = await context.store.read(StreamKey(delivery.receiver))
        if stream is None or stream.status is StreamStatus.DISABLED or not await self._may_receive(stream):
            return _NOBODY
        if stream.method is DeliveryMethod.POLL:
            # Due only when it is given up: nobody came for it.
            return Attempt(Answer.REFUSED, "not polled for in time")
        if stream.status is StreamStatus.PAUSED:
            return Attempt(Answer.NONE, "paused")
        await context.key_ring.keep_up()
        headers = {"content-type": security_event.MEDIA_TYPE, "accept": "application/json"}
        if stream.sealed_authorization is not None:
            header = context.key_ring.unseal(stream.sealed_authorization, name=sealed_name(stream.stream_id))
            headers["authorization"] = header.reveal()
        body = sign_event(context, delivery, audience=stream.client_id).encode()
        try:
            status = await self._poster.post(stream.endpoint_url, body, headers=headers)
        except Unavailable as failure:
            return Attempt(Answer.NONE, failure.what)
        # RFC 8935 §2.2: 202. What 400 names (§2.4) is a key not fetched yet, or a mistake that will be mended.
        return Attempt(Answer.ACCEPTED if status in (200, 202, 204) else Answer.NONE, str(status))

    async def _may_receive(self, stream: EventStream) -> bool:
        client = (await self._context.store.read(ClientKey(stream.client_id))).client
        return client is not None and client.enabled


def sign_event(context: Context, delivery: Delivery, *, audience: str) -> str:
    """The Security Event Token of a delivery: the same claims at each attempt."""
    claims = security_event.set_claims(
        orjson.loads(delivery.claims),
        issuer=Issuer(context.config.issuer),
        audience=audience,
        jti=delivery.id,
        issued=NumericDate(delivery.created),
    )
    return context.key_ring.sign(claims, typ=security_event.TYP)


def sealed_name(stream_id: str) -> str:
    """Under which name a stream's `Authorization` header is sealed: it opens for no other."""
    return f"event stream {stream_id}"


def _logout_answer(status: int) -> Answer:
    # Back-Channel Logout 1.0 §2.8: 200; 204 is tolerated; 400 says that it could not be done, and a repetition of the
    # same would not do it either. Everything else is somebody on the way, or a mistake that will be mended.
    if status in (200, 204):
        return Answer.ACCEPTED
    return Answer.REFUSED if status == 400 else Answer.NONE
