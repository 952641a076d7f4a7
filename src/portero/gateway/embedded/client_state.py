"""What one client's connection knows of the exchange under way on it, and the little that every part of it uses."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from portero.core.policy.principal import Principal
from portero.gateway.embedded.plans import Plan
from portero.gateway.embedded.request_reader import RequestReader

if TYPE_CHECKING:
    from portero.gateway.embedded.tunnel import Tunnel
    from portero.gateway.embedded.upstream_side import UpstreamConnection
    from portero.gateway.embedded.worker import Worker
    from portero.resource_server.open_connections import OpenConnection

HEAD, DECIDING, EXCHANGE, TUNNEL, LINGER, GONE = range(6)
LINGER_FOR: Final = 2.0
"""Seconds an unread request is still taken in after its refusal, so that the client can read that."""


class ClientState(RequestReader):
    """One connection with one client, as far as it is data."""

    __slots__ = (
        "_began", "_buffer", "_head", "_partly", "_retries", "_watched", "deadline", "is_head",
        "over", "plan", "principal", "reason", "sent", "state", "streaming", "task", "token", "transport",
        "tunnel", "upstream",
    )  # fmt: skip

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # given before anything else happens
        self.state = HEAD
        self.upstream: UpstreamConnection | None = None
        self.tunnel: Tunnel | None = None
        self.plan: Plan | None = None
        self.task: asyncio.Task[None] | None = None
        self.deadline = 0.0
        """On the loop's clock: when the present phase has taken too long."""
        self.over = False
        """The token of the stream under way is over."""
        self._buffer = b""
        self._partly = False
        self._watched: OpenConnection | None = None
        self.principal: Principal | None = None
        self.token = b""
        self.reason = ""
        self.sent = 0
        self.is_head = self.streaming = False
        self._retries = 0
        self._head = b""
        self._began = 0.0

    def now(self) -> float:
        """The loop's clock."""
        return self.worker.now()

    def moved(self) -> None:
        """Something moved on a stream."""
        if self.streaming:
            self.deadline = self.worker.now() + self.worker.bounds.stream_idle_within

    def memo_for_guard(self) -> dict[str, Any]:
        """Where the Guard keeps what belongs to this request."""
        self.memo = self.memo or {}
        return self.memo

    def watch_with(self, connection: OpenConnection) -> None:
        """Keep a registration until the exchange ends."""
        self._watched = connection

    def _forget_watch(self) -> None:
        watched, self._watched = self._watched, None
        if watched is not None:
            watched.forget()

    def _log(self, status: int) -> None:
        self.worker.record(self, status, time.perf_counter() - self._began)
