"""The Envoy process: started, watched, asked over its admin socket, drained and stopped."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from portero.gateway.envoy.resources import Json

_log = logging.getLogger("portero.gateway")
_PR_SET_PDEATHSIG: Final = 1
_LONGEST_PAUSE: Final = 5.0
"""Seconds before an Envoy that keeps ending is started again."""


def _die_with_parent() -> Callable[[], None] | None:
    """An Envoy without its supervisor would go on without hearing of revocations: the kernel ends it, too."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class EnvoyProcess:
    """One Envoy, started again whenever it ends by itself.

    Args:
        program: the executable.
        bootstrap: its configuration file.
        admin_socket: where its admin interface listens.
        workers: threads that serve.
        drain_seconds: how long connections are given when listeners change.
    """

    def __init__(self, program: str, *, bootstrap: Path, admin_socket: Path, workers: int, drain_seconds: int) -> None:
        self._arguments = [
            program, "-c", str(bootstrap), "--concurrency", str(workers), "--disable-hot-restart",
            "--drain-time-s", str(max(1, drain_seconds)), "--log-level", "warning",
            "--log-format", "envoy %l %n: %v", "--file-flush-interval-msec", "1000",
        ]  # fmt: skip
        self._admin_socket = admin_socket
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.starts = 0
        """How often it was started."""

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    def start(self) -> None:
        """Start it, and again whenever it ends."""
        self._task = asyncio.create_task(self._keep(), name="envoy")

    async def _keep(self) -> None:
        pause = 0.05
        while not self._stopping:
            began = asyncio.get_running_loop().time()
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments, stdin=asyncio.subprocess.DEVNULL, preexec_fn=_die_with_parent()
            )
            self.starts += 1
            code = await self._process.wait()
            if self._stopping:
                return
            lived = asyncio.get_running_loop().time() - began
            pause = 0.05 if lived > _LONGEST_PAUSE else min(_LONGEST_PAUSE, pause * 2)
            _log.error("envoy ended by itself (%s) and is started again", code)
            await asyncio.sleep(pause)

    async def ask(self, path: str, *, method: str = "GET") -> bytes | None:
        """Ask the admin interface; `None`: no answer."""
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_unix_connection(str(self._admin_socket))
                try:
                    writer.write(f"{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
                    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None
        if not head.startswith(b"HTTP/1.1 200"):
            return None
        return _unchunked(body) if b"transfer-encoding: chunked" in head.lower() else body

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges by name."""
        body = await self.ask(f"/stats?format=json&filter={pattern}")
        if body is None:
            return {}
        document: Json = orjson.loads(body)
        return {one["name"]: one["value"] for one in document["stats"] if "value" in one}

    async def text(self, name: str) -> str:
        """The value of a text readout; empty: Envoy does not answer, or has none of that name."""
        body = await self.ask(f"/stats?format=json&type=TextReadouts&filter=^{re.escape(name)}$")
        document: Json = orjson.loads(body or b'{"stats":[]}')
        return next((str(one["value"]) for one in document["stats"] if one.get("name") == name), "")

    async def is_serving(self) -> bool:
        """Whether every part of the configuration is in, and requests are taken."""
        return await self.ask("/ready") is not None

    async def drain(self, seconds: float) -> None:
        """Take no new connection, finish what runs, for so long at most."""
        await self.ask("/healthcheck/fail", method="POST")
        await self.ask("/drain_listeners?graceful&skip_exit", method="POST")
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            running = await self.stats("downstream_rq_active")
            if not sum(value for name, value in running.items() if name.startswith("http.gateway.")):
                return
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it."""
        self._stopping = True
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            break
        whole += rest[:length]
        body = rest[length + 2 :]
    return whole
