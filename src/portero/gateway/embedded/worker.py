"""One worker: one event loop, one listener, and everything its connections share.

Also the only clock of the deadlines: `_tick` looks at all connections a few times a second, so that
no request pays for timers.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from portero.core.errors import ConfigurationError
from portero.core.policy.refusal import Refusal
from portero.gateway.certificates import load_certificate
from portero.gateway.embedded.access_log import AccessLog
from portero.gateway.embedded.bounds import Bounds
from portero.gateway.embedded.client_side import ClientConnection
from portero.gateway.embedded.client_state import DECIDING, ClientState
from portero.gateway.embedded.health import keep_asking
from portero.gateway.embedded.pool import IDLE_FOR
from portero.gateway.embedded.state import State, server_tls
from portero.gateway.engines import Options
from portero.resource_server.guard import Guard

_log = logging.getLogger("portero.gateway")
TICK: Final = 0.1
SWEEP_EVERY: Final = 5
"""Ticks between two looks at all connections."""
LOOK_EVERY: Final = 1.0
"""Seconds between looks at the manifest."""
AGAIN_AFTER: Final = 0.5
"""Seconds before what failed beside the requests begins again."""
CLOSED_WITHIN: Final = 5.0
"""Seconds for keys and feeds to be let go of: a stop waits for nothing without end."""
_NO_PLAN: Final = b'"method":"","path":"","service":"","route":""'
_LINE: Final = (
    b'{"time":"%b",%b,"status":%d,"duration_ms":%.2f,"bytes":%d,"client":"%b","request_id":"%b","reason":"%b"}\n'
)


class Worker:
    """What the connections of one process share.

    Args:
        options: what the gateway was started with.
        text: the manifest.
    """

    def __init__(self, options: Options, text: str) -> None:
        self.options = options
        self.state = State(text, options)
        self._use(self.state)
        self.wall: Callable[[], float] = time.time if options.clock is None else options.clock.now
        self.draining = False
        self.connections: set[ClientConnection] = set()
        self.refusals: dict[str, int] = {}
        self.responses: dict[int, int] = {}
        self._by_client: dict[str, int] = {}
        self._seeded = random.Random(os.urandom(32))  # noqa: S311 - names of requests, no secrets
        self._tasks: set[asyncio.Task[None]] = set()
        self._health: list[asyncio.Task[None]] = []
        self._log = AccessLog() if options.access_log else None
        self._time = b""
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._marks: tuple[object, ...] = ()

    def _use(self, state: State) -> None:
        self.state = state
        self.plans = state.plans
        self.bounds: Bounds = state.bounds
        self.per_client = state.per_client
        self.per_subject = state.per_subject
        self.any_guard: Guard = state.guards.host

    # ── for connections ──────────────────────────────────────────────────────────────

    def joined(self, client: ClientConnection) -> bool:
        """Count a new connection; False: there are too many."""
        self.connections.add(client)
        count = self._by_client[client.address] = self._by_client.get(client.address, 0) + 1
        most = self.bounds.connections_per_client
        return len(self.connections) <= self.bounds.connections and (not most or count <= most)

    def left(self, client: ClientConnection) -> None:
        """Forget a connection."""
        self.connections.discard(client)
        count = self._by_client.get(client.address, 0) - 1
        if count > 0:
            self._by_client[client.address] = count
        else:
            self._by_client.pop(client.address, None)

    def fresh_id(self) -> bytes:
        """The name of a request: 32 hex digits, good as a trace-id too (W3C Trace Context §3.2.2.3)."""
        return b"%032x" % self._seeded.getrandbits(128)

    def start(
        self, work: Coroutine[Any, Any, None], *, otherwise: Callable[[], None] | None = None
    ) -> asyncio.Task[None]:
        """Run something beside the loop's other work.

        Args:
            otherwise: called where it ended by an error of ours, which is told in the log.
        """

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                _log.error("something beside the requests failed", exc_info=error)
                if otherwise is not None:
                    otherwise()

        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    async def _keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run what must run as long as the worker: an error of ours there is told, and it begins again."""
        while True:
            try:
                await work()
            except Exception:
                _log.exception("%s failed and begins again", name)
            await asyncio.sleep(AGAIN_AFTER)

    def count_refusal(self, refusal: Refusal) -> None:
        """Count by case."""
        case = refusal.case.value
        self.refusals[case] = self.refusals.get(case, 0) + 1

    def record(self, client: ClientState, status: int, seconds: float) -> None:
        """Count an answer, and write its line."""
        responses = self.responses
        responses[status] = responses.get(status, 0) + 1
        log = self._log
        if log is not None:
            plan = client.plan
            about = _NO_PLAN if plan is None else plan.logged
            log.lines.append(
                _LINE
                % (
                    self._time, about, status, seconds * 1000, client.sent, client.caller, client.request_id,
                    client.reason.encode(),
                )
            )  # fmt: skip

    # ── life ─────────────────────────────────────────────────────────────────────────

    async def begin(self, listening: socket.socket) -> None:
        """Start the Guards and listen. Requests are refused with 503 until keys and feeds are there."""
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.soon = self.loop.call_soon
        self._time = _iso(time.time())
        gateway = self.state.gateway
        if gateway.tls is not None:
            self._tls = server_tls(gateway.tls, self.options.manifest_file.parent)
        self._marks = self._look()
        self.start(self._keep("the clock of the deadlines", self._tick))
        starting = self.start(self.state.guards.start())
        self._ask_for_health()
        self.start(self._keep("following the manifest", self._follow))
        self._server = await self.loop.create_server(
            lambda: ClientConnection(self), sock=listening, ssl=self._tls, backlog=4096
        )
        await asyncio.wait({starting}, timeout=10.0)
        # What lives as long as the process is not looked at again; what a request makes is gone before the next look.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)

    async def drain(self) -> None:
        """Stop: no new connections, those that wait close, those that work finish within `[gateway] drain`."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for client in tuple(self.connections):
            self._or_cut(client, client.drain)
        try:
            async with asyncio.timeout(self.state.gateway.drain.total_seconds()):
                while self.connections:  # noqa: ASYNC110 - connections end by themselves, each in its own way
                    await asyncio.sleep(0.02)
        except TimeoutError:
            for client in tuple(self.connections):
                client.transport.abort()
        await asyncio.sleep(0)
        for task in (*self._tasks, *self._health):
            task.cancel()
        ending = (*self._tasks, *self._health)
        if ending:
            # Bounded: nothing that runs beside the requests may hold a stop up.
            await asyncio.wait(ending, timeout=2.0)
        self._let_go(self.state, keep=None)
        try:
            async with asyncio.timeout(CLOSED_WITHIN):
                await self.state.guards.aclose()
        except Exception:
            _log.exception("keys and feeds were not let go of in order")
        if self._log is not None:
            self._log.close()

    def _or_cut(self, client: ClientConnection, work: Callable[[], None]) -> None:
        """Do something to one connection: an error of ours there ends that one, and no other waits for ever for it."""
        try:
            work()
        except Exception:
            _log.exception("a connection is cut")
            client.transport.abort()

    def snapshot(self) -> dict[str, Any]:
        """What this worker knows of itself, for `/readyz` and `/metrics`."""
        readiness = self.any_guard.readiness()
        guard = self.any_guard
        revoked = {}
        for issuer in self.state.manifest.issuers.values():
            subscription = guard.trust(issuer.issuer).subscription
            if subscription is not None:
                revoked[issuer.issuer] = len(subscription.revoked)
        return {
            "ready": readiness.ready and not self.draining,
            "problems": [*readiness.problems, *(["draining"] if self.draining else [])],
            "responses": {str(status): count for status, count in self.responses.items()},
            "refusals": dict(self.refusals),
            "failures": {name: side.failures for name, side in self.state.services.items()},
            "connections": len(self.connections),
            "revocations": revoked,
            "feed_age": {issuer: min(age, 1e9) for issuer, age in guard.staleness().items()},
            "log_dropped": 0 if self._log is None else self._log.dropped,
        }

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK)
            self._time = _iso(time.time())
            if self._log is not None:
                self._log.flush()
            ticks += 1
            if ticks % SWEEP_EVERY == 0:
                self._sweep(self.now())

    def _sweep(self, now: float) -> None:
        for client in tuple(self.connections):
            late = client.deadline < now or (not client.body_done and client.body_until < now)
            if late and client.state != DECIDING:
                self._or_cut(client, partial(client.timed_out, now))
        for side in self.state.services.values():
            for origin in side.cluster.origins:
                idle = origin.idle
                while idle and now - idle[0].idle_since > IDLE_FOR:
                    idle.pop(0).drop()

    # ── the manifest ─────────────────────────────────────────────────────────────────

    def _look(self) -> tuple[object, ...]:
        tls = self.state.gateway.tls
        folder = self.options.manifest_file.parent
        paths = [self.options.manifest_file]
        if tls is not None:
            paths += [folder / tls.certificate, folder / tls.key]
        paths.append(folder / self.state.gateway.keys_file)
        marks: list[object] = []
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                marks.append(None)
            else:
                marks.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(marks)

    async def _follow(self) -> None:
        """Take over a manifest or certificate that changed, once two looks agree; a broken one changes nothing."""
        unsettled: tuple[object, ...] | None = None
        while True:
            await asyncio.sleep(LOOK_EVERY)
            marks = self._look()
            if marks == self._marks:
                unsettled = None
            elif marks != unsettled:
                unsettled = marks
            else:
                self._marks, unsettled = marks, None
                try:
                    await self._take_over()
                except (ConfigurationError, OSError, UnicodeDecodeError) as error:
                    _log.error("the manifest is not used as it is now: %s", error)

    async def _take_over(self) -> None:
        text = self.options.manifest_file.read_text(encoding="utf-8")
        before = self.state
        if self._tls is not None and before.gateway.tls is not None:
            load_certificate(self._tls, before.gateway.tls, self.options.manifest_file.parent)
        if text == before.text and not before.keys_were_changed():
            return
        state = State(text, self.options, instead_of=before)
        for setting in ("listen", "admin", "workers", "tls"):
            if getattr(state.gateway, setting) != getattr(before.gateway, setting):
                _log.warning("[gateway] %s changed: that needs a restart", setting)
        try:
            await state.guards.start()
        except BaseException:
            await state.guards.aclose(but=before.guards)
            raise
        self._use(state)
        for client in self.connections:
            client.forget_head()
        self._ask_for_health()
        _log.info("the manifest %s was read again", self.options.manifest_file)
        try:
            # What is being decided by the old one has ended by then.
            await asyncio.sleep(LOOK_EVERY)
        finally:
            self._let_go(before, keep=state)
            await before.guards.aclose(but=state.guards)

    def _let_go(self, state: State, *, keep: State | None) -> None:
        """Close the kept connections of a manifest that is over; those it shares with another one stay."""
        kept = set() if keep is None else {id(side.cluster) for side in keep.services.values()}
        for side in state.services.values():
            for origin in side.cluster.origins if id(side.cluster) not in kept else ():
                for connection in tuple(origin.idle):
                    connection.drop()

    def _ask_for_health(self) -> None:
        for task in self._health:
            task.cancel()
        services = self.state.manifest.services
        self._health = [
            self.loop.create_task(
                self._keep(f"asking {origin.name}", partial(keep_asking, origin, services[side.name].health))
            )
            for side in self.state.services.values()
            if services[side.name].health
            for origin in side.cluster.origins
        ]


def _iso(now: float) -> bytes:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z".encode()
