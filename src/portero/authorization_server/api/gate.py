"""What stands before the API: preflights, who may read, the body's limit, and loading the API when it is first asked.

Raw ASGI. Everything behind it is FastAPI's.
"""

from __future__ import annotations

import asyncio

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.cors import Audience, preflight, readable
from portero.authorization_server.endpoints.exchange import BodyTooLarge, Disconnected, read_body, send_answer
from portero.authorization_server.endpoints.responses import Answer, Headers, too_large
from portero.core.oauth.forms import MAX_BODY_BYTES

PREFIX = "/api"
METHODS = "DELETE, GET, OPTIONS, PATCH, POST"


def api_routes(context: Context) -> list[Route]:
    """Make the one route below which the API lives."""
    return [Route(f"{PREFIX}/{{path:path}}", Gate(context))]


class Gate:
    """An ASGI application that becomes the API with its first request."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._clients = Clients(context.store, context.clock, context.client_documents)
        self._api: ASGIApp | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        sent = dict(scope["headers"])
        origin = sent[b"origin"].decode("latin-1") if b"origin" in sent else None
        # A preflight (Fetch §3.2.2) is about all of the API, and loads nothing; other OPTIONS are about one resource.
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in sent:
            answer = await preflight(Audience.REGISTERED, origin=origin, allow=METHODS, clients=self._clients)
            await send_answer(send, answer, method="OPTIONS")
            return
        # Browsers send the token themselves, and only to whom the page's script says: no cookie opens anything
        # here, so what an origin may read is what its client's registration says (decision 0090).
        bare = Answer(200, ((b"cache-control", b"no-store"),))
        permission = (await readable(bare, Audience.REGISTERED, origin=origin, clients=self._clients)).headers
        try:
            body = await read_body(scope["headers"], receive)
        except BodyTooLarge:
            await send_answer(send, too_large(MAX_BODY_BYTES).with_headers(permission), method=scope["method"])
            return
        except Disconnected:
            return
        api = self._api or await self._load()
        await api(scope, _replayed(body, receive), _with_headers(permission, send))

    async def _load(self) -> ASGIApp:
        async with self._loading:
            if self._api is None:
                # In a thread: whoever asks for a token meanwhile does not wait for the import.
                self._api = await asyncio.to_thread(_made, self._context, self._clients)
            return self._api


def _made(context: Context, clients: Clients) -> ASGIApp:
    from portero.authorization_server.api.application import create_api

    return create_api(context, clients)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = True

    async def replay() -> Message:
        nonlocal waiting
        if waiting:
            waiting = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def _with_headers(extra: Headers, send: Send) -> Send:
    async def outgoing(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(each for each in extra if each[0] not in present)]
        await send(message)

    return outgoing
