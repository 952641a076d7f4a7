"""Answers of the gateway's own: refusals, failures, and how a connection ends so that they are read."""

from __future__ import annotations

from portero.core.policy.refusal import Refusal
from portero.gateway.embedded.answers import rendered
from portero.gateway.embedded.client_state import HEAD, LINGER, LINGER_FOR, ClientState
from portero.gateway.failures import Failure, problem_of


class OwnAnswers(ClientState):
    """What the gateway says itself."""

    __slots__ = ()

    def heads(self, data: bytes) -> None:
        """Take the requests that came ahead of their turn."""
        raise NotImplementedError

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
        if not self.request_id:
            self.request_id = self.worker.fresh_id()
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
            rendered(status, headers, body, request_id=self.request_id, close=self.closes, head=self.is_head)
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

    def refused_by_close_code(self, refusal: Refusal, written: bytes) -> None:
        """A page's WebSocket was refused: the handshake and the close frame go out, and the connection ends."""
        self.reason = refusal.case.value
        self.worker.count_refusal(refusal)
        self.transport.write(written)
        self._log(101)
        self._close()

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

    def _again(self) -> None:
        """Look at what came ahead of its turn."""
        if self.state == HEAD and self._buffer:
            data, self._buffer = self._buffer, b""
            self.transport.resume_reading()
            self.heads(data)
