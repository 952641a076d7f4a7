"""A receiver of tokens on this machine: a small HTTP server that answers as it is told and keeps what came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Receiver:
    """What was posted, and how to answer: one answer per request, the last one from then on."""

    port: int = 0
    answers: list[bytes] = field(default_factory=lambda: [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"])
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/out"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].partition("\r")[0])
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(length))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(answer)
        await writer.drain()
        writer.close()


def status(code: int) -> bytes:
    """A bare answer."""
    return b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % code


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Listen on a free port for the length of the block."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
