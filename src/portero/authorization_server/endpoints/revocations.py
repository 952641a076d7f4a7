"""`GET /revocations/snapshot`, `/revocations/stream` and `/revocations`: the feed, for services (design §3.3).

For bearer tokens with scope `revocations:read` whose audience is this issuer. A cursor the
feed does not know (another epoch, or past the end) is answered with 409: take a snapshot.
A stream ends when its token expires or is taken back, when the feed gets another epoch,
when its reader takes nothing for too long, and when the server stops; in each case the
reader resumes from its cursor and misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from http import HTTPStatus

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.bearer import Bearers, OwnAccessToken
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.hub import HEARTBEAT_SECONDS, PAGE, Hub, Rendered, UnknownCursor
from portero.authorization_server.endpoints.responses import (
    JSON,
    NO_STORE,
    Answer,
    StreamingAnswer,
    problem,
    sensitive_json,
)
from portero.core.oauth.errors import insufficient_scope, invalid_token
from portero.core.revocation.feed import Cursor, parse_cursor, parse_wait, render_list

SCOPE = "revocations:read"
EVENTS_PER_WRITE = 200
"""Events joined into one write."""

_EVENT_STREAM = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back otherwise
    (b"x-content-type-options", b"nosniff"),
)
_OPENING = b": revocations\n\n"


class Revocations:
    """The three handlers."""

    def __init__(self, context: Context, bearers: Bearers, hub: Hub) -> None:
        self._context = context
        self._bearers = bearers
        self._hub = hub

    async def snapshot(self, request: Request) -> StreamingAnswer:
        """All live entries, and the cursor to go on from."""
        await self._authorized(request)
        snapshot = await self._hub.snapshot()
        length = sum(len(part) for part in snapshot.parts)
        return StreamingAnswer(200, (*JSON, *NO_STORE, (b"content-length", b"%d" % length)), _each(snapshot.parts))

    async def poll(self, request: Request) -> Answer:
        """The entries after `after`; where there are none, whatever comes within `wait` seconds."""
        await self._authorized(request)
        query = request.query()
        cursor = parse_cursor(query.require("after"))
        wait = parse_wait(query.get("wait"))
        time = self._context.clock.now()
        try:
            cursor, page = await self._hub.stored(cursor)
            if not page and wait and request.method == "GET":
                cursor, page, time = await self._waited(cursor, wait)
        except UnknownCursor:
            return _unknown_cursor()
        return sensitive_json(b"".join(render_list(cursor, [rendered.entry for rendered in page], time=time)))

    async def stream(self, request: Request) -> StreamingAnswer | Answer:
        """Server-sent events from `after` (or `Last-Event-ID`, as a reconnecting `EventSource` sends it) on."""
        token = await self._authorized(request)
        last = request.header(b"last-event-id")
        cursor = parse_cursor(last if last else request.query().require("after"))
        self._hub.admit()
        try:
            cursor, page = await self._hub.stored(cursor)
        except UnknownCursor:
            return _unknown_cursor()
        return StreamingAnswer(200, _EVENT_STREAM, self._events(token, cursor, page))

    async def _authorized(self, request: Request) -> OwnAccessToken:
        token = await self._bearers.presented(request)
        # RFC 9068 §4: meant for us, not merely issued by us.
        if self._context.config.issuer not in token.audience:
            raise invalid_token("the access token is for another audience")
        if SCOPE not in token.scope:
            raise insufficient_scope(f"the scope {SCOPE} is needed")
        return token

    async def _waited(self, cursor: Cursor, wait: int) -> tuple[Cursor, Sequence[Rendered], float]:
        hub = self._hub
        async with hub.subscribed():
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    while not hub.closing and not _moved(hub, cursor):
                        await hub.news()
            time = self._context.clock.now() if hub.state is None else hub.state.time
        found, page = await hub.stored(cursor)
        return found, page, time

    async def _events(self, token: OwnAccessToken, cursor: Cursor, page: Sequence[Rendered]) -> AsyncIterator[bytes]:
        hub = self._hub
        yield _OPENING
        async with hub.subscribed():
            beat = 0
            while not hub.closing:
                for at in range(0, len(page), EVENTS_PER_WRITE):
                    yield b"".join(rendered.event for rendered in page[at : at + EVENTS_PER_WRITE])
                # Nothing is awaited between these lines: the entries are all that the state's cursor covers.
                state, recent = hub.state, hub.recent(cursor.n)
                if recent is None or len(page) >= PAGE:
                    try:
                        cursor, page = await hub.stored(cursor)
                    except UnknownCursor:
                        return
                    continue
                page = ()
                if recent.events:
                    cursor = Cursor(cursor.epoch, recent.n)
                    yield recent.events
                    continue
                if state is not None:
                    if state.cursor.epoch != cursor.epoch:
                        return
                    if state.beat > beat and state.cursor.n >= cursor.n:
                        beat = state.beat
                        yield state.heartbeat
                        if not await self._bearers.still_good(token, max_age=HEARTBEAT_SECONDS):
                            return
                        if hub.state is not state:
                            continue
                await hub.news()


def _moved(hub: Hub, cursor: Cursor) -> bool:
    state = hub.state
    return state is not None and (state.cursor.epoch != cursor.epoch or state.cursor.n > cursor.n)


async def _each(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _unknown_cursor() -> Answer:
    return problem(
        HTTPStatus.CONFLICT,
        detail="this feed does not know the cursor: take a snapshot",
        extensions={"error": "unknown_cursor"},
    )
