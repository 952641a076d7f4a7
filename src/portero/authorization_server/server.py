"""The HTTP server: uvicorn in this process, with uvloop and httptools where they are installed.

What is ours: signals end in a graceful stop and a clean exit code; `X-Forwarded-…` is left to the
edge, which knows the trusted proxies; nothing but the edge logs requests, so no query string is
ever in a log; the socket is bound before anything is started, so that a taken port is one clear line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from portero.adapters.telemetry.json_log import configure_logging
from portero.authorization_server.app import create_app, open_context
from portero.authorization_server.config import TABLE, Config
from portero.authorization_server.context import Context
from portero.authorization_server.edge import Edge
from portero.core.errors import ConfigurationError
from portero.ports import Clock

Listening = Callable[[str], None]
"""Called with `http://HOST:PORT` once requests are accepted."""
Prepare = Callable[[Context], Awaitable[None]]


def run(config: Config, *, listening: Listening, clock: Clock | None = None, prepare: Prepare | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests that run and return.

    Args:
        config: the settings.
        listening: told the address once requests are accepted.
        clock: another clock than the system's, for demonstrations.
        prepare: what to do with the open context before anything listens, such as adding demo users.

    Raises:
        ConfigurationError: a setting is wrong, or the address cannot be bound. Nothing was served.
        Unavailable: the database cannot be reached.
    """
    configure_logging()
    # uvicorn's notes on its own start and stop; ours say the same.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(config, listening=listening, clock=clock, prepare=prepare))


async def serve(
    config: Config, *, listening: Listening, clock: Clock | None = None, prepare: Prepare | None = None
) -> None:
    """Serve inside a running event loop; see `run`."""
    listener = bind(config.host, config.port)
    with contextlib.closing(listener):
        context = await open_context(config, clock=clock)
        try:
            if prepare is not None:
                await prepare(context)
            server = _Server(create_app(context), listener, config, listening=listening)
        except BaseException:
            await context.store.aclose()
            raise
        # From here on the application's own end closes the store.
        await server.serve(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """Bind a listening socket, for one host and port.

    Raises:
        ConfigurationError: the address is not ours, or taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"{TABLE}.host", host, f"it must be an address of this machine ({error})") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        expected = f"{host}:{port} cannot be listened on ({error.strerror}); another program may hold it"
        raise ConfigurationError(f"{TABLE}.port", port, expected) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server, told to stop by our own signal handlers."""

    def __init__(self, edge: Edge, listener: socket.socket, config: Config, *, listening: Listening) -> None:
        super().__init__(
            uvicorn.Config(
                edge,
                http="auto",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=65,
                timeout_graceful_shutdown=int(config.drain_timeout.total_seconds()),
            )
        )
        self._edge = edge
        self._listening = listening
        host, port = listener.getsockname()[:2]
        self._address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._listening(self._address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._edge.end_streams()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it is done, which would end the process with an error.
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not made for Windows
        return None
    factory: Callable[[], Any] = uvloop.new_event_loop
    return factory
