"""The embedded gateway on a thread of its own, and a server behind it that records what it saw and behaves as told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from portero.gateway.embedded.worker import Worker
from portero.gateway.engines import Options
from portero.ports import Clock

PATIENCE = 60.0


class RunningGateway:
    """One worker."""

    def __init__(self, manifest: Path, environ: Mapping[str, str], *, clock: Clock | None = None) -> None:
        self.manifest = manifest
        self._environ = environ
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving = threading.Event()
        self._stop: asyncio.Event | None = None
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listening.getsockname()[1]
        self.listening.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> RunningGateway:
        self._thread.start()
        assert self._serving.wait(PATIENCE)
        self._raise()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        with suppress(RuntimeError):  # it ended by itself: by what it raised
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._raise()
        assert not self._thread.is_alive(), "the gateway does not stop"

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._kept())
        except BaseException as error:  # raised again where the test is
            self._error = error
        finally:
            self._serving.set()

    async def _kept(self) -> None:
        # Known at once, whatever the loop still does on its way out.
        try:
            await self._serve()
        except BaseException as error:
            self._error = error
            self._serving.set()
            raise

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        options = Options(self.manifest, self._environ, access_log=False, clock=self._clock)
        self.worker = Worker(options, self.manifest.read_text())
        await self.worker.begin(self.listening)
        self._serving.set()
        await self._stop.wait()
        await self.worker.drain()

    def do(self, work: Callable[[], Any]) -> Any:
        """Do something on the gateway's loop, and return its result."""

        async def wrapped() -> Any:
            return work()

        return self.run(wrapped())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await something on the gateway's loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


@dataclass
class Seen:
    """One request as the server read it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for known, value in self.headers if known.lower() == name]


class Peer:
    """One connection of the server, for behaviours."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""

    def read(self, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            EOFError: fewer came.
        """
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def line(self) -> bytes:
        """A line without its CRLF; a bare LF is an error of the sender's."""
        while b"\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\n")
        assert line.endswith(b"\r"), f"a line that does not end in CRLF: {line!r}"
        return line[:-1]

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _more(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise EOFError
        self._buffer += data


Behaviour = Callable[[Peer, Seen], bool]
"""Answers; returns whether the connection goes on."""


class Upstream:
    """A strict HTTP/1.1 server: one thread a connection, `behave` by path, otherwise a small JSON answer."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.seen: list[Seen] = []
        self.broken: list[str] = []
        """What could not be read as requests."""
        self.behaviours: dict[str, Behaviour] = {}
        self.before_body: dict[str, Callable[[Peer], None]] = {}
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End every connection, and listen no more."""
        for one in (self._server, *self._open):
            # Closing alone does not wake the threads that wait for them.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            peer = Peer(connection)
            while self._one(peer):
                pass
        except (EOFError, OSError):
            pass
        except (AssertionError, ValueError) as error:
            self.broken.append(str(error))
        finally:
            self._open.discard(connection)
            connection.close()

    def _one(self, peer: Peer) -> bool:
        method, target, version = peer.line().decode("latin-1").split(" ")
        assert version == "HTTP/1.1"
        seen = Seen(method, target, _fields(peer))
        path = target.partition("?")[0]
        if path in self.before_body:
            self.before_body[path](peer)
        lengths, codings = seen.all("content-length"), seen.all("transfer-encoding")
        assert len(lengths) + len(codings) <= 1, f"two lengths: {seen.headers}"
        if lengths:
            seen.body = peer.read(int(lengths[0]))
        elif codings:
            assert codings == ["chunked"]
            while size := int(peer.line(), 16):
                seen.body += peer.read(size)
                assert peer.line() == b""
            seen.trailers = _fields(peer)
        self.seen.append(seen)
        behaviour = self.behaviours.get(path)
        if behaviour is not None:
            return behaviour(peer, seen)
        body = b'{"served":true}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        peer.send(head if method == "HEAD" else head + body)
        return True


def _fields(peer: Peer) -> list[tuple[str, str]]:
    fields = []
    while line := peer.line():
        name, colon, value = line.decode("latin-1").partition(":")
        assert colon, f"no field: {line!r}"
        fields.append((name, value.strip(" \t")))
    return fields


@dataclass
class Answer:
    """One answer as a client read it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        found = [value for known, value in self.headers if known.lower() == name]
        return found[0] if found else None


class Caller:
    """A client of raw bytes."""

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0))
        self.peer = Peer(self.socket)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, method: str = "GET") -> Answer:
        """Read one answer.

        Raises:
            EOFError: the connection ended before it was complete.
        """
        version, status, _ = self.peer.line().decode("latin-1").split(" ", 2)
        assert version == "HTTP/1.1"
        answer = Answer(int(status), _fields(self.peer), b"")
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        length = answer.header("content-length")
        if answer.header("transfer-encoding") == "chunked":
            assert length is None
            while size := int(self.peer.line(), 16):
                answer.body += self.peer.read(size)
                assert self.peer.line() == b""
            answer.trailers = _fields(self.peer)
        elif length is not None:
            answer.body = self.peer.read(int(length))
        else:
            answer.body = self.until_end()
        return answer

    def until_end(self) -> bytes:
        """Everything until the connection ends."""
        everything = self.peer._buffer
        self.peer._buffer = b""
        try:
            while data := self.socket.recv(65_536):
                everything += data
        except ConnectionResetError:
            pass
        return everything


def until(condition: Callable[[], object]) -> None:
    """Await a condition under a generous deadline."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
