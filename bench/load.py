"""A load generator for token endpoints: one keep-alive connection a chain, each chain refreshes its own token.

Raw asyncio protocol and a hand-written HTTP/1.1 client, because the generator must stay well below the servers it
measures: it prints how busy its core was. Bounded in time and count; loopback only.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Outcome:
    """What a run saw: latencies in seconds, refusals, and how busy the generator's core was (0 to 1)."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    generator_busy: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, q: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


class _Chain(asyncio.Protocol):
    """One connection: send a body, take the answer, let `next_body` make the following one."""

    def __init__(self, run: _Run, request: Callable[[bytes | None], bytes | None]) -> None:
        self._run = run
        self._request = request
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send(None)

    def _send(self, answer: bytes | None) -> None:
        assert self._transport is not None
        # Asked even at the end, so that the chain has learnt its last answer when it is driven again.
        request = self._request(answer)
        if request is None or self._run.over:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end + 2)
        total = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < total:
            return
        body, status = self._buffer[end + 4 : total], self._buffer[9:12]
        self._buffer = b""
        if status == b"200":
            self._run.latencies.append(time.perf_counter() - self._sent)
        else:
            self._run.refused += 1
            self._run.last_refusal = status + b" " + body[:200]
        self._send(body if status == b"200" else None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.closed()


class _Run:
    def __init__(self, chains: int) -> None:
        self.latencies: list[float] = []
        self.refused = 0
        self.last_refusal = b""
        self.over = False
        self._open = chains
        self.done = asyncio.Event()

    def closed(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.done.set()


async def drive(port: int, chains: list[Callable[[bytes | None], bytes | None]], *, seconds: float) -> Outcome:
    """Run every chain on its own connection for `seconds`; a chain maps the last 200 body (None at first) to a request.

    Raises:
        RuntimeError: more than one in a hundred answers was a refusal; the message carries one of them.
    """
    loop = asyncio.get_running_loop()
    run = _Run(len(chains))
    cpu, started = time.process_time(), time.perf_counter()
    for chain in chains:
        await loop.create_connection(lambda chain=chain: _Chain(run, chain), "127.0.0.1", port)  # type: ignore[misc]  # mypy cannot infer a lambda's default
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    busy = (time.process_time() - cpu) / elapsed
    latencies = list(run.latencies)
    run.over = True
    await asyncio.wait_for(run.done.wait(), 10)
    if run.refused > len(latencies) / 100:
        raise RuntimeError(f"{run.refused} refusals, {len(latencies)} answers; one of them: {run.last_refusal!r}")
    return Outcome(elapsed, latencies, run.refused, busy)


def post(path: str, body: str, *, headers: str = "") -> bytes:
    """A form POST as bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
