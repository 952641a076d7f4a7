"""WebSockets and event streams: checked at the handshake, closed when their token is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from portero.core.policy.refusal import REVOKED
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.types import Issuer, NumericDate, Secret
from portero.resource_server import CookieCredential, Guard, Principal, Refusal, RevocationFeed, asgi_websocket
from portero.resource_server.asgi import GuardMiddleware, principal_of
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE

Message = dict[str, Any]
App = Callable[..., Awaitable[None]]


class Connection:
    """The server's side of one ASGI connection, message by message."""

    def __init__(self, app: App, scope: dict[str, Any]) -> None:
        self.to_app: asyncio.Queue[Message] = asyncio.Queue()
        self.from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.task = asyncio.ensure_future(app(scope, self.to_app.get, self.from_app.put))

    async def next(self) -> Message:
        async with asyncio.timeout(60):
            return await self.from_app.get()

    async def done(self) -> None:
        async with asyncio.timeout(60):
            await self.task


def websocket_scope(token: str | None = None, *, subprotocols: list[str] | None = None, **extra: Any) -> dict[str, Any]:
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    if subprotocols:
        headers.append((b"sec-websocket-protocol", ", ".join(subprotocols).encode()))
    return {
        "type": "websocket",
        "path": "/live",
        "query_string": b"",
        "headers": headers,
        "subprotocols": subprotocols or [],
        **extra,
    }


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accept, name the caller, and echo until the client goes."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
    await send({"type": "websocket.send", "text": principal_of(scope).subject})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


class World:
    """An issuer, and a Guard on the running loop that needs no network."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.issuer = InMemoryIssuer(clock=self.clock)
        feed = RevocationFeed("service", Secret("x"))
        self.guard = Guard(
            issuers=[self.issuer.url],
            audience=AUDIENCE,
            revocation=feed,
            cookie=CookieCredential(origins=["https://shop.test"], name="access"),
            clock=self.clock,
        )
        self.issuer.trust_in(self.guard)
        self.guard.check = self.check  # type: ignore[method-assign] # no network in these tests

    async def check(self, token: bytes, requirement: Any, sender: Any = None) -> Any:
        return self.guard.admit(token, requirement, sender)

    def connect(self, app: App, scope: dict[str, Any], **what: Any) -> Connection:
        return Connection(GuardMiddleware(app, guard=self.guard, requirement=self.guard.requires(**what)), scope)

    def revoke(self, **what: str) -> None:
        self.issuer.revoke(**what)
        self.issuer.trust_in(self.guard)


def run(story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(World())

    asyncio.run(main())


def test_a_websocket_with_a_token_in_its_header_is_served() -> None:
    """The application is told who is calling."""

    async def story(world: World) -> None:
        connection = world.connect(echo, websocket_scope(world.issuer.mint(sub="bob")), scopes=["orders:read"])
        await connection.to_app.put({"type": "websocket.connect"})

        assert (await connection.next())["type"] == "websocket.accept"
        assert (await connection.next())["text"] == "bob"

        await connection.to_app.put({"type": "websocket.receive", "text": "hello"})
        assert (await connection.next())["text"] == "hello"
        await connection.to_app.put({"type": "websocket.disconnect", "code": 1000})
        await connection.done()

    run(story)


def test_a_refusal_before_the_handshake_is_the_http_status() -> None:
    """Where the server can say it."""

    async def story(world: World) -> None:
        scope = websocket_scope(None, extensions={"websocket.http.response": {}})
        connection = world.connect(echo, scope)
        await connection.to_app.put({"type": "websocket.connect"})

        start = await connection.next()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
        assert (await connection.next())["type"] == "websocket.http.response.body"
        await connection.done()

    run(story)


def test_where_the_server_cannot_say_a_status_the_connection_is_closed_unaccepted() -> None:
    """The application is not asked."""

    async def story(world: World) -> None:
        connection = world.connect(echo, websocket_scope("nonsense"))
        await connection.to_app.put({"type": "websocket.connect"})

        assert await connection.next() == {"type": "websocket.close", "code": 4401, "reason": "invalid_token"}
        await connection.done()

    run(story)


def test_a_browsers_token_comes_as_a_subprotocol_and_the_application_does_not_see_it() -> None:
    """It is taken out of the scope: what an application logs holds no token."""

    async def story(world: World) -> None:
        token = world.issuer.mint()
        scope = websocket_scope(None, subprotocols=["orders.v1", f"portero.bearer.{token}"])
        connection = world.connect(echo, scope)
        await connection.to_app.put({"type": "websocket.connect"})

        assert (await connection.next())["subprotocol"] == "orders.v1"
        assert token not in repr((scope["subprotocols"], scope["headers"]))
        connection.task.cancel()

    run(story)


@pytest.mark.parametrize(
    ("token", "code"), [("nonsense", 4401), (None, 4403)], ids=["a bad token", "a good token without the scope"]
)
def test_a_refused_browser_is_accepted_and_closed_with_the_code(token: str | None, code: int) -> None:
    """A page cannot see the handshake's status; it can see the close code."""

    async def story(world: World) -> None:
        offered = f"portero.bearer.{token or world.issuer.mint()}"
        connection = world.connect(echo, websocket_scope(None, subprotocols=["orders.v1", offered]), scopes=["other"])
        await connection.to_app.put({"type": "websocket.connect"})

        assert (await connection.next())["type"] == "websocket.accept"
        closed = await connection.next()
        assert (closed["type"], closed["code"]) == ("websocket.close", code)
        await connection.done()

    run(story)


@pytest.mark.attack(row=97)
def test_a_websocket_token_in_the_query_string_is_no_token() -> None:
    """It would be logged."""

    async def story(world: World) -> None:
        scope = websocket_scope(None)
        scope["query_string"] = b"access_token=" + world.issuer.mint().encode()
        connection = world.connect(echo, scope)
        await connection.to_app.put({"type": "websocket.connect"})

        assert (await connection.next())["code"] == 4401
        await connection.done()

    run(story)


@pytest.mark.attack(row=96)
def test_an_open_websocket_is_closed_when_its_session_is_revoked() -> None:
    """Also when nothing is sent in either direction; others stay open."""

    async def story(world: World) -> None:
        ended = world.connect(echo, websocket_scope(world.issuer.mint(sid="s1")))
        other = world.connect(echo, websocket_scope(world.issuer.mint(sid="s2")))
        for connection in (ended, other):
            await connection.to_app.put({"type": "websocket.connect"})
            await connection.next()
            await connection.next()

        world.revoke(sid="s1")

        assert (await ended.next())["code"] == 4401
        await ended.done()
        await other.to_app.put({"type": "websocket.receive", "text": "still here"})
        assert (await other.next())["text"] == "still here"
        other.task.cancel()

    run(story)


@pytest.mark.attack(row=96)
def test_an_open_websocket_is_closed_when_its_token_expires() -> None:
    """Not merely checked at the handshake."""

    async def story(world: World) -> None:
        token = world.issuer.mint(exp=int(world.clock.now()) - 59)
        world.clock.advance(0.95)
        connection = world.connect(echo, websocket_scope(token))
        await connection.to_app.put({"type": "websocket.connect"})
        await connection.next()
        await connection.next()

        assert (await connection.next())["code"] == 4401
        await connection.done()

    run(story)


def test_an_application_that_only_sends_notices_that_it_was_closed() -> None:
    """As when the client is gone."""

    async def ticker(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "text": "tick"})
            await asyncio.sleep(0)

    async def story(world: World) -> None:
        connection = world.connect(ticker, websocket_scope(world.issuer.mint(sid="s1")))
        await connection.to_app.put({"type": "websocket.connect"})
        await connection.next()

        world.revoke(sid="s1")

        with pytest.raises(OSError, match="access token is over"):
            await connection.done()

    run(story)


# ── a WebSocket's first message ──────────────────────────────────────────────────────


def test_a_first_message_brings_the_token_where_the_route_says_so() -> None:
    """The application sees a connection as any other, and neither the message nor its token."""

    async def story(world: World) -> None:
        scope = websocket_scope(None, subprotocols=["orders.v1"])
        connection = world.connect(echo, scope, first_message=True)
        await connection.to_app.put({"type": "websocket.connect"})
        assert await connection.next() == {"type": "websocket.accept", "subprotocol": "orders.v1"}

        await connection.to_app.put({"type": "websocket.receive", "text": f"Bearer {world.issuer.mint(sub='bob')}"})

        assert (await connection.next())["text"] == "bob"
        await connection.to_app.put({"type": "websocket.receive", "text": "hello"})
        assert (await connection.next())["text"] == "hello"
        await connection.to_app.put({"type": "websocket.disconnect", "code": 1000})
        await connection.done()

    run(story)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"text": "Bearer nonsense"}, 4401),
        ({"text": "hello"}, 4401),
        ({"bytes": b"\xff"}, 4401),
        ({"text": "Bearer a, Bearer b"}, 4400),
    ],
)
def test_a_first_message_without_a_good_token_closes_the_connection(message: Message, code: int) -> None:
    """With the code of the table: it was accepted already."""

    async def story(world: World) -> None:
        connection = world.connect(echo, websocket_scope(None), first_message=True)
        await connection.to_app.put({"type": "websocket.connect"})
        assert (await connection.next())["type"] == "websocket.accept"

        await connection.to_app.put({"type": "websocket.receive", **message})

        closed = await connection.next()
        assert (closed["type"], closed["code"]) == ("websocket.close", code)
        await connection.done()

    run(story)


def test_a_client_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds a connection open without a token."""
    monkeypatch.setattr(asgi_websocket, "FIRST_MESSAGE_WITHIN", 0.01)

    async def story(world: World) -> None:
        connection = world.connect(echo, websocket_scope(None), first_message=True)
        await connection.to_app.put({"type": "websocket.connect"})
        assert (await connection.next())["type"] == "websocket.accept"

        assert (await connection.next())["code"] == 4401
        await connection.done()

    run(story)


def test_a_client_that_leaves_before_its_first_message_leaves_nothing() -> None:
    """Nothing is sent to who is gone."""

    async def story(world: World) -> None:
        connection = world.connect(echo, websocket_scope(None), first_message=True)
        await connection.to_app.put({"type": "websocket.connect"})
        assert (await connection.next())["type"] == "websocket.accept"
        await connection.to_app.put({"type": "websocket.disconnect", "code": 1001})
        await connection.done()

        assert connection.from_app.empty()

    run(story)


def test_a_first_message_is_no_token_where_the_route_does_not_say_so() -> None:
    """The handshake is refused, as without a token."""

    async def story(world: World) -> None:
        connection = world.connect(echo, websocket_scope(None))
        await connection.to_app.put({"type": "websocket.connect"})

        assert (await connection.next())["type"] == "websocket.close"
        await connection.done()

    run(story)


# ── a cookie ─────────────────────────────────────────────────────────────────────────


def with_cookie(token: str, *, origin: str | None) -> dict[str, Any]:
    scope = websocket_scope(None)
    scope["headers"] = [(b"cookie", f"access={token}".encode())]
    if origin is not None:
        scope["headers"].append((b"origin", origin.encode()))
    return scope


def test_a_cookie_opens_a_websocket_from_a_listed_origin() -> None:
    """A browser attaches it by itself; the handshake always says from where."""

    async def story(world: World) -> None:
        scope = with_cookie(world.issuer.mint(sub="bob"), origin="https://shop.test")
        connection = world.connect(echo, scope, cookie=True)
        await connection.to_app.put({"type": "websocket.connect"})

        assert (await connection.next())["type"] == "websocket.accept"
        assert (await connection.next())["text"] == "bob"
        connection.task.cancel()

    run(story)


@pytest.mark.parametrize(
    ("origin", "accepts"),
    [("https://evil.test", True), ("https://shop.test.evil.test", True), ("null", True), (None, True),
     ("https://shop.test", False)],
)  # fmt: skip
def test_a_cookie_opens_no_websocket_from_elsewhere_or_where_it_does_not_count(
    origin: str | None, accepts: bool
) -> None:
    """Cross-site WebSocket hijacking: the browser asks nobody before it connects."""

    async def story(world: World) -> None:
        connection = world.connect(echo, with_cookie(world.issuer.mint(), origin=origin), cookie=accepts)
        await connection.to_app.put({"type": "websocket.connect"})

        assert await connection.next() == {"type": "websocket.close", "code": 4401, "reason": "no_token"}
        await connection.done()

    run(story)


@pytest.mark.attack(row=96)
@pytest.mark.parametrize("by", ["first message", "cookie"])
def test_a_websocket_closes_with_its_token_however_that_came(by: str) -> None:
    """On revocation, with the code of the table."""

    async def story(world: World) -> None:
        token = world.issuer.mint(sid="s1")
        scope = with_cookie(token, origin="https://shop.test") if by == "cookie" else websocket_scope(None)
        connection = world.connect(echo, scope, cookie=True, first_message=True)
        await connection.to_app.put({"type": "websocket.connect"})
        assert (await connection.next())["type"] == "websocket.accept"
        if by == "first message":
            await connection.to_app.put({"type": "websocket.receive", "text": f"Bearer {token}"})
        assert (await connection.next())["type"] == "websocket.send"

        world.revoke(sid="s1")

        assert (await connection.next())["code"] == 4401
        await connection.done()

    run(story)


@pytest.mark.attack(row=97)
@pytest.mark.parametrize("what", [{"first_message": True}, {"cookie": True}])
def test_a_token_in_the_query_string_is_none_on_routes_that_accept_more(what: dict[str, bool]) -> None:
    """What a route accepts beside the header never includes the address."""

    async def story(world: World) -> None:
        scope = websocket_scope(None)
        scope["query_string"] = b"access_token=" + world.issuer.mint().encode()
        connection = world.connect(echo, scope, **what)
        await connection.to_app.put({"type": "websocket.connect"})
        if "first_message" in what:
            assert (await connection.next())["type"] == "websocket.accept"
            await connection.to_app.put({"type": "websocket.receive", "text": "hello"})

        assert (await connection.next())["code"] == 4401
        await connection.done()

    run(story)


def http_scope(token: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/events",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }


@pytest.mark.attack(row=96)
def test_an_open_event_stream_ends_when_its_session_is_revoked() -> None:
    """The body is finished properly, and the application is cancelled."""

    async def events(_scope: Any, _receive: Any, send: Any) -> None:
        content_type = (b"Content-Type", b"text/event-stream; charset=utf-8")
        await send({"type": "http.response.start", "status": 200, "headers": [content_type]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.Event().wait()

    async def story(world: World) -> None:
        connection = world.connect(events, http_scope(world.issuer.mint(sid="s1")))
        await connection.next()
        await connection.next()

        world.revoke(sid="s1")

        assert await connection.next() == {"type": "http.response.body", "body": b"", "more_body": False}
        await connection.done()

    run(story)


def test_a_cancellation_that_is_not_ours_stays_one() -> None:
    """A client that goes away cancels the application as before."""

    async def events(_scope: Any, _receive: Any, send: Any) -> None:
        content_type = (b"content-type", b"text/event-stream")
        await send({"type": "http.response.start", "status": 200, "headers": [content_type]})
        await asyncio.Event().wait()

    async def story(world: World) -> None:
        connection = world.connect(events, http_scope(world.issuer.mint()))
        await connection.next()

        connection.task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await connection.done()

    run(story)


def test_a_closed_connection_leaves_nothing_registered() -> None:
    """A service that runs for months must not remember every connection."""

    async def story(world: World) -> None:
        connection = world.connect(echo, websocket_scope(world.issuer.mint()))
        await connection.to_app.put({"type": "websocket.connect"})
        await connection.next()
        await connection.next()
        assert world.guard.connections._by_key

        await connection.to_app.put({"type": "websocket.disconnect", "code": 1000})
        await connection.done()

        assert world.guard.connections._by_key == {}

    run(story)


def test_one_connection_that_cannot_be_told_keeps_nothing_from_the_others() -> None:
    """Those of a session end together; the feed says it once."""
    clock = FakeClock()
    issuer = InMemoryIssuer(clock=clock)
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, clock=clock)
    issuer.trust_in(guard)
    principal = guard.admit(issuer.mint(sid="s1").encode(), guard.requires())
    assert isinstance(principal, Principal)
    told: list[Refusal] = []

    def broken(refusal: Refusal) -> None:
        told.append(refusal)
        raise RuntimeError("this connection is in no state to hear")

    for _ in range(2):
        guard.connections.watch_in_thread(principal, broken)
    guard.connections.revoked(
        [Revocation(Issuer(issuer.url), RevokedKind.SESSION, "s1", NumericDate(0), NumericDate(1))]
    )

    assert told == [REVOKED, REVOKED]


def test_an_unknown_kind_of_connection_is_not_served() -> None:
    """It would be served unchecked."""

    async def story(world: World) -> None:
        with pytest.raises(NotImplementedError):
            await world.connect(echo, {"type": "webtransport", "headers": []}).done()

    run(story)
