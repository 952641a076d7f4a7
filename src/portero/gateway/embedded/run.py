"""`portero gateway --engine embedded`: one worker in this process, or several on one port, watched over.

With several, each worker is a process of its own with its own listener on the same port
(SO_REUSEPORT): the kernel spreads connections among them. One that dies loses its own open requests
and is started again; the others do not notice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import uvloop

from portero.core.errors import ConfigurationError
from portero.gateway.embedded.admin import serve_admin
from portero.gateway.embedded.metrics import added_up
from portero.gateway.embedded.state import State, server_tls
from portero.gateway.embedded.worker import Worker
from portero.gateway.engines import Options

_log = logging.getLogger("portero.gateway")
TELL_EVERY: Final = 0.25
"""Seconds between two reports of a worker to the process that watches over it."""
AGAIN_AFTER: Final = 0.5
"""Seconds before a worker that ended is started again."""


def run(options: Options) -> int:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: the manifest, a certificate, the keys or an address are not as they must be.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    text = _text(options.manifest_file)
    state = State(text, options)
    gateway = state.gateway
    if gateway.tls is not None:
        server_tls(gateway.tls, options.manifest_file.parent)
    if gateway.workers > 1 and options.clock is not None:
        raise ConfigurationError("gateway.workers", gateway.workers, "must be 1 where the gateway is given a clock")
    listening = _listen(gateway.listen, backlog=gateway.workers == 1)
    if gateway.workers == 1:
        return _with_loop(_alone(options, text, listening, gateway.admin))
    return _with_loop(_Watch(options, listening, gateway.workers).serve(gateway.admin, gateway.drain.total_seconds()))


def work(manifest_file: str, address: str, control: int, access_log: bool) -> int:
    """Be one worker of several: the program of `python -m portero.gateway.embedded`."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    options = Options(manifest_file=Path(manifest_file), environ=os.environ, access_log=access_log)
    text = _text(options.manifest_file)
    return _with_loop(_one_of_several(options, text, _listen(address, backlog=True), socket.socket(fileno=control)))


def _with_loop(work: Coroutine[Any, Any, int]) -> int:
    # Each connection is an open file, and the usual limit of 1024 is one that a process may raise for itself.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _alone(options: Options, text: str, listening: socket.socket, admin: str) -> int:
    stop = _stop_signals()
    worker = Worker(options, text)
    server = await serve_admin(admin, lambda: added_up([worker.snapshot()]))
    await worker.begin(listening)
    _log.info("serving at %s", worker.state.gateway.origin)
    await stop.wait()
    await worker.drain()
    server.close()
    return 0


async def _one_of_several(options: Options, text: str, listening: socket.socket, control: socket.socket) -> int:
    stop = _stop_signals()
    worker = Worker(options, text)
    control.setblocking(False)
    tell = asyncio.create_task(_keep_telling(control, worker.snapshot, stop))
    await worker.begin(listening)
    await stop.wait()
    await worker.drain()
    tell.cancel()
    with suppress(asyncio.CancelledError):
        await tell
    with suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(control, json.dumps(worker.snapshot()).encode() + b"\n")
    return 0


async def _keep_telling(control: socket.socket, snapshot: Callable[[], Mapping[str, Any]], stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            await loop.sock_sendall(control, json.dumps(snapshot()).encode() + b"\n")
            await asyncio.sleep(TELL_EVERY)
    except OSError:
        # Nobody watches over this worker any more: an orphan that nobody can stop must not serve.
        stop.set()


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


class _Watch:
    """Watches over several workers."""

    def __init__(self, options: Options, reserved: socket.socket, workers: int) -> None:
        self._options = options
        # Bound and not listening: it keeps the port, and gets no connections.
        self._reserved = reserved
        host, port = reserved.getsockname()[:2]
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._workers = workers
        self._told: dict[int, dict[str, Any]] = {}
        self._gone: list[dict[str, Any]] = []
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = False

    async def serve(self, admin: str, drain: float) -> int:
        stop = _stop_signals()
        server = await serve_admin(admin, self._total)
        places = [asyncio.create_task(self._keep(place)) for place in range(self._workers)]
        await stop.wait()
        self._stopping = True
        for process in tuple(self._processes.values()):
            with suppress(ProcessLookupError):
                process.terminate()
        _, slow = await asyncio.wait(places, timeout=drain + 5.0)
        for process in tuple(self._processes.values()):
            with suppress(ProcessLookupError):
                process.kill()
        if slow:
            await asyncio.wait(slow)
        server.close()
        self._reserved.close()
        return 0

    def _total(self) -> dict[str, Any]:
        total = added_up(self._told.values(), gone=self._gone)
        total["ready"] = total["ready"] and len(self._told) == self._workers
        return total

    async def _keep(self, place: int) -> None:
        while not self._stopping:
            ours, theirs = socket.socketpair()
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "portero.gateway.embedded", str(self._options.manifest_file), self._address,
                str(theirs.fileno()), "log" if self._options.access_log else "no-log",
                pass_fds=(theirs.fileno(),), env=dict(self._options.environ), start_new_session=True,
            )  # fmt: skip
            theirs.close()
            self._processes[place] = process
            _log.info("worker %d runs as process %d", place, process.pid)
            while line := await reader.readline():
                self._told[place] = json.loads(line)
            writer.close()
            code = await process.wait()
            del self._processes[place]
            told = self._told.pop(place, None)
            if told is not None:
                self._gone = [added_up([], gone=[*self._gone, told])]
            if not self._stopping:
                _log.error("worker %d ended with %d and is started again", place, code)
                await asyncio.sleep(AGAIN_AFTER)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("--manifest", str(file), f"must be a manifest ({error})") from None


def _listen(address: str, *, backlog: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(place)
        listening.setblocking(False)
    except OSError as error:
        raise ConfigurationError("gateway.listen", address, f"cannot be listened at ({error.strerror})") from None
    if backlog:
        listening.listen(4096)
    return listening
