"""An admitted request on its way to a server: head and body written anew, one more try where that is safe."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from portero.core.policy.principal import Principal
from portero.gateway import failures
from portero.gateway.embedded import admission
from portero.gateway.embedded.answering import Answering
from portero.gateway.embedded.chunks import BadChunks, chunk, last_chunk
from portero.gateway.embedded.client_state import DECIDING, EXCHANGE, GONE
from portero.gateway.embedded.head_rules import may_trail
from portero.gateway.embedded.plans import Plan
from portero.gateway.embedded.pool import IDLE_FOR, YOUNG, Origin
from portero.gateway.embedded.service_side import ServiceSide
from portero.gateway.embedded.upstream_side import UpstreamConnection
from portero.gateway.failures import Failure, bad_request

_HEAD: Final = b"%b%bauthorization: %b\r\nx-request-id: %b\r\ntraceparent: 00-%b-%b-01\r\n\r\n"


class Sending(Answering):
    """A client whose request is sent on."""

    __slots__ = ()

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
                    self.fail(failures.too_many(wait, who="subject"))
                    return
        fresh = worker.fresh_id()
        line = plan.whole_line if not query else b"%b?%b HTTP/1.1\r\n" % (plan.line, query)
        if self._rare or principal is None:
            self._head = b"".join((line, self.middle(), *self._own_lines(service, fresh, websocket=websocket), b"\r\n"))
        else:
            self.request_id = fresh
            self._head = _HEAD % (
                line, self._middle or self.middle(), service.handed_on(principal, token, worker.wall()),
                fresh, fresh, fresh[:16],
            )  # fmt: skip
        self.state = EXCHANGE
        now = worker.now()
        self.deadline = now + plan.timeout
        self.streaming = plan.stream
        # ── to a server ──
        origin = service.cluster.choose(now)
        if origin is None:
            self.fail(failures.NO_UPSTREAM)
            return
        self._send_to(origin, now)

    def _own_lines(self, service: ServiceSide, fresh: bytes, *, websocket: bool) -> list[bytes]:
        """The gateway's own headers of a request that has more than most have."""
        lines: list[bytes] = []
        if self.principal is not None:
            if self.by_dpop and not service.asserts:
                lines += (b"authorization: DPoP ", self.token, b"\r\n")
            else:
                handed_on = service.handed_on(self.principal, self.token, self.worker.wall())
                lines += (b"authorization: ", handed_on, b"\r\n")
        self.request_id = self.request_id or fresh
        trace = self._trace or b"00-%b-%b-01" % (fresh, fresh[:16])
        lines += (b"x-request-id: ", self.request_id, b"\r\ntraceparent: ", trace, b"\r\n")
        if self._content_length is not None:
            lines += (b"content-length: ", self._content_length, b"\r\n")
        elif self._chunks is not None:
            lines.append(b"transfer-encoding: chunked\r\n")
        if self.cookies is not None or self.dpop is not None or self.expects or websocket or self.principal is None:
            lines += admission.rare_lines(self, service, websocket=websocket)
        return lines

    def _send_to(self, origin: Origin, now: float) -> None:
        idle = origin.idle
        young = IDLE_FOR if cast("Plan", self.plan).repeatable else YOUNG
        while idle:
            connection = idle.pop()
            if now - connection.idle_since < young and not connection.transport.is_closing():
                self._begin(connection)
                return
            connection.drop()
        self.state = DECIDING
        self.transport.pause_reading()
        self.task = self.worker.start(self._connect(origin), otherwise=self.undecided)

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
        self._begin(connection)

    def _begin(self, connection: UpstreamConnection) -> None:
        waited, self.state = self.state == DECIDING, EXCHANGE
        self.upstream = connection
        connection.begin(self, self._head)
        if waited:
            # Also where the connection was kept, and another server had been tried first.
            self.transport.resume_reading()
        if not self.body_done and self._buffer:
            data, self._buffer = self._buffer, b""
            self._body(data)

    def undecided(self) -> None:
        """An error of ours ended what the request waited for."""
        self.task = None
        if self.state == DECIDING:
            self.closes = True
            self.fail(failures.NO_UPSTREAM)

    def _connect_failed(self, origin: Origin, *, slow: bool) -> None:
        # Nothing was sent: any method may try again.
        self._count_failure()
        if self._retries > 0 and self._try_again(origin):
            return
        self.fail(failures.CONNECT_TIMEOUT if slow else failures.NO_CONNECTION)

    def _try_again(self, tried: Origin) -> bool:
        plan = cast("Plan", self.plan)
        self._retries -= 1
        now = self.worker.now()
        origin = plan.service.cluster.choose(now, tried=tried)  # type: ignore[union-attr]  # it was tried
        if origin is None:
            return False
        self._send_to(origin, now)
        return True

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
                self._body_fails(failures.TOO_LARGE_BODY)
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
