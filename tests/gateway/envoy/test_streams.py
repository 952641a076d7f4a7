"""WebSocket, server-sent events, gRPC and HTTP/2 over TLS through Envoy, and their end with the token."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from portero.testing.jwks_server import CLIENT_ID, JwksServer
from tests.gateway.embedded.test_configuration import write_certificate
from tests.gateway.engines import PATIENCE, Running

AUDIENCE = "https://shop.test/live"
PAGE = "https://page.test"
RATE = 20
SHORT = 4
"""Seconds a token lives whose end is awaited."""

MANIFEST = """
layout = "hybrid"
leeway = "2s"
[issuers.main]
issuer = "{issuer}"
revocation = {{ client_id = "{client}", secret_env = "FEED_SECRET" }}
[services.live]
audience = "{audience}"
upstreams = ["http://127.0.0.1:{live}"]
[[services.live.routes]]
match = "GET /socket"
stream = true
[[services.live.routes]]
match = "GET /plain"
[[services.live.routes]]
match = "GET /events"
stream = true
[services.rpc]
audience = "{audience}"
upstreams = ["http://127.0.0.1:{rpc}"]
protocol = "http2"
[[services.rpc.routes]]
match = "POST /test.Live/{{method}}"
stream = true
[gateway]
listen = "{{listen}}"
admin = "{{admin}}"
prefix = {{ live = "/live" }}
tls = {{ certificate = "chain.pem", key = "key.pem" }}
rate_limits = {{ per_subject = "{rate}/m" }}
"""


class LiveServer:
    """Echoes what a WebSocket says; tells events for ever on every other connection. On a thread of its own."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()

        async def echo(connection: ServerConnection) -> None:
            try:
                async for message in connection:
                    await connection.send(message)
            except ConnectionClosed:
                pass

        serving: set[asyncio.Task[None]] = set()

        async def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(task := asyncio.ensure_future(self._serve(reader, writer)))
            task.add_done_callback(serving.discard)

        async with (
            serve(echo, "127.0.0.1", 0, ping_interval=None) as sockets,
            await asyncio.start_server(begun, "127.0.0.1", 0) as server,
        ):
            self._sockets = next(iter(sockets.sockets)).getsockname()[1]
            self.port: int = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"upgrade: websocket" in head.lower():
                await self._join(head, reader, writer)
                return
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"data: one\n\n")
                await writer.drain()
                await asyncio.sleep(0.2)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            await _closed(writer)

    async def _join(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", self._sockets)
        outer.write(head)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

        try:
            await asyncio.gather(copy(reader, outer), copy(inner, writer))
        finally:
            await _closed(outer)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def rpc_server() -> tuple[grpc.Server, int]:
    """Says back what it hears, one by one; `Silent` says one thing and then nothing until it is cut off."""

    def echo(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        yield from requests

    def silent(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"begun"
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(PATIENCE)

    def told(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield str(context.time_remaining()).encode()

    handlers = {
        "Told": grpc.unary_stream_rpc_method_handler(told),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
        "Silent": grpc.unary_stream_rpc_method_handler(silent),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Live", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


@dataclass
class Live:
    """The gateway, and how to reach it."""

    issuer: JwksServer
    gateway: Running
    folder: Path

    def token(self, **changes: object) -> str:
        return self.issuer.issuer.mint(**{"aud": AUDIENCE, **changes})

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "chain.pem"))

    def socket(self, token: str | None, path: str = "/live/socket") -> Any:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return connect(
            f"wss://gateway.test:{self.gateway.port}{path}", host="127.0.0.1", server_hostname="gateway.test",
            ssl=self.context, additional_headers=headers, ping_interval=None, open_timeout=PATIENCE, proxy=None,
        )  # fmt: skip

    def channel(self) -> Any:
        credentials = grpc.ssl_channel_credentials((self.folder / "chain.pem").read_bytes())
        options = [("grpc.ssl_target_name_override", "gateway.test")]
        return grpc.aio.secure_channel(f"127.0.0.1:{self.gateway.port}", credentials, options)

    async def get(self, path: str, token: str | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.gateway.port, ssl=self.context, server_hostname="gateway.test"
        )
        line = "" if token is None else f"authorization: Bearer {token}\r\n"
        writer.write(f"GET {path} HTTP/1.1\r\nhost: gateway.test\r\n{line}\r\n".encode())
        return reader, writer


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    write_certificate(folder, "gateway.test")
    upstream = LiveServer()
    rpc, rpc_port = rpc_server()
    with JwksServer(audience=AUDIENCE) as issuer:
        text = MANIFEST.format(
            issuer=issuer.url, client=CLIENT_ID, audience=AUDIENCE, live=upstream.port, rpc=rpc_port, rate=RATE
        )
        gateway = Running("envoy", folder, text)
        try:
            yield Live(issuer, gateway.wait_until_ready(), folder)
        finally:
            gateway.stop()
            rpc.stop(None)
            upstream.close()


def within(case: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await case

    asyncio.run(bounded())


def test_a_websocket_says_what_it_said_without_a_gateway(live: Live) -> None:
    """Text and more than a buffer of bytes come back; without a token it is 401, and off its route refused."""

    async def case() -> None:
        async with live.socket(live.token()) as connection:
            for message in ("héllo ✓", bytes(range(256)) * 2000):
                await connection.send(message)
                assert await connection.recv() == message
        with pytest.raises(InvalidStatus) as refused:
            async with live.socket(None):
                pass
        assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as refused:
            async with live.socket(live.token(), "/live/plain"):
                pass
        assert refused.value.response.status_code == 403

    within(case())


def test_a_grpc_stream_answers_while_it_is_asked(live: Live) -> None:
    """Each message is answered before the next is sent; no token: UNAUTHENTICATED, two: INVALID_ARGUMENT."""

    async def asked(sent: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while (message := await sent.get()) is not None:
            yield message

    async def case() -> None:
        async with live.channel() as channel:
            echo = channel.stream_stream("/test.Live/Echo")
            sent: asyncio.Queue[bytes | None] = asyncio.Queue()
            call = echo(asked(sent), metadata=[("authorization", f"Bearer {live.token()}")])
            for number in range(5):
                await sent.put(b"message %d" % number)
                assert await call.read() == b"message %d" % number
            await sent.put(None)
            assert await call.code() is grpc.StatusCode.OK
            silent = channel.unary_stream("/test.Live/Silent")(b"")
            assert await silent.code() is grpc.StatusCode.UNAUTHENTICATED
            for token in ("one, Bearer another", f"{live.token()}, Bearer another"):
                two = channel.unary_stream("/test.Live/Silent")(b"", metadata=[("authorization", f"Bearer {token}")])
                assert await two.code() is grpc.StatusCode.INVALID_ARGUMENT
            unnamed = channel.unary_stream("/test.Other/Silent")(b"")
            assert await unnamed.code() is grpc.StatusCode.PERMISSION_DENIED

    within(case())


def test_every_stream_ends_with_its_token(live: Live) -> None:
    """WebSocket, events and gRPC, each open and of use until the token's end (and leeway), closed then."""

    async def until_cut(name: str, token: str) -> float:
        if name == "socket":
            async with live.socket(token) as connection:
                await connection.send("here")
                assert await connection.recv() == "here"
                with pytest.raises(ConnectionClosed):
                    await connection.recv()
        elif name == "events":
            reader, writer = await live.get("/live/events", token)
            assert b" 200 " in await reader.readline()
            told = 0
            try:
                while line := await reader.readline():
                    told += line.startswith(b"data: ")
            except OSError:
                pass
            await _closed(writer)
            assert told > 1
        else:
            async with live.channel() as channel:
                call = channel.unary_stream("/test.Live/Silent")(b"", metadata=[("authorization", f"Bearer {token}")])
                assert await call.read() == b"begun"
                assert await call.code() is not grpc.StatusCode.OK
        return time.time()

    async def case() -> None:
        ends = int(time.time()) + SHORT
        names = ("socket", "events", "rpc")
        tokens = [live.token(exp=ends, sid=f"ends-{name}") for name in names]
        ended = await asyncio.gather(*[until_cut(*one) for one in zip(names, tokens, strict=True)])
        assert all(at >= ends for at in ended)

    within(case())


def test_a_stream_lasts_no_longer_than_its_caller_said(live: Live) -> None:
    """`grpc-timeout` is the smaller of the caller's and the token's: the service is told of what is left."""

    async def said(token: str, seconds: float | None) -> float:
        async with live.channel() as channel:
            call = channel.unary_stream("/test.Live/Told")(
                b"", metadata=[("authorization", f"Bearer {token}")], timeout=seconds
            )
            return float(await call.read())

    async def case() -> None:
        token = live.token(exp=int(time.time()) + 1000)
        assert 500 < await said(token, None) <= 1002
        assert 500 < await said(token, 5000) <= 1002
        assert await said(token, 300) <= 300

    within(case())


def test_tls_takes_what_clients_offer_and_nothing_old(live: Live) -> None:
    """HTTP/2 by ALPN, HTTP/1.1 to who knows nothing else; TLS 1.1 is refused."""

    def negotiated(offered: list[str]) -> str | None:
        context = live.context
        context.set_alpn_protocols(offered)
        with (
            socket.create_connection(("127.0.0.1", live.gateway.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="gateway.test") as secure,
        ):
            return secure.selected_alpn_protocol()

    assert negotiated(["h2", "http/1.1"]) == "h2"
    assert negotiated(["http/1.1"]) == "http/1.1"
    old = live.context
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", live.gateway.port), PATIENCE) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="gateway.test")


def test_one_subject_asks_as_often_as_it_may_and_disturbs_no_other(live: Live) -> None:
    """The next request after the limit is 429 with Retry-After and a problem document; another subject is served."""

    async def status(token: str) -> tuple[int, bytes]:
        reader, writer = await live.get("/live/plain", token)
        head = await reader.readuntil(b"\r\n\r\n")
        await _closed(writer)
        return int(head.split(b" ")[1]), head.lower()

    async def case() -> None:
        busy, other = live.token(sub="busy"), live.token(sub="other")
        answers = [await status(busy) for _ in range(RATE + 1)]
        assert [code for code, _ in answers] == [200] * RATE + [429]
        assert b"\r\nretry-after: " in answers[-1][1]
        assert b"\r\ncontent-type: application/problem+json" in answers[-1][1]
        assert (await status(other))[0] == 200

    within(case())
