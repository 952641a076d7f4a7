"""What strangers meet: a real server, an API with a Guard, and a person with a browser, on this machine.

Everything listens on a free port of loopback, in one event loop of a thread of its own, so that a test may be
written from the outside: as a person, as an application, or as whoever sits in between and tampers.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import httpx2
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from portero.authorization_server.app import create_app, open_context
from portero.authorization_server.config import Config
from portero.authorization_server.context import Context
from portero.core.digests import sha256_of
from portero.core.jose import base64url
from portero.core.registration import check_client
from portero.core.transitions import (
    Client,
    ClientKey,
    ClientType,
    Decision,
    Put,
    RefreshProfile,
    RotationPolicy,
    SubjectKey,
    User,
)
from portero.core.types import ClientId, Secret, Subject
from portero.resource_server import Guard, RevocationFeed
from portero.resource_server.asgi import GuardMiddleware, principal_of
from portero.testing.ports import free_port

R = TypeVar("R")
App = Callable[..., Awaitable[None]]

AUDIENCE = "https://shop.example/orders"
SECRET = "a secret of forty-three characters, no less"
PASSWORD = "correct horse battery staple"
SERVICE = Client(
    client_id=ClientId("orders-service"),
    client_name="Orders",
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="client_secret_basic",
    secret_digest=sha256_of(Secret(SECRET)),
    redirect_uris=(),
    post_logout_redirect_uris=(),
    grant_types=("client_credentials",),
    scope=("revocations:read",),
    audiences=(),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
)
CONFIDENTIAL = replace(
    SERVICE,
    client_id=ClientId("stranger"),
    client_name="A Stranger's Application",
    redirect_uris=("http://localhost:1/callback",),
    post_logout_redirect_uris=("http://localhost:1/bye",),
    grant_types=("authorization_code", "refresh_token"),
    scope=("openid", "profile", "email", "offline_access", "orders:read"),
    audiences=(AUDIENCE,),
)
PUBLIC = replace(
    CONFIDENTIAL,
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    refresh_profile=RefreshProfile.PLAIN,
)


@dataclass
class World:
    """The servers' addresses, and what a test may do to them from the outside."""

    context: Context
    issuer: str
    api: str
    loop: asyncio.AbstractEventLoop
    page_port: int
    """Where a page is served that the API lets call it."""
    tampers: bool = False
    """Whether somebody between server and client changes the nonce in every ID token."""
    servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = field(default_factory=list)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine in the servers' loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def put(self, key: Any, record: Any) -> None:
        """Store a record."""
        now = self.context.now()
        self.run(self.context.store.transition(key, lambda _: Decision(None, (Put(record),)), now=now))

    def register(self, client: Client) -> Client:
        """Register an application as an operator would."""
        check_client(client)
        self.put(ClientKey(client.client_id), client)
        return client

    def person(self, username: str) -> User:
        """Make a person who can sign in with `PASSWORD`."""
        phc = self.run(self.context.passwords.hash(Secret(PASSWORD)))
        user = User(Subject(f"u-{username}"), username, phc, username.title(), f"{username}@example.org", ())
        self.put(SubjectKey(user.subject), user)
        return user

    def serve(self, app: App, *, port: int = 0, lifespan: str = "off") -> str:
        """Serve an ASGI application until the world ends; returns its address."""
        return self.run(self._serve(app, listener=listening_socket(port), lifespan=lifespan))

    async def _serve(self, app: App, *, listener: socket.socket, lifespan: Any = "on") -> str:
        server = uvicorn.Server(
            uvicorn.Config(app, ws="none", log_config=None, lifespan=lifespan, timeout_graceful_shutdown=1)
        )
        server.capture_signals = _no_signals  # not in the main thread
        task = asyncio.create_task(server.serve(sockets=[listener]))
        self.servers.append((server, task))
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.005)
        return f"http://localhost:{listener.getsockname()[1]}"


@contextmanager
def strange_world(**settings: Any) -> Iterator[World]:
    """Start the servers, and stop them at the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="strangers' world")
    thread.start()
    try:
        world = asyncio.run_coroutine_threadsafe(_begin(loop, settings), loop).result(60)
        try:
            yield world
        finally:
            asyncio.run_coroutine_threadsafe(_end(world), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


async def _begin(loop: asyncio.AbstractEventLoop, settings: dict[str, Any]) -> World:
    listener = listening_socket()
    issuer = f"http://localhost:{listener.getsockname()[1]}"
    context = await open_context(Config(issuer=issuer, database="memory:", **settings))
    world = World(context, issuer, "", loop, free_port())
    app = create_app(context)
    await context.store.transition(
        ClientKey(SERVICE.client_id), lambda _: Decision(None, (Put(SERVICE),)), now=context.now()
    )
    await world._serve(_Tampering(app, world), listener=listener)
    guard = Guard(
        issuers=[issuer],
        audience=AUDIENCE,
        revocation=RevocationFeed(client_id=SERVICE.client_id, client_secret=Secret(SECRET)),
        cors_origins=[f"http://localhost:{world.page_port}"],
    )

    async def orders(request: Request) -> JSONResponse:
        return JSONResponse({"caller": principal_of(request).subject})

    api = GuardMiddleware(
        Starlette(routes=[Route("/", orders)]), guard=guard, requirement=guard.requires(scopes=["orders:read"])
    )
    world.api = await world._serve(api, listener=listening_socket())
    return world


async def _end(world: World) -> None:
    # The last one first: the API follows the server's feed.
    for server, task in reversed(world.servers):
        server.should_exit = True
        await task


def listening_socket(port: int = 0) -> socket.socket:
    """A socket that listens on loopback."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    listener.setblocking(False)
    return listener


@contextmanager
def _no_signals() -> Iterator[None]:
    yield


class _Tampering:
    """Sits between the server and its clients; where the world says so, it changes ID tokens on their way."""

    def __init__(self, app: App, world: World) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if not self._world.tampers or scope.get("path") != "/token":
            await self._app(scope, receive, send)
            return
        messages: list[Any] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        body = tampered(b"".join(message.get("body", b"") for message in messages[1:]))
        headers = [pair for pair in messages[0]["headers"] if pair[0] != b"content-length"]
        await send({**messages[0], "headers": [*headers, (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


def tampered(body: bytes) -> bytes:
    """A token answer whose ID token has another nonce and the signature of before."""
    members = orjson.loads(body)
    header, payload, signature = members["id_token"].split(".")
    claims = {**orjson.loads(base64url.decode(payload)), "nonce": "of-another-sign-in"}
    members["id_token"] = f"{header}.{base64url.encode(orjson.dumps(claims))}.{signature}"
    return orjson.dumps(members)


@contextmanager
def eavesdropper(world: World) -> Iterator[None]:
    """Tamper for the length of the block."""
    world.tampers = True
    try:
        yield
    finally:
        world.tampers = False


def call(url: str, *, token: str) -> int:
    """Ask an API with a token; the status."""
    return httpx2.get(url, headers={"authorization": f"Bearer {token}"}).status_code
