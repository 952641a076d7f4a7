"""A real authorization server and a real guarded service on loopback, with faults on the way to the token endpoint."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, Self, TypeVar, cast
from urllib.parse import parse_qs

import httpx2
import orjson
import uvicorn

from portero.adapters.fetch.requests import Fetched
from portero.authorization_server.config import Config as ServerConfig
from portero.client import Config, Session, TokenStore
from portero.client.protocol.token import Granted, process_token_response
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import BrowserKey, Client, ClientKey
from portero.core.types import ClientId, Digest, NumericDate
from portero.resource_server import Guard
from portero.resource_server.asgi import GuardMiddleware
from portero.testing.clock import FakeClock
from tests.authorization_server.back_channel import ANA, AUDIENCE, GUARD, SPA, BackChannel

T = TypeVar("T")

REPORTS = replace(SPA, client_id=ClientId("reports"), redirect_uris=("http://127.0.0.1/callback",), allowed_origins=())
"""A program on people's machines: public, with attempts."""
NIGHTLY = replace(GUARD, client_id=ClientId("nightly"), scope=("orders:read",), audiences=(AUDIENCE,))
"""A program that acts for itself."""
PLAIN: dict[str, Any] = {"trust_env": False, "verify": False}
"""For clients of the service: it speaks plain http, and there are no certificates to load."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
WAIT = 60.0
"""Seconds: a bound for what must happen, not a measure."""


@dataclass
class Fault:
    """What happens to the next request to the token endpoint."""

    status: int | None = None
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    commit: bool = False
    """The server answers, but the answer never arrives."""
    hold: threading.Event | None = None
    """Wait for this (after the commit, where there is one) before going on."""
    lose: bool = False
    arrived: threading.Event = field(default_factory=threading.Event)


@dataclass
class Post:
    """One request to the token endpoint, as the server got it, and what it answered."""

    form: dict[str, str]
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)


@dataclass
class Request:
    """One request to the service, as it arrived there."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class _Loop:
    """An event loop in a thread, with the one method of `asyncio.Runner` that the back channel uses."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT)
        self.loop.close()


class _Served:
    """An ASGI application on a free port of 127.0.0.1."""

    def __init__(self, loop: _Loop, app: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app, log_config=None, lifespan="off", interface="asgi3", http="httptools", date_header=False
        )
        self._server = uvicorn.Server(config)
        self._task = asyncio.run_coroutine_threadsafe(self._server.serve([self._socket]), loop.loop)

        async def started() -> None:
            async with asyncio.timeout(WAIT):
                while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.001)

        loop.run(started())

    def stop(self) -> None:
        self._server.should_exit = True
        self._task.result(WAIT)
        self._socket.close()


class Hosts:
    """Two ports that stay; behind them is the world of the test that runs."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.loop = _Loop()
        self._served = [_Served(self.loop, self._authorization_server), _Served(self.loop, self._service)]
        self.authorization_server, self.service = (served.port for served in self._served)

    def close(self) -> None:
        for served in self._served:
            served.stop()
        self.loop.close()

    async def _authorization_server(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.world is not None
        await self.world.answer_as_server(scope, receive, self.world.dated(send))

    async def _service(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.world is not None
        await self.world.answer_as_service(scope, receive, self.world.dated(send))


class World:
    """Everything a client meets. `posts` are the requests to the token endpoint, `requests` those to the service."""

    def __init__(self, hosts: Hosts) -> None:
        self.posts: list[Post] = []
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._sessions: list[Session] = []
        self._held: list[threading.Event] = []
        self._loop = hosts.loop
        hosts.world = self
        self.issuer = f"http://127.0.0.1:{hosts.authorization_server}"
        self.api = f"http://127.0.0.1:{hosts.service}"
        self.other_origin = f"http://localhost:{hosts.service}"
        config = ServerConfig(issuer=self.issuer, access_token_jitter=0)
        self.server = BackChannel(cast("asyncio.Runner", self._loop), config)
        self.put(REPORTS)
        self.put(NIGHTLY)
        self.guard = Guard(issuers=[self.issuer], audience=AUDIENCE, revocation=None, clock=self.server.clock)
        self._guarded = GuardMiddleware(self._echo, guard=self.guard, requirement=self.guard.requires())
        self._loop.run(self.guard.start())
        self.clock: FakeClock = FakeClock(self.server.clock.now())
        """The client's clock; the server's is `server.clock`."""

    def put(self, client: Client) -> None:
        """Register a client."""
        self.server.put(ClientKey(client.client_id), client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for held in self._held:
            held.set()
        for session in self._sessions:
            session.close()
        self._loop.run(self.guard.aclose())

    # ── for the tests ────────────────────────────────────────────────────────────────

    def advance(self, seconds: float, *, client: bool = True) -> None:
        """Let time pass; where the client does not notice, it meets a 401."""
        self.server.clock.advance(seconds)
        if client:
            self.clock.advance(seconds)

    def config(self, **changes: Any) -> Config:
        """The configuration of the program `reports`."""
        settings = {
            "issuer": self.issuer,
            "client_id": "reports",
            "allowed_origins": (self.api,),
            "ssl_context": NO_TLS,
            **changes,
        }
        return Config(**settings)

    def session(self, *, store: TokenStore | None = None, sign_in: bool = True, **changes: Any) -> Session:
        """A session of the program `reports`, with Ana signed in."""
        session = Session(self.config(**changes), store=store, clock=self.clock)
        self._sessions.append(session)
        if sign_in:
            self.sign_in(session)
        return session

    def sign_in(self, session: Session, **changes: Any) -> None:
        """What a browser and a redirect would have done; `changes` to the code's record."""
        client = replace(REPORTS, client_id=ClientId(session.config.client_id))
        form = {**self.server.exchange_form(client, **changes), "client_id": client.client_id}
        key = session.core.new_key()
        with session.signing_in("test") as era, httpx2.Client(**PLAIN) as http:
            headers = {}
            for _ in range(2):
                if key is not None:
                    headers = {"dpop": session.core.prover_of(key).proof("POST", f"{self.issuer}/token")}
                answer = http.post(f"{self.issuer}/token", data=form, headers=headers)
                if key is None or not session.core.prover_of(key).learn(f"{self.issuer}/token", answer.headers):
                    break
            outcome = process_token_response(Fetched(answer.status_code, {}, answer.content), now=0)
            assert isinstance(outcome, Granted), answer.text
            session.finish_sign_in(outcome.grant, era=era, sent_at=self.clock.now(), key=key)
        self.posts.clear()

    def browser(self, name: str) -> Digest:
        """Ana in another browser, as on another device; for `browser_session` in `sign_in`."""
        now = self.server.now()
        digest = Digest(hashlib.sha256(name.encode()).digest())
        ends = NumericDate(now + 3600)
        self.server.put(BrowserKey(digest), BrowserSession(digest, ANA.subject, now, "pwd", ("pwd",), ends, name))
        return digest

    @property
    def refreshes(self) -> list[Post]:
        """The requests with a refresh token."""
        return [post for post in self.posts if post.form.get("grant_type") == "refresh_token"]

    def is_live(self, session_tokens: str) -> bool:
        """Whether a refresh token is still good at the server; it is used up by the question."""
        answer = self.server.refresh(session_tokens)
        return answer.status == 200

    # ── the way to the token endpoint ────────────────────────────────────────────────

    def dated(self, send: Any) -> Any:
        """Put the server's own time into `Date`, as a server does."""

        async def dated(message: Any) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(self.server.clock.now(), usegmt=True).encode()
                message = {**message, "headers": [*message["headers"], (b"date", date)]}
            await send(message)

        return dated

    async def answer_as_server(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request to the authorization server."""
        if scope["path"] not in {"/token", "/revoke"}:
            return await self.server.app(scope, receive, send)
        body = await _body(receive)
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        post = Post({**form, "path": scope["path"]})
        self.posts.append(post)
        fault = self.faults.pop(0) if self.faults and scope["path"] == "/token" else None
        if fault is not None:
            if fault.hold is not None:
                self._held.append(fault.hold)
            fault.arrived.set()
            if not fault.commit and fault.hold is not None:
                await asyncio.to_thread(fault.hold.wait, WAIT)
            if fault.status is not None:
                post.status = fault.status
                await _respond(send, fault.status, fault.body, fault.headers)
                return None
        sent: list[Any] = []

        async def replay() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Any) -> None:
            sent.append(message)

        if fault is None or fault.commit or not fault.lose:
            await self.server.app(scope, replay, keep)
            post.status = sent[0]["status"]
            answer = b"".join(message.get("body", b"") for message in sent[1:])
            post.answer = orjson.loads(answer) if answer[:1] == b"{" else {}
        if fault is not None and fault.commit and fault.hold is not None:
            await asyncio.to_thread(fault.hold.wait, WAIT)
        if fault is not None and fault.lose:
            # Cut in the middle: the peer sees a connection that ends without an answer.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"999")]})
            raise ConnectionAbortedError
        for message in sent:
            await send(message)
        return None

    # ── the service ──────────────────────────────────────────────────────────────────

    async def answer_as_service(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request to the service."""
        body = await _body(receive)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append(Request(scope["method"], scope["path"], headers, body))
        query = scope["query_string"].decode()
        match scope["path"]:
            case "/refuses":
                challenge = parse_qs(query).get("challenge", [""])[0]
                named = (("www-authenticate", challenge),) if challenge else ()
                if "nonce" in parse_qs(query):
                    named = (*named, ("dpop-nonce", parse_qs(query)["nonce"][0]))
                await _respond(send, int(parse_qs(query).get("status", ["401"])[0]), b"no", named)
            case "/redirect":
                await _respond(send, 307, b"", (("location", parse_qs(query)["to"][0]),))
            case _:

                async def replay() -> Any:
                    return {"type": "http.request", "body": body, "more_body": False}

                await self._guarded(scope, replay, send)

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = await _body(receive)
        await _respond(send, 200, scope["method"].encode() + b" " + body, (("content-type", "text/plain"),))


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _respond(send: Any, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
    named = [(name.encode(), value.encode()) for name, value in headers]
    named.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})
