"""The server's answer on its way to the client: what the upstream's side and a WebSocket's tunnel call."""

from __future__ import annotations

from typing import cast

from portero.core.policy.refusal import Refusal
from portero.gateway.embedded import admission
from portero.gateway.embedded.client_state import HEAD, TUNNEL
from portero.gateway.embedded.known_answers import KnownAnswer
from portero.gateway.embedded.own_answers import OwnAnswers
from portero.gateway.embedded.plans import Plan
from portero.gateway.embedded.pool import Origin
from portero.gateway.embedded.tunnel import Tunnel
from portero.gateway.embedded.upstream_side import UpstreamConnection
from portero.gateway.failures import Failure


class Answering(OwnAnswers):
    """A client that waits for, or gets, a server's answer."""

    __slots__ = ()

    def upstream_failed(self, failure: Failure, *, nothing_came: bool, head_sent: bool) -> None:
        """The server's connection ended, or spoke nonsense."""
        raise NotImplementedError

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
        lines += (b"x-request-id: ", self.request_id, b"\r\n")
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

    @property
    def takes_known(self) -> bool:
        """Whether an answer whose head is known can be written as it was written before."""
        return self.body_done and not self.is_head

    def known_answer(self, known: KnownAnswer, content: bytes) -> None:
        """Write a whole answer whose head came before."""
        service = cast("Plan", self.plan).service
        if self.closes or self.memo or self.worker.draining or (service is not None and service.has_cors):
            lines = [known.head]
            self.head_lines(known.status, lines, known.allow_origin, None)
            self.transport.write(b"".join((*lines, b"\r\n", content)))
        else:
            self.transport.write(b"%bx-request-id: %b\r\n\r\n%b" % (known.head, self.request_id, content))
        self.sent = len(content)

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

    def upstream_ill(self, origin: Origin) -> None:
        """The server itself says that it cannot serve."""
        origin.failed(self.worker.now())

    def _count_failure(self) -> None:
        if self.plan is not None and self.plan.service is not None:
            self.plan.service.failures += 1
