"""The client's end: requests read one at a time, decided, and sent on written anew (RFC 9112).

llhttp reads each head, exactly up to its empty line; bodies are framed here. A request is decided as
itself before anything of it is sent on, and nothing a client sent behind it is looked at before its
answer is complete. What llhttp lets through and we refuse is in `request_reader`.

The straight path (a known path, a Bearer token in the cache, a kept connection) makes no task,
future or timer: deadlines are numbers that `Worker` looks at a few times a second.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final, cast

from portero.core.policy.credentials import carries_token, token_of_header
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal
from portero.gateway import failures
from portero.gateway.embedded import admission
from portero.gateway.embedded.client_state import DECIDING, EXCHANGE, GONE, HEAD, LINGER, LINGER_FOR, TUNNEL
from portero.gateway.embedded.plans import Plan
from portero.gateway.embedded.sending import Sending
from portero.gateway.failures import Failure, bad_request
from portero.resource_server.trust import KeysWanted

_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)+")
_QUERY: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*\Z")
MOST_AHEAD: Final = 65_536
"""Bytes a client may send ahead of its turn before it is read no further."""


class ClientConnection(Sending):
    """One connection with one client, and the exchange that is under way on it."""

    __slots__ = ()

    # ── the connection ───────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "local"
        self._trusted = self.worker.bounds.trusts(self.address)
        self._peer = self.caller = self.address.encode()
        scheme = b"https" if self.worker.bounds.is_https else b"http"
        self._peer_block = b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\n" % (self._peer, scheme)
        self.deadline = self.worker.now() + self.worker.bounds.head_within
        if not self.worker.joined(self):
            self._began = time.perf_counter()
            self.closes = True
            self.fail(failures.CROWDED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        state, self.state = self.state, GONE
        self.worker.left(self)
        if self.task is not None:
            self.task.cancel()
        if state == TUNNEL and self.tunnel is not None:
            self.tunnel.client_lost()
            self._forget_watch()
            self.reason = self.tunnel.reason
            self.sent = self.tunnel.sent
            self._log(101)
        elif state in (DECIDING, EXCHANGE):
            # Whoever asked is gone: nobody waits for the answer (499 in the log, never on a wire).
            if self.upstream is not None:
                self.upstream.drop()
                self.upstream = None
            self._forget_watch()
            self.reason = self.reason or "client_closed"
            self._log(499)

    def eof_received(self) -> None:
        """Called by the loop: a client that closes its side is gone."""

    def pause_writing(self) -> None:
        """Called by the loop: the client takes the answer more slowly than the server gives it."""
        if self.tunnel is not None:
            self.tunnel.client_full()
        elif self.upstream is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self.moved()
        if self.tunnel is not None:
            self.tunnel.client_free()
        elif self.upstream is not None:
            self.upstream.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self.state == HEAD:
            if self._buffer:
                data, self._buffer = self._buffer + data, b""
            elif self._known and data.endswith(self._known):
                target = data[: -len(self._known)]
                plan = self.worker.plans.young.get(target)
                if plan is not None and plan.straight:
                    self._as_before(plan, b"")
                    return
                target, _, query = target.partition(b"?")
                plan = self.worker.plans.young.get(target)
                fits = len(data) <= self.worker.bounds.header_bytes
                if fits and plan is not None and plan.straight and _QUERY.match(query) and not carries_token(query):
                    self._as_before(plan, query)
                    return
            self.heads(data)
        elif self.state == TUNNEL and self.tunnel is not None:
            self.tunnel.from_client(data)
        elif self.state == EXCHANGE and not self.body_done:
            self._body(data)
        elif self.state in (DECIDING, EXCHANGE):
            self._buffer += data
            if len(self._buffer) > MOST_AHEAD:
                self.transport.pause_reading()

    # ── heads ────────────────────────────────────────────────────────────────────────

    def heads(self, data: bytes) -> None:
        while data:
            if data.startswith(b"\r\n"):
                # RFC 9112 §2.2: an empty line before a request counts for nothing. Many are gone in one step.
                data = data[cast("re.Match[bytes]", _EMPTY_LINES.match(data)).end() :]
                continue
            data = self._one_head(data)

    def _one_head(self, data: bytes) -> bytes:
        """Take one request. Returns what follows it, when that may be looked at already."""
        end = data.find(b"\r\n\r\n") + 4
        worker = self.worker
        bounds = worker.bounds
        if end == 3:
            self._partial(data)
            return b""
        self._partly = False
        self._began = time.perf_counter()
        self.sent = 0
        self.reason = ""
        self.plan = None
        self.principal = None
        self._clear()
        try:
            if end > bounds.header_bytes:
                raise failures.TOO_LARGE_HEAD
            head, rest = (data, b"") if end == len(data) else (data[:end], data[end:])
            target, query = self.checked(head)
            plan = worker.plans.young.get(target)
            if plan is None:
                plan = worker.plans.plan(target)
        except Failure as failure:
            self.is_head = data.startswith(b"HEAD ")
            self.closes = True
            self._buffer = b""
            self.fail(failure)
            return b""
        self.plan = plan
        self.is_head = plan.is_head
        self._buffer = rest
        self._retries = bounds.retries
        per_client = worker.per_client
        if per_client is not None:
            wait = per_client.take(self.caller, self._began)
            if wait:
                return self._ends_with(failures.too_many(wait, who="client"))
        if not plan.straight or self.authorization is None or self._upgrade is not None:
            return admission.by_hand(self, plan, query)
        token = token_of_header(self.authorization, query)
        if token.__class__ is not bytes:
            return admission.by_hand(self, plan, query)
        self.token = token
        if not self._rare:
            self.keep_head(head)
        return self._decide(plan, query)

    def _decide(self, plan: Plan, query: bytes) -> bytes:
        """The straight path: a Bearer token in a header, and nothing else to look at."""
        try:
            outcome = plan.admit(self.token, plan.requirement)  # type: ignore[arg-type,misc]  # a straight plan has both
        except KeysWanted:
            return admission.by_hand(self, plan, query)
        if outcome.__class__ is not Principal:
            return self.refuse(cast("Refusal", outcome))
        self.admitted(outcome, self.token, query)
        return b""

    def _as_before(self, plan: Plan, query: bytes) -> None:
        """Take a request whose head is the last one's but for the target: what was read then is still here."""
        worker = self.worker
        self._began = time.perf_counter()
        self.sent = 0
        self.reason = ""
        self.request_id = b""
        self.plan = plan
        self.principal = None
        self.memo = None
        self.is_head = plan.is_head
        self._retries = worker.bounds.retries
        per_client = worker.per_client
        if per_client is not None:
            wait = per_client.take(self.caller, self._began)
            if wait:
                self.fail(failures.too_many(wait, who="client"))
                return
        self._decide(plan, query)

    def _partial(self, data: bytes) -> None:
        bounds = self.worker.bounds
        if not self._partly:
            self._partly = True
            self.deadline = self.worker.now() + bounds.head_within
        self._buffer = data
        self._began = time.perf_counter()
        # What cannot become a request is answered at once, not when its time is over.
        first_line = data.split(b"\n", 1)[0]
        if len(data) > bounds.header_bytes:
            self._refuse_head(failures.TOO_LARGE_HEAD)
        elif not (65 <= data[0] <= 90 or data == b"\r") or (
            len(first_line) < len(data) and not first_line.endswith(b"\r")
        ):
            self._refuse_head(bad_request("This is no HTTP request."))

    def _refuse_head(self, failure: Failure) -> None:
        self._clear()
        self.plan = None
        self.principal = None
        self.sent = 0
        self.is_head = False
        self._buffer = b""
        self.closes = True
        self.fail(failure)

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def timed_out(self, now: float) -> None:
        """The present phase has taken too long."""
        state = self.state
        if state == HEAD:
            if self._buffer:
                self._refuse_head(failures.SLOW_CLIENT)
            else:
                self._let_go()
        elif state == TUNNEL and self.tunnel is not None:
            self.deadline = now + 2 * LINGER_FOR + 5.0
            self.tunnel.close(reason="idle")
        elif state == EXCHANGE:
            upstream, self.upstream = self.upstream, None
            head_sent = upstream is not None and upstream.head_sent
            if upstream is not None:
                if self.body_done:
                    upstream.origin.failed(now)
                upstream.drop()
            self._count_failure()
            failure = failures.SLOW_UPSTREAM if self.body_done else failures.SLOW_CLIENT
            if head_sent:
                self.reason = failure.reason
                self._forget_watch()
                self._log(failure.status)
                self.state = GONE
                self.transport.abort()
            else:
                self.closes = True
                self.fail(failure)
        elif state == LINGER:
            self.transport.abort()

    def _let_go(self) -> None:
        # A close waits until everything is written: for one who takes nothing it would never come.
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def drain(self) -> None:
        """The gateway is about to stop."""
        if self.state == HEAD and not self._buffer:
            self.transport.close()
        elif self.state == TUNNEL and self.tunnel is not None:
            self.tunnel.close(reason="draining")
        else:
            self.closes = True

    def decide_later(self, decision: admission.Decision) -> None:
        """Wait for keys; nothing more is read meanwhile."""
        self.state = DECIDING
        self.transport.pause_reading()
        self.task = self.worker.start(decision, otherwise=self.undecided)

    def decided(self, go_on: Callable[[], bytes]) -> None:
        """Go on with a request that waited."""
        self.task = None
        if self.state != DECIDING:
            return
        self.state = HEAD
        rest = go_on()
        if self.state == HEAD:
            self._buffer = rest
            self.transport.resume_reading()
            if rest:
                self.worker.soon(self._again)
        elif self.state == EXCHANGE:
            self.transport.resume_reading()
