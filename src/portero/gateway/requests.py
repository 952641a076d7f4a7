"""Small HTTP/1.1 answers over asyncio protocols: what a gateway's own process says (admin, Envoy's questions).

For trusted peers on this machine: bodies are ignored, a request that is no HTTP ends the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import httptools

RawHeader = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, without its body. Header names in lower case."""

    method: str
    target: bytes
    headers: list[RawHeader]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; its length is written for it."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def encoded(self, *, head: bool = False) -> bytes:
        """The bytes on the wire."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers if name != "content-length"]
        lines.append(f"content-length: {len(self.body)}")
        written = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        return written if head else written + self.body


Respond = Callable[[Request], Answer | Awaitable[Answer]]


class Answering(asyncio.Protocol):
    """One connection. What can be answered at once is; what has to wait keeps the order of the requests."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._target = b""
        self._headers: list[RawHeader] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer connected."""
        self._transport = transport  # type: ignore[assignment]  # a server's transports read and write

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        """A request is complete."""
        request = Request(self._parser.get_method().decode("ascii"), self._target, self._headers)
        if self._task is not None:
            self._waiting.append(request)
            return
        answer = self._respond(request)
        if isinstance(answer, Answer):
            self._write(answer, request)
        else:
            self._task = asyncio.ensure_future(self._finish(request, answer))

    async def _finish(self, request: Request, answer: Awaitable[Answer]) -> None:
        self._write(await answer, request)
        while self._waiting:
            request = self._waiting.popleft()
            following = self._respond(request)
            self._write(following if isinstance(following, Answer) else await following, request)
        self._task = None

    def _write(self, answer: Answer, request: Request) -> None:
        if self._transport is not None:
            self._transport.write(answer.encoded(head=request.method == "HEAD"))
            if not self._parser.should_keep_alive():
                self._transport.close()
