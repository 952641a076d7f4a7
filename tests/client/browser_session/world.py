"""One authorization server, one guarded service, one browser session in front of it: real servers on loopback.

All share one clock that moves when told. They run on one event loop in a thread of their own, so that a test can be
an ordinary function, and can be the browser.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from html.parser import HTMLParser
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from portero.authorization_server.app import create_app, open_context
from portero.authorization_server.config import Config
from portero.authorization_server.context import Context
from portero.client.browser_session import BrowserSession, MemorySessions, Sessions, Settings
from portero.client.browser_session.cookies import Cookies
from portero.core.digests import sha256_of
from portero.core.jose.jws import unverified_payload
from portero.core.jose.strict_json import parse_object
from portero.core.registration import register_client, register_user
from portero.core.sessions.ending import decide_end_session
from portero.core.sessions.records import EndReason
from portero.core.transitions import (
    Client,
    ClientKey,
    ClientType,
    RefreshProfile,
    RotationPolicy,
    SessionKey,
    User,
    UsernameKey,
)
from portero.core.types import ClientId, Issuer, Secret, Sid, Subject
from portero.resource_server import Guard, RevocationFeed
from portero.resource_server.asgi import GuardMiddleware
from portero.testing.clock import FakeClock

T = TypeVar("T")

AUDIENCE = "https://shop.example/orders"
CLIENT_SECRET = "client-secret-" + "c" * 40
SESSION_SECRET = Secret("session-secret-" + "s" * 40)
PASSWORD = "correct horse battery"
HEADERS = {"X-Portero": "1", "Sec-Fetch-Site": "same-origin"}
PEOPLE = ("ana", "bruno")


@dataclass
class Seen:
    """What the service saw of one request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Service:
    """The guarded service: records, echoes, streams, and refuses when told."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.refusals: list[int] = []
        """Statuses of the next answers, before the Guard is asked."""
        self.finish_stream = threading.Event()
        self.app: Any = Starlette(
            routes=[
                Route("/orders/events", self._events),
                Route("/orders/{rest:path}", self._orders, methods=["GET", "POST", "PUT"]),
                Route("/orders", self._orders, methods=["GET", "POST", "PUT"]),
                WebSocketRoute("/orders/live", self._live),
            ]
        )

    def guarded(self, guard: Guard | None) -> Any:
        """The application behind its Guard, and before it what the test wants to see or do."""
        inner: Any = self.app
        if guard is not None:
            inner = GuardMiddleware(self.app, guard=guard, requirement=guard.requires(scopes=["orders:read"]))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                seen = Seen(scope["method"], scope["raw_path"].decode(), scope["query_string"].decode(), headers, b"")
                self.seen.append(seen)
                if self.refusals:
                    challenge = {"www-authenticate": 'Bearer error="invalid_token"'}
                    status = self.refusals.pop(0)
                    await Response(status_code=status, headers=challenge)(scope, receive, send)
                    return
            await inner(scope, receive, send)

        return app

    async def _orders(self, request: Request) -> Response:
        body = await request.body()
        self.seen[-1].body = body
        response = JSONResponse({"path": request.url.path, "bytes": len(body)})
        response.set_cookie("service", "cookie")
        return response

    async def _events(self, request: Request) -> Response:
        async def lines() -> Any:
            yield b"data: one\n\n"
            await asyncio.to_thread(self.finish_stream.wait, 60)
            yield b"data: two\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    async def _live(self, websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"echo {text}")


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        """Stop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()


@dataclass
class Served:
    """A server that runs; `requests` counts what it was asked, by path."""

    server: uvicorn.Server
    task: asyncio.Task[None]
    listener: socket.socket


def listener() -> socket.socket:
    """A free port of this machine, listening."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", 0))
    one.listen(128)
    return one


@dataclass
class Place:
    """How servers are reached, so that the same world can stand on names and TLS."""

    scheme: str = "http"
    server_host: str = "localhost"
    app_host: str = "localhost"
    certificate: tuple[str, str] | None = None
    tls: ssl.SSLContext | None = None


@dataclass
class World:
    """Everything, running. A context manager."""

    sessions: Sessions | None = None
    place: Place = field(default_factory=Place)
    lifetimes: dict[str, Any] = field(default_factory=dict)
    app: Any = None
    """What the browser session is around."""

    def __enter__(self) -> Self:
        self.clock = FakeClock()
        self.loop = Loop()
        self.service = Service()
        self.token_calls: list[dict[str, str]] = []
        self.lose_answers = 0
        """How many answers of the token endpoint get lost after their commit."""
        self.server_away = False
        self.hold: asyncio.Event | None = None
        """The token endpoint answers once it is set."""
        self._served: list[Served] = []
        listeners = [listener() for _ in range(3)]
        ports = [one.getsockname()[1] for one in listeners]
        self.issuer = f"{self.place.scheme}://{self.place.server_host}:{ports[0]}"
        self.origin = f"{self.place.scheme}://{self.place.app_host}:{ports[1]}"
        self.upstream = f"http://127.0.0.1:{ports[2]}"
        try:
            self.loop.run(self._start(listeners))
        except BaseException:
            self.loop.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.service.finish_stream.set()
        self.loop.run(self._stop())
        self.loop.close()

    async def _start(self, listeners: list[socket.socket]) -> None:
        config = Config(issuer=self.issuer, database="memory:", scopes=SCOPES, **self.lifetimes)
        self.context = await open_context(config, clock=self.clock)
        await seed(self.context, self.origin, self.issuer)
        guard = Guard(
            issuers=[self.issuer],
            audience=AUDIENCE,
            revocation=RevocationFeed(client_id="services", client_secret=Secret(CLIENT_SECRET)),
            clock=self.clock,
        )
        self.settings = Settings(
            issuer=self.issuer,
            client_id="shop-web",
            client_secret=Secret(CLIENT_SECRET),
            origin=self.origin,
            secrets=(SESSION_SECRET,),
            scope="openid profile orders:read",
            upstreams={"/api/orders": f"{self.upstream}/orders"},
        )
        self.sessions = self.sessions or MemorySessions()
        self.browser_session = self.another()
        certificate = self.place.certificate
        self._edge = create_app(self.context)
        await self._serve(self._watched(self._edge), listeners[0], certificate)
        await self._serve(self.browser_session, listeners[1], certificate)
        # A Guard trusts public authorities only: behind names of our own the service is open.
        await self._serve(self.service.guarded(guard if certificate is None else None), listeners[2], None)

    def another(self) -> BrowserSession:
        """A further process of the same application, as behind a load balancer."""
        assert self.sessions is not None
        return BrowserSession(self.settings, sessions=self.sessions, app=self.app, clock=self.clock, tls=self.place.tls)

    async def _serve(self, app: Any, listening: socket.socket, certificate: tuple[str, str] | None) -> None:
        certfile, keyfile = certificate or (None, None)
        settings = uvicorn.Config(
            app, log_config=None, timeout_graceful_shutdown=2, ssl_certfile=certfile, ssl_keyfile=keyfile,
            ws="websockets-sansio",
        )  # fmt: skip
        server = uvicorn.Server(settings)
        task = asyncio.ensure_future(server.serve(sockets=[listening]))
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        self._served.append(Served(server, task, listening))

    async def _stop(self) -> None:
        # The service first: its Guard follows the feed of the server.
        self._edge.end_streams()
        for served in reversed(self._served):
            served.server.should_exit = True
            await served.task
            served.listener.close()

    def _watched(self, app: Any) -> Any:
        """The authorization server, and in front of it what networks do."""

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["path"] not in ("/token", "/revoke"):
                await app(scope, receive, send)
                return
            if self.server_away:
                await Response(status_code=502)(scope, receive, send)
                return
            message = await receive()
            form = {name: values[0] for name, values in parse_qs(message["body"].decode()).items()}
            self.token_calls.append({"path": scope["path"], **form})
            if self.hold is not None:
                await self.hold.wait()
            lost = self.lose_answers > 0 and form.get("grant_type") == "refresh_token"
            self.lose_answers -= lost

            async def receive_again() -> Any:
                return message

            async def nothing(_message: Any) -> None:
                return

            await app(scope, receive_again, nothing if lost else send)
            if lost:
                await Response(status_code=502)(scope, receive, send)

        return watched

    # ── what a test looks at ─────────────────────────────────────────────────────────

    def refreshes(self) -> list[dict[str, str]]:
        """The refresh requests that reached the server."""
        return [call for call in self.token_calls if call.get("grant_type") == "refresh_token"]

    def codes(self) -> list[dict[str, str]]:
        """The codes that were sent to the server."""
        return [call for call in self.token_calls if call.get("grant_type") == "authorization_code"]

    def revocations(self) -> list[dict[str, str]]:
        """The revocation requests that reached the server."""
        return [call for call in self.token_calls if call["path"] == "/revoke"]

    def sid_of_last_call(self) -> str:
        """The device session whose token the service saw last."""
        token = self.service.seen[-1].headers["authorization"].removeprefix("Bearer ")
        return str(parse_object(unverified_payload(token))["sid"])

    def end_session(self, sid: str) -> None:
        """An operator ends a device session at the server."""

        async def end() -> None:
            now = self.context.now()
            decide = partial(decide_end_session, reason=EndReason.OPERATOR, now=now, iss=Issuer(self.issuer), leeway=60)
            await self.context.commit(SessionKey(Sid(sid)), decide, now=now)

        self.loop.run(end())

    def pass_minutes(self, minutes: float) -> None:
        """Let time pass for everybody."""
        self.clock.advance(minutes * 60)

    @contextmanager
    def server_is_away(self) -> Iterator[None]:
        """The token endpoint answers 502."""
        self.server_away = True
        try:
            yield
        finally:
            self.server_away = False

    def browser(self) -> Browser:
        """A browser with a cookie jar of its own."""
        return Browser(self)

    def eventually(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, under a deadline."""

        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f"not within a minute: {what}"
            time.sleep(0.005)


class Browser:
    """A person with a browser: follows redirects and refreshes, fills in the form, keeps cookies."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = httpx2.Client(base_url=world.origin, timeout=60, trust_env=False)

    def sign_in(self, username: str = "ana", *, query: str = "return_to=/orders%3Fpage%3D2") -> str:
        """Go through the sign-in; return the address it ended at, without fetching that."""
        return self.answer_of(self.begin(query=query), username)

    def begin(self, *, query: str = "return_to=/orders") -> httpx2.Response:
        """Begin a sign-in; return the redirect to the server."""
        return self.client.get(f"/session/sign-in?{query}")

    def answer_of(self, redirect: httpx2.Response, username: str = "ana") -> str:
        """Follow a redirect to the server, sign in there, come back; return where the landing page leads."""
        landing = self.client.get(self.callback_of(redirect, username))
        assert landing.status_code == 200, landing.text
        refresh = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', landing.text)
        assert refresh is not None, landing.text
        return refresh[1]

    def callback_of(self, redirect: httpx2.Response, username: str = "ana") -> str:
        """Sign in at the server; return the address of the callback with its code, not visited yet."""
        page = redirect
        while True:
            location = page.headers.get("location")
            if location is not None:
                url = urljoin(str(page.url), location)
                if url.startswith(f"{self.world.origin}/session/callback"):
                    return url
                page = self.client.get(url)
                continue
            form = _Form()
            form.feed(page.text)
            assert form.action is not None, page.text
            fields = {**form.fields, "username": username, "password": PASSWORD}
            url = urljoin(str(page.url), form.action)
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
            page = self.client.post(url, data=fields, headers={"Origin": origin})

    def get(self, path: str, **headers: str) -> httpx2.Response:
        """A call of the page."""
        return self.client.get(path, headers={**HEADERS, **headers})

    def post(self, path: str, content: Any = b"", **headers: str) -> httpx2.Response:
        """A call of the page that changes something: browsers add the Origin."""
        return self.client.post(path, content=content, headers={**HEADERS, "Origin": self.world.origin, **headers})

    def cookie(self) -> str | None:
        """The session's cookie."""
        return self.client.cookies.get(Cookies.of(origin=self.world.origin, client_id="shop-web").session)

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = found.get("action") or ""
        elif tag == "input" and found.get("type") == "hidden":
            self.fields[found.get("name") or ""] = found.get("value") or ""


SCOPES = ("openid", "profile", "orders:read", "revocations:read")


async def seed(context: Context, origin: str, issuer: str) -> None:
    """Two people, the application, and the client with which the service follows the feed."""
    now = context.now()
    for username in PEOPLE:
        user = User(
            subject=Subject(f"subject-{username}"),
            username=username,
            password_hash=await context.passwords.hash(Secret(PASSWORD)),
            name=username.title(),
            email=f"{username}@shop.example",
            roles=("customer",),
            created=now,
        )
        await context.store.transition(
            UsernameKey(username), lambda aggregate, user=user: register_user(aggregate, user=user), now=now
        )
    shop = Client(
        client_id=ClientId("shop-web"),
        client_name="The shop",
        client_type=ClientType.CONFIDENTIAL,
        token_endpoint_auth_method="client_secret_basic",
        secret_digest=sha256_of(Secret(CLIENT_SECRET)),
        redirect_uris=(f"{origin}/session/callback",),
        post_logout_redirect_uris=(),
        grant_types=("authorization_code", "refresh_token"),
        scope=SCOPES[:3],
        audiences=(AUDIENCE,),
        refresh_profile=RefreshProfile.ATTEMPT,
        rotation=RotationPolicy.ALWAYS,
        require_pkce=True,
        first_party=True,
        backchannel_logout_uri=f"{origin}/session/back-channel-logout",
        created=now,
    )
    services = replace(
        shop,
        client_id=ClientId("services"),
        redirect_uris=(),
        grant_types=("client_credentials",),
        scope=("revocations:read",),
        audiences=(issuer,),
        backchannel_logout_uri=None,
    )
    for client in (shop, services):
        await context.store.transition(
            ClientKey(client.client_id),
            lambda aggregate, client=client: register_client(aggregate, client=client),
            now=now,
        )
