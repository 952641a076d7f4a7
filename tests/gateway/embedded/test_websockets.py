"""WebSockets: the same through the gateway as without it, and closed with their token (RFC 6455, design §3.5)."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode

from tests.gateway.embedded.conftest import World, write_manifest
from tests.gateway.embedded.running import Caller, RunningGateway

Case = Callable[[ClientConnection], Coroutine[Any, Any, object]]


async def _echo(connection: ServerConnection) -> None:
    path = connection.request.path if connection.request else ""
    if path.endswith("/greets"):
        await connection.send(connection.subprotocol or "no subprotocol")
    if path.endswith("/closes"):
        await connection.close(4000, "the service's own reason")
        return
    try:
        async for message in connection:
            if message == "many":
                for number in range(200):
                    await connection.send(str(number))
            elif message == "fragments":
                await connection.send(["a", "b", "", "c"])
            elif message == "ping":
                await (await connection.ping(b"from the server"))
                await connection.send("ponged")
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass


class WebSocketServer:
    """An echo server on a thread of its own."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

        async def handler(connection: ServerConnection) -> None:
            if connection.request is not None:
                self.headers.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
            await _echo(connection)

        def select(_: ServerConnection, offered: Any) -> Any:
            return "chat" if "chat" in offered else None

        async with serve(
            handler, "127.0.0.1", 0, select_subprotocol=select, max_size=2**24, ping_interval=None
        ) as server:
            self.port: int = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)


@pytest.fixture(scope="module")
def sockets() -> Iterator[WebSocketServer]:
    server = WebSocketServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def world(issuer: Any, sockets: WebSocketServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    manifest = write_manifest(tmp_path_factory.mktemp("sockets"), issuer, sockets.port)
    with RunningGateway(manifest, {"FEED_SECRET": "service-secret"}) as gateway:
        yield World(issuer, None, gateway)  # type: ignore[arg-type]  # the server is another one here


async def _text(connection: ClientConnection) -> object:
    await connection.send("héllo ✓")
    return await connection.recv()


async def _empty(connection: ClientConnection) -> object:
    await connection.send("")
    await connection.send(b"")
    return [await connection.recv(), await connection.recv()]


def _binary(size: int) -> Case:
    async def case(connection: ClientConnection) -> object:
        await connection.send(bytes(index % 251 for index in range(size)))
        received = await connection.recv()
        return len(received), hashlib.sha256(received if isinstance(received, bytes) else b"").hexdigest()

    return case


async def _fragments(connection: ClientConnection) -> object:
    await connection.send(["one ", "two ", "", "three"])
    await connection.send("fragments")
    return [await connection.recv(), await connection.recv()]


async def _ping_among_fragments(connection: ClientConnection) -> object:
    async def pieces() -> Any:
        yield "a"
        await (await connection.ping(b"among"))
        yield "b"

    await connection.send(pieces())
    return await connection.recv()


async def _server_pings(connection: ClientConnection) -> object:
    await connection.send("ping")
    return await connection.recv()


async def _many(connection: ClientConnection) -> object:
    await connection.send("many")
    return [await connection.recv() for _ in range(200)]


async def _client_closes(connection: ClientConnection) -> object:
    await connection.close(4123, "mine")
    return connection.close_code, connection.close_reason


async def _raw(connection: ClientConnection, *frames: Frame | bytes) -> object:
    """Frames the library would not send; the outcome is the server's close code."""
    data = b"".join(frame if isinstance(frame, bytes) else frame.serialize(mask=True) for frame in frames)
    connection.transport.write(data)
    try:
        while True:
            await connection.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


CASES: dict[str, Case] = {
    "text": _text,
    "empty messages": _empty,
    **{f"binary of {size}": _binary(size) for size in (1, 125, 126, 65_535, 65_536, 300_000, 2_000_000)},
    "fragments": _fragments,
    "ping among fragments": _ping_among_fragments,
    "server pings": _server_pings,
    "many messages": _many,
    "client closes": _client_closes,
    "bad UTF-8": lambda c: _raw(c, Frame(Opcode.TEXT, b"\xc0\xaf")),
    "continuation of nothing": lambda c: _raw(c, Frame(Opcode.CONT, b"a")),
    "message within a message": lambda c: _raw(c, Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.TEXT, b"b")),
    "close with a bad code": lambda c: _raw(c, Frame(Opcode.CLOSE, b"\x03\xec")),
    "close with one byte": lambda c: _raw(c, Frame(Opcode.CLOSE, b"\x03")),
    "reserved bit": lambda c: _raw(c, b"\x91\x81\0\0\0\0a"),
}


def _outcome(url: str, case: Case, **options: Any) -> object:
    async def run() -> object:
        async with connect(url, ping_interval=None, max_size=2**24, **options) as connection:
            return await asyncio.wait_for(case(connection), 60)

    return asyncio.run(run())


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("name", CASES)
def test_a_client_sees_the_same_through_the_gateway(
    world: World, sockets: WebSocketServer, name: str, compression: str | None
) -> None:
    """Messages, control frames, closes and protocol errors."""
    direct = _outcome(f"ws://127.0.0.1:{sockets.port}/ws/a", CASES[name], compression=compression)
    headers = {"Authorization": f"Bearer {world.token()}"}

    through = _outcome(
        f"ws://127.0.0.1:{world.port}/api/ws/a", CASES[name], compression=compression, additional_headers=headers
    )

    assert direct == through


async def _all(connection: ClientConnection, lengths: list[int] | None = None) -> None:
    while True:
        message = await connection.recv()
        if lengths is not None:
            lengths.append(len(message))


def _close_of(
    world: World, path: str = "/api/ws/a", *, told: Callable[[], object] = lambda: None, **options: Any
) -> Close:
    async def run() -> Close:
        async with connect(f"ws://127.0.0.1:{world.port}{path}", ping_interval=None, **options) as connection:
            if told is not None:
                await connection.send("hello")
                assert await connection.recv() == "hello"
                await asyncio.to_thread(told)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(_all(connection), 60)
        assert closed.value.rcvd is not None
        return closed.value.rcvd

    return asyncio.run(run())


@pytest.mark.attack(row=96)
def test_a_revoked_session_closes_its_socket_with_4401(world: World) -> None:
    """Signed out means out: also on a connection that is open."""
    close = _close_of(
        world,
        told=lambda: world.issuer.issuer.revoke(sid="session-of-a-socket"),
        additional_headers={"Authorization": f"Bearer {world.token(sid='session-of-a-socket')}"},
    )

    assert (close.code, close.reason) == (4401, "invalid_token")


@pytest.mark.attack(row=96)
def test_a_socket_ends_with_its_token(world: World) -> None:
    """At `exp` and the leeway, not merely checked at the handshake."""
    now = int(world.issuer.clock.now())
    # The leeway of a minute is past when it is admitted, but for two seconds.
    close = _close_of(world, additional_headers={"Authorization": f"Bearer {world.token(exp=now - 58, iat=now - 300)}"})

    assert close.code == 4401


def test_a_close_never_stands_in_the_middle_of_a_frame(world: World) -> None:
    """While a frame is on its way, the gateway's close waits for its end; the message arrives whole."""

    async def run() -> int:
        headers = {"Authorization": f"Bearer {world.token(sid='session-of-a-large-frame')}"}
        async with connect(
            f"ws://127.0.0.1:{world.port}/api/ws/a", additional_headers=headers, compression=None, max_size=2**24,
            ping_interval=None,
        ) as connection:  # fmt: skip
            await connection.send(b"x" * 4_000_000)
            world.issuer.issuer.revoke(sid="session-of-a-large-frame")
            lengths: list[int] = []
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(_all(connection, lengths), 60)
        assert lengths in ([], [4_000_000])
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code

    assert asyncio.run(run()) == 4401


def test_a_page_brings_its_token_as_subprotocol_and_no_server_sees_it(world: World, sockets: WebSocketServer) -> None:
    """The token goes on in the header; the application's own subprotocol is negotiated as ever."""
    token = world.token()

    async def greeted(*subprotocols: str) -> tuple[object, str | None]:
        url = f"ws://127.0.0.1:{world.port}/api/ws/greets"
        async with connect(url, subprotocols=list(subprotocols)) as connection:  # type: ignore[arg-type]
            return await connection.recv(), connection.subprotocol

    assert asyncio.run(greeted("chat", f"portero.bearer.{token}")) == ("chat", "chat")
    assert sockets.headers[-1]["authorization"] == f"Bearer {token}"
    assert "portero.bearer." not in sockets.headers[-1].get("sec-websocket-protocol", "")
    assert asyncio.run(greeted("portero.bearer", f"portero.bearer.{token}"))[1] == "portero.bearer"


def test_a_refused_page_is_told_by_close_code_and_others_by_status(world: World) -> None:
    """A page cannot see the status of a handshake."""

    async def page() -> int | None:
        url = f"ws://127.0.0.1:{world.port}/api/ws/a"
        async with connect(url, subprotocols=["chat", "portero.bearer.not-a-token"]) as connection:  # type: ignore[list-item]
            await connection.wait_closed()
            return connection.close_code

    assert asyncio.run(page()) == 4401
    with Caller(world.port) as caller:
        caller.send(
            b"GET /api/ws/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert caller.answer().status == 401
