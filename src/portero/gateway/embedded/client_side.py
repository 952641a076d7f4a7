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
from typing import TYPE_CHECKING, Any, Final, cast

from portero.core.policy.credentials import token_of_header
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal
from portero.gateway.embedded import admission, answers
from portero.gateway.embedded.answers import Failure, bad_request, problem_of, rendered
from portero.gateway.embedded.chunks import BadChunks, chunk, last_chunk
from portero.gateway.embedded.head_rules import may_trail
from portero.gateway.embedded.plans import Plan
from portero.gateway.embedded.pool import IDLE_FOR, YOUNG, Origin
from portero.gateway.embedded.request_reader import RequestReader
from portero.gateway.embedded.service_side import ServiceSide
from portero.gateway.embedded.tunnel import Tunnel
from portero.gateway.embedded.upstream_side import UpstreamConnection
from portero.resource_server.trust import KeysWanted

if TYPE_CHECKING:
    from portero.gateway.embedded.worker import Worker
    from portero.resource_server.open_connections import OpenConnection

HEAD, DECIDING, EXCHANGE, TUNNEL, LINGER, GONE = range(6)
MOST_AHEAD: Final = 65_536
"""Bytes a client may send ahead of its turn before it is read no further."""
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)+")
LINGER_FOR: Final = 2.0
"""Seconds an unread request is still taken in after its refusal, so that the client can read that."""


class ClientConnection(RequestReader):
    """One connection with one client, and the exchange that is under way on it."""

    __slots__ = (
        "_began", "_buffer", "_head", "_partly", "_peer_block", "_retries", "_watched", "deadline", "is_head",
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

    # ── the connection ───────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "local"
        self._trusted = self.worker.bounds.trusts(self.address)
        scheme = b"https" if self.worker.bounds.is_https else b"http"
        self._peer_block = b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\n" % (self.address.encode(), scheme)
        self.deadline = self.worker.now() + self.worker.bounds.head_within
        if not self.worker.joined(self):
            self._began = time.perf_counter()
            self.closes = True
            self.fail(answers.CROWDED)

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
            self._heads(data)
        elif self.state == TUNNEL and self.tunnel is not None:
            self.tunnel.from_client(data)
        elif self.state == EXCHANGE and not self.body_done:
            self._body(data)
        elif self.state in (DECIDING, EXCHANGE):
            self._buffer += data
            if len(self._buffer) > MOST_AHEAD:
                self.transport.pause_reading()

    # ── heads ────────────────────────────────────────────────────────────────────────

    def _heads(self, data: bytes) -> None:
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
                raise answers.TOO_LARGE_HEAD
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
        self.is_head = plan.method == "HEAD"
        self._buffer = rest
        self._retries = bounds.retries
        # ── decide ──
        per_client = worker.per_client
        if per_client is not None:
            wait = per_client.take(self.address, self._began)
            if wait:
                return self._ends_with(answers.too_many(wait, who="client"))
        requirement = plan.requirement
        authorization = self.authorization
        if requirement is None or authorization is None or plan.by_hand or self._upgrade is not None:
            return admission.by_hand(self, plan, query)
        token = token_of_header(authorization, query)
        if token.__class__ is not bytes:
            return admission.by_hand(self, plan, query)
        try:
            outcome = plan.admit(token, requirement)  # type: ignore[misc]  # there is one beside a requirement
        except KeysWanted:
            return admission.by_hand(self, plan, query)
        if outcome.__class__ is not Principal:
            return self.refuse(cast("Refusal", outcome))
        self.admitted(outcome, token, query)
        return b""

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
            self._refuse_head(answers.TOO_LARGE_HEAD)
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

    # ── what was decided ─────────────────────────────────────────────────────────────

    def admitted(self, principal: Principal | None, token: bytes, query: bytes, *, websocket: bool = False) -> None:
        """Send the request on.

        Args:
            principal: the caller; `None` on a public route.
            token: the caller's, empty on a public route.
            query: undecoded.
        """
        worker = self.worker
        plan = cast("Plan", self.plan)
        service = cast("ServiceSide", plan.service)
        self.principal = principal
        self.token = token
        if principal is not None:
            per_subject = worker.per_subject
            if per_subject is not None:
                wait = per_subject.take((principal.issuer, principal.subject), self._began)
                if wait:
                    self.fail(answers.too_many(wait, who="subject"))
                    return
        request_id = self._request_id
        fresh = worker.fresh_id()
        if request_id is None:
            request_id = self._request_id = fresh
        head = [plan.whole_line if not query else b"%b?%b HTTP/1.1\r\n" % (plan.line, query), self._block]
        head += self._lines
        if principal is not None:
            if self.by_dpop and not service.asserts:
                head += (b"authorization: DPoP ", token, b"\r\n")
            else:
                head += (b"authorization: ", service.handed_on(principal, token, worker.wall()), b"\r\n")
        head.append(self._peer_block if self._forwarded_for is None else self._behind_proxy())
        if self._trace is None:
            head += (b"x-request-id: ", request_id, b"\r\ntraceparent: 00-", fresh, b"-", fresh[:16], b"-01\r\n")
        else:
            head += (b"x-request-id: ", request_id, b"\r\ntraceparent: ", self._trace, b"\r\n")
        if self._content_length is not None:
            head += (b"content-length: ", self._content_length, b"\r\n")
        elif self._chunks is not None:
            head.append(b"transfer-encoding: chunked\r\n")
        if self.cookies is not None or self.dpop is not None or self.expects or websocket or principal is None:
            head += admission.rare_lines(self, service, websocket=websocket)
        head.append(b"\r\n")
        self._head = b"".join(head)
        self.state = EXCHANGE
        now = worker.now()
        self.deadline = now + plan.timeout
        self.streaming = plan.stream
        # ── to a server ──
        origin = service.cluster.choose(now)
        if origin is None:
            self.fail(answers.NO_UPSTREAM)
            return
        self._send_to(origin, now)

    def _send_to(self, origin: Origin, now: float) -> None:
        idle = origin.idle
        young = IDLE_FOR if cast("Plan", self.plan).repeatable else YOUNG
        while idle:
            connection = idle.pop()
            if now - connection.idle_since < young and not connection.transport.is_closing():
                self.upstream = connection
                connection.begin(self, self._head)
                if not self.body_done and self._buffer:
                    data, self._buffer = self._buffer, b""
                    self._body(data)
                return
            connection.drop()
        self.state = DECIDING
        self.transport.pause_reading()
        self.task = self.worker.start(self._connect(origin))

    async def _connect(self, origin: Origin) -> None:
        worker = self.worker
        origin.active += 1
        try:
            async with asyncio.timeout(worker.bounds.connect_within):
                _, connection = await worker.loop.create_connection(
                    lambda: UpstreamConnection(origin),
                    origin.host,
                    origin.port,
                    ssl=origin.tls,
                    server_hostname=origin.host if origin.tls is not None else None,
                )
        except (OSError, TimeoutError) as error:
            self.task = None
            origin.failed(worker.now())
            self._connect_failed(origin, slow=isinstance(error, TimeoutError) and error.errno is None)
            return
        finally:
            origin.active -= 1
        self.task = None
        if self.state != DECIDING:
            connection.drop()
            return
        self.state = EXCHANGE
        self.upstream = connection
        connection.begin(self, self._head)
        self.transport.resume_reading()
        if not self.body_done and self._buffer:
            data, self._buffer = self._buffer, b""
            self._body(data)

    def _connect_failed(self, origin: Origin, *, slow: bool) -> None:
        # Nothing was sent: any method may try again.
        self._count_failure()
        if self._retries > 0 and self._try_again(origin):
            return
        self.fail(answers.CONNECT_TIMEOUT if slow else answers.NO_CONNECTION)

    def _try_again(self, tried: Origin) -> bool:
        plan = cast("Plan", self.plan)
        self._retries -= 1
        now = self.worker.now()
        origin = plan.service.cluster.choose(now, tried=tried)  # type: ignore[union-attr]  # it was tried
        if origin is None:
            return False
        self._send_to(origin, now)
        return True

    # ── the body ─────────────────────────────────────────────────────────────────────

    def _body(self, data: bytes) -> None:
        upstream = self.upstream
        if upstream is None:
            return
        if self._chunks is None:
            left = self._body_left - len(data)
            if left < 0:
                self._buffer = data[left:]
                data = data[:left]
                left = 0
            self._body_left = left
            self.body_done = left == 0
            upstream.transport.write(data)
        else:
            try:
                pieces = self._chunks.feed(data)
            except BadChunks as error:
                self._body_fails(bad_request(str(error)))
                return
            self._received += sum(map(len, pieces))
            limit = self.worker.bounds.body_bytes
            if limit and self._received > limit:
                self._body_fails(answers.TOO_LARGE_BODY)
                return
            written = b"".join(map(chunk, pieces))
            if self._chunks.done:
                self.body_done = True
                self._buffer = self._chunks.rest
                written += last_chunk([field for field in self._chunks.trailers if may_trail(field[0])])
            if written:
                upstream.transport.write(written)
        if self.body_done:
            self.deadline = self.worker.now() + cast("Plan", self.plan).timeout
        self._retries = 0

    def _body_fails(self, failure: Failure) -> None:
        upstream, self.upstream = self.upstream, None
        head_sent = upstream is not None and upstream.head_sent
        if upstream is not None:
            upstream.drop()
        self.closes = True
        if head_sent:
            self.reason = failure.reason
            self._log(failure.status)
            self.state = GONE
            self.transport.abort()
        else:
            self.fail(failure)

    # ── the answer ───────────────────────────────────────────────────────────────────

    def now(self) -> float:
        """The loop's clock."""
        return self.worker.now()

    def head_lines(
        self, status: int, lines: list[bytes], allow_origin: bool, streams: UpstreamConnection | None
    ) -> None:
        """Add the gateway's own headers to an answer.

        Args:
            status: of the answer.
            lines: the server's headers, appended to.
            allow_origin: whether the server answered CORS itself.
            streams: the connection, where the answer has begun and is not complete.
        """
        lines += (b"x-request-id: ", cast("bytes", self._request_id), b"\r\n")
        service = cast("Plan", self.plan).service
        if service is not None and service.has_cors and not allow_origin:
            lines.append(service.cors_of(self.origin))
        if not self.body_done:
            self.closes = True
        if self.memo:
            lines.append(admission.nonce_line(self))
        if self.closes or self.worker.draining:
            self.closes = True
            lines.append(b"connection: close\r\n")
        if streams is not None and (streams.event_stream or self.streaming):
            self.streaming = True
            self.moved()
            if self.principal is not None:
                admission.watch(self, self._stream_over)

    def moved(self) -> None:
        """Something moved on a stream."""
        if self.streaming:
            self.deadline = self.worker.now() + self.worker.bounds.stream_idle_within

    def _stream_over(self, refusal: Refusal) -> None:
        """The token of an event stream is over: what was sent becomes a whole answer, and the connection ends."""
        self.over = True
        self.reason = refusal.fault or refusal.case.value
        upstream, self.upstream = self.upstream, None
        if upstream is None or not upstream.head_sent:
            return
        self.transport.write(upstream.end_early())
        upstream.drop()
        self.closes = True
        self.answered(200)

    def answered(self, status: int) -> None:
        """The answer is complete."""
        self.upstream = None
        if self._watched is not None:
            self._forget_watch()
        self._log(status)
        if self.closes:
            self._close()
            return
        self.state = HEAD
        self.deadline = self.worker.now() + self.worker.bounds.idle_within
        if self._buffer:
            self.worker.soon(self._again)

    def _again(self) -> None:
        """Look at what came ahead of its turn."""
        if self.state == HEAD and self._buffer:
            data, self._buffer = self._buffer, b""
            self.transport.resume_reading()
            self._heads(data)

    def refuse(self, refusal: Refusal) -> bytes:
        """Answer with a refusal; returns what follows the request, when that may be looked at."""
        plan = self.plan
        service = None if plan is None else plan.service
        guard = service.guard if service is not None else self.worker.any_guard
        origin = self.origin
        written = guard.http_refusal(refusal, origin=None if origin is None else origin.decode("latin-1"))
        self.reason = refusal.case.value
        self.worker.count_refusal(refusal)
        return self.own_answer(written.status, written.headers, written.body)

    def fail(self, failure: Failure) -> None:
        """End the request by a failure of the gateway's or the client's."""
        self._buffer = self._ends_with(failure)
        if self.state == HEAD:
            self.transport.resume_reading()
            if self._buffer:
                self.worker.soon(self._again)

    def _ends_with(self, failure: Failure) -> bytes:
        status, headers, body = problem_of(failure)
        plan = self.plan
        if plan is not None and plan.service is not None and plan.service.has_cors:
            origin = self.origin
            cors = plan.service.guard.cors.response_headers(None if origin is None else origin.decode("latin-1"))
            headers = (*headers, *cors)
        self.reason = failure.reason
        return self.own_answer(status, headers, body)

    def own_answer(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
        """Write an answer of the gateway's own; returns what follows the request, when that may be looked at."""
        if self._request_id is None:
            self._request_id = self.worker.fresh_id()
        unread = not self.body_done
        if unread and self._chunks is None and self._body_left <= len(self._buffer):
            # The whole body is here: it is thrown away, and the connection lives on.
            self._buffer = self._buffer[self._body_left :]
            self._body_left = 0
            self.body_done = True
            unread = False
        if unread or self.worker.draining:
            self.closes = True
        self.transport.write(
            rendered(status, headers, body, request_id=self._request_id, close=self.closes, head=self.is_head)
        )
        self.sent = 0 if self.is_head else len(body)
        self._log(status)
        if self.closes:
            self._close()
            return b""
        self.state = HEAD
        self.deadline = self.worker.now() + self.worker.bounds.idle_within
        rest, self._buffer = self._buffer, b""
        return rest

    def _close(self) -> None:
        """End the connection so that the answer is read: what still comes is taken in and thrown away for a while."""
        if self.transport.is_closing():
            return
        self.state = LINGER
        self._buffer = b""
        self.deadline = self.worker.now() + LINGER_FOR
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.transport.resume_reading()
        else:
            self.transport.close()

    # ── WebSockets ───────────────────────────────────────────────────────────────────

    @property
    def wants_websocket(self) -> bool:
        """Whether this is a WebSocket handshake (RFC 6455 §4.1)."""
        return (
            self._upgrade is not None
            and self._upgrade.lower() == b"websocket"
            and not self.is_old
            and self.body_done
            and self.plan is not None
            and self.plan.method == "GET"
        )

    def may_upgrade(self, websocket: dict[bytes, bytes]) -> bool:
        """Whether the server's 101 answers this handshake."""
        return self.wants_websocket and admission.accepts(self, websocket)

    def upgraded(
        self, upstream: UpstreamConnection, lines: list[bytes], websocket: dict[bytes, bytes], rest: bytes
    ) -> None:
        """The server accepted the WebSocket."""
        self.transport.write(admission.switch(self, lines, websocket))
        self.state = TUNNEL
        self.streaming = True
        self.moved()
        self.upstream = None
        tunnel = self.tunnel = upstream.tunnel = Tunnel(self, upstream)
        if rest:
            tunnel.from_upstream(rest)
        early, self._buffer = self._buffer, b""
        if early:
            tunnel.from_client(early)
        self.transport.resume_reading()
        if self.principal is not None:
            admission.watch(self, tunnel.end)

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def upstream_failed(self, failure: Failure, *, nothing_came: bool, head_sent: bool) -> None:
        """The server's connection ended, or spoke nonsense."""
        upstream, self.upstream = self.upstream, None
        self._count_failure()
        if upstream is None or self.state != EXCHANGE:
            return
        upstream.origin.failed(self.worker.now())
        if head_sent:
            # Half an answer went out: only a cut connection tells the client that it is half.
            self.reason = failure.reason
            self._forget_watch()
            self._log(502)
            self.state = GONE
            self.transport.abort()
            return
        repeatable = nothing_came and self.body_done and cast("Plan", self.plan).repeatable
        unread = self._content_length is None and self._chunks is None
        if repeatable and unread and self._retries > 0 and self._try_again(upstream.origin):
            return
        self.fail(failure)

    def upstream_ill(self, origin: Origin) -> None:
        """The server itself says that it cannot serve."""
        origin.failed(self.worker.now())

    def _count_failure(self) -> None:
        if self.plan is not None and self.plan.service is not None:
            self.plan.service.failures += 1

    def timed_out(self, now: float) -> None:
        """The present phase has taken too long."""
        state = self.state
        if state == HEAD:
            if self._buffer:
                self._refuse_head(answers.SLOW_CLIENT)
            else:
                self.transport.close()
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
            failure = answers.SLOW_UPSTREAM if self.body_done else answers.SLOW_CLIENT
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
        self.task = self.worker.start(decision)

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

    def refused_by_close_code(self, refusal: Refusal, written: bytes) -> None:
        """A page's WebSocket was refused: the handshake and the close frame go out, and the connection ends."""
        self.reason = refusal.case.value
        self.worker.count_refusal(refusal)
        self.transport.write(written)
        self._log(101)
        self._close()

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
