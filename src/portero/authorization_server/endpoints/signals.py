"""Shared Signals (SSF 1.0): the transmitter's configuration, its receivers' streams, and polling (RFC 8936).

For bearer tokens of a client's own with scope `ssf.manage` (or `ssf.read`, for reading and polling) whose audience is
this issuer. A client sees and changes its own streams; another's is 404, as if it were not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import orjson

from portero.authorization_server.context import Context
from portero.authorization_server.delivery import sealed_name, sign_event
from portero.authorization_server.endpoints.bearer import Bearers, OwnAccessToken
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import (
    JSON,
    NO_STORE,
    Answer,
    cacheable_json,
    not_found,
    problem,
    sensitive_json,
    too_many,
)
from portero.core.jose import base64url
from portero.core.oauth.errors import insufficient_scope, invalid_token
from portero.core.outbox import dropped, sent_now, verify
from portero.core.outbox_records import Delivery, EventStream, StreamStatus
from portero.core.signals import metadata
from portero.core.signals.polling import PollRequest, parse_poll, settle
from portero.core.signals.streams import (
    MAX_STREAMS,
    MIN_VERIFICATION_SECONDS,
    Wishes,
    changed,
    check_ours,
    new_stream,
    parse_body,
    parse_wishes,
    render_status,
    render_stream,
    replaced,
    text_of,
    with_status,
)
from portero.core.transitions import Decision, Delete, DeliveryKey, PendingKey, Put, StreamKey, StreamsKey
from portero.core.types import Issuer, NumericDate

POLL_SECONDS: Final = 25.0
"""Longest wait of a poll: less than most proxies allow."""
LOOK_SECONDS: Final = 1.0
_PAGE: Final = 500
_METADATA_AGE: Final = 3600


class Signals:
    """The handlers.

    Args:
        news: waits until events may have come, or for a second.
    """

    def __init__(self, context: Context, bearers: Bearers, *, news: Callable[[], Awaitable[None]]) -> None:
        self._context = context
        self._bearers = bearers
        self._news = news
        self._issuer = Issuer(context.config.issuer)
        self._metadata = orjson.dumps(metadata.transmitter_metadata(self._issuer))

    async def configuration(self, request: Request) -> Answer:
        """`GET /.well-known/ssf-configuration`."""
        return cacheable_json(self._metadata, max_age=_METADATA_AGE)

    # ── streams ──────────────────────────────────────────────────────────────────────

    async def create(self, request: Request) -> Answer:
        """Make a stream (§8.1.1.1)."""
        token = await self._authorized(request, metadata.MANAGE)
        wishes = parse_wishes(parse_body(request.body) if request.body else {})
        context, now = self._context, self._context.now()
        stream_id = base64url.encode(context.random.bytes(16))
        sealed = self._sealed(wishes, stream_id)
        stream = new_stream(
            wishes, stream_id=stream_id, client_id=token.client_id, issuer=self._issuer, sealed=sealed, now=now
        )

        def decide(streams: tuple[EventStream, ...]) -> Decision[bool]:
            if len(streams) >= MAX_STREAMS:
                return Decision(False)
            return Decision(True, (Put(stream),))

        if not await context.commit(StreamsKey(token.client_id), decide, now=now):
            return problem(HTTPStatus.CONFLICT, detail=f"a client may have {MAX_STREAMS} streams")
        return Answer(201, JSON + NO_STORE, orjson.dumps(render_stream(stream, issuer=self._issuer)))

    async def read(self, request: Request) -> Answer:
        """One stream, or all of the client's (§8.1.1.2)."""
        token = await self._authorized(request, metadata.READ)
        named = request.query().get("stream_id")
        if named is None:
            streams = await self._context.store.read(StreamsKey(token.client_id))
            return sensitive_json(orjson.dumps([render_stream(stream, issuer=self._issuer) for stream in streams]))
        stream = await self._own(token, named)
        if stream is None:
            return not_found()
        return sensitive_json(orjson.dumps(render_stream(stream, issuer=self._issuer)))

    async def update(self, request: Request) -> Answer:
        """Change what is said (§8.1.1.3)."""
        return await self._changed(request, changed)

    async def replace(self, request: Request) -> Answer:
        """Change everything (§8.1.1.4)."""
        return await self._changed(request, replaced)

    async def _changed(self, request: Request, change: Callable[..., EventStream]) -> Answer:
        token = await self._authorized(request, metadata.MANAGE)
        document = parse_body(request.body)
        stream_id = text_of(document, "stream_id", required=True) or ""
        wishes = parse_wishes(document)
        sealed = self._sealed(wishes, stream_id)

        def made(stream: EventStream) -> EventStream:
            check_ours(document, stream, issuer=self._issuer)
            return change(stream, wishes, issuer=self._issuer, sealed=sealed)

        stream = await self._transition(token, stream_id, made)
        if stream is None:
            return not_found()
        await self._sent_now(stream)
        return sensitive_json(orjson.dumps(render_stream(stream, issuer=self._issuer)))

    async def delete(self, request: Request) -> Answer:
        """End a stream, and forget what was on it (§8.1.1.5)."""
        token = await self._authorized(request, metadata.MANAGE)
        stream_id = request.query().require("stream_id")
        context, now = self._context, self._context.now()

        def decide(stream: EventStream | None) -> Decision[bool]:
            if stream is None or stream.client_id != token.client_id:
                return Decision(False)
            return Decision(True, (Delete(StreamKey(stream_id)),))

        if not await context.commit(StreamKey(stream_id), decide, now=now):
            return not_found()
        await self._drop(stream_id)
        return Answer(204, NO_STORE)

    # ── status and verification ──────────────────────────────────────────────────────

    async def status(self, request: Request) -> Answer:
        """Whether a stream is enabled (§8.1.2.1)."""
        token = await self._authorized(request, metadata.READ)
        stream = await self._own(token, request.query().require("stream_id"))
        return not_found() if stream is None else sensitive_json(orjson.dumps(render_status(stream)))

    async def set_status(self, request: Request) -> Answer:
        """Enable, pause or disable a stream (§8.1.2.2)."""
        token = await self._authorized(request, metadata.MANAGE)
        document = parse_body(request.body)
        stream_id = text_of(document, "stream_id", required=True) or ""
        stream = await self._transition(token, stream_id, lambda found: with_status(found, document))
        if stream is None:
            return not_found()
        if stream.status is StreamStatus.DISABLED:
            await self._drop(stream_id)
        elif stream.status is StreamStatus.ENABLED:
            await self._sent_now(stream)
        return sensitive_json(orjson.dumps(render_status(stream)))

    async def verification(self, request: Request) -> Answer:
        """Put an event on the stream, by which its receiver sees that it works (§8.1.4.2)."""
        token = await self._authorized(request, metadata.MANAGE)
        document = parse_body(request.body)
        stream_id = text_of(document, "stream_id", required=True) or ""
        state = text_of(document, "state")
        context, now = self._context, self._context.now()
        id_ = base64url.encode(context.random.bytes(16))

        def decide(stream: EventStream | None) -> Decision[int | None]:
            if stream is None or stream.client_id != token.client_id:
                return Decision(None)
            wait = stream.verified + MIN_VERIFICATION_SECONDS - now
            if wait > 0:
                return Decision(wait)
            event = verify(stream, id_=id_, state=state, now=now)
            return Decision(0, (Put(_verified(stream, now)), Put(event)))

        wait = await context.commit(StreamKey(stream_id), decide, now=now)
        if wait is None:
            return not_found()
        return too_many(retry_after=wait) if wait else Answer(204, NO_STORE)

    # ── polling ──────────────────────────────────────────────────────────────────────

    async def poll(self, request: Request) -> Answer:
        """Take what the receiver has off the stream; hand out what comes next (RFC 8936 §2)."""
        token = await self._authorized(request, metadata.READ)
        stream = await self._own(token, request.path.rpartition("/")[2])
        if stream is None:
            return not_found()
        asked = parse_poll(parse_body(request.body) if request.body else {})
        await self._settle(stream.stream_id, asked)
        waiting: tuple[Delivery, ...] = ()
        if asked.max_events and stream.status is StreamStatus.ENABLED:
            waiting = await self._waited(stream.stream_id, asked)
        handed = waiting[: asked.max_events]
        await self._context.key_ring.keep_up()
        sets = {one.id: sign_event(self._context, one, audience=stream.client_id) for one in handed}
        answer: dict[str, Any] = {"sets": sets}
        if len(waiting) > len(handed):
            answer["moreAvailable"] = True
        return sensitive_json(orjson.dumps(answer))

    async def _settle(self, stream_id: str, asked: PollRequest) -> None:
        context, now = self._context, self._context.now()
        done: dict[str, str | None] = {**dict.fromkeys(asked.acknowledged), **asked.errors}
        await asyncio.gather(
            *(
                context.commit(DeliveryKey(jti), partial(settle, stream_id=stream_id, error=error, now=now), now=now)
                for jti, error in done.items()
            )
        )

    async def _waited(self, stream_id: str, asked: PollRequest) -> tuple[Delivery, ...]:
        key = PendingKey(stream_id, limit=asked.max_events + 1)
        found = await self._context.store.read(key)
        if found or asked.return_immediately:
            return found
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                while not found:
                    await self._news()
                    found = await self._context.store.read(key)
        return found

    # ── what they share ──────────────────────────────────────────────────────────────

    async def _authorized(self, request: Request, scope: str) -> OwnAccessToken:
        token = await self._bearers.presented(request)
        if self._issuer not in token.audience:
            raise invalid_token("the access token is for another audience")
        if not token.is_of_client_itself:
            # Granted by a person, it would tell everybody who can sign in to that client of everybody's sessions.
            raise insufficient_scope("a receiver's token is one of a client for itself (client_credentials)")
        if scope not in token.scope and metadata.MANAGE not in token.scope:
            raise insufficient_scope(f"the scope {scope} is needed")
        return token

    async def _own(self, token: OwnAccessToken, stream_id: str) -> EventStream | None:
        stream = await self._context.store.read(StreamKey(stream_id))
        return stream if stream is not None and stream.client_id == token.client_id else None

    async def _transition(
        self, token: OwnAccessToken, stream_id: str, change: Callable[[EventStream], EventStream]
    ) -> EventStream | None:
        def decide(stream: EventStream | None) -> Decision[EventStream | None]:
            if stream is None or stream.client_id != token.client_id:
                return Decision(None)
            new = change(stream)
            return Decision(new, (Put(new),))

        return await self._context.commit(StreamKey(stream_id), decide, now=self._context.now())

    async def _sent_now(self, stream: EventStream) -> None:
        now = self._context.now()
        # What does not fit is found by its back-off.
        decide = partial(sent_now, stream=stream, now=now)
        await self._context.commit(PendingKey(stream.stream_id, limit=_PAGE), decide, now=now)

    async def _drop(self, stream_id: str) -> None:
        now = self._context.now()
        while await self._context.commit(PendingKey(stream_id, limit=_PAGE), dropped, now=now) == _PAGE:
            pass

    def _sealed(self, wishes: Wishes, stream_id: str) -> bytes | None:
        header = wishes.authorization
        return None if header is None else self._context.key_ring.seal(header, name=sealed_name(stream_id))


def _verified(stream: EventStream, now: NumericDate) -> EventStream:
    return replace(stream, verified=now)
