"""The outermost layer: what every request passes before and after the endpoints.

It names the request, adds the headers that every answer carries, turns what nobody answered into
problem details (RFC 9457) without a trace, counts, logs, and ends open streams when the server
stops. Plain ASGI: Starlette's own middleware of this kind costs a task per request.

Leaves to the endpoints: the size of bodies (`endpoints.exchange`), and who calls from behind which
proxy (`sign_in.address`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portero.adapters.telemetry.counters import Counters
from portero.adapters.telemetry.json_log import log
from portero.authorization_server.endpoints.exchange import send_answer
from portero.authorization_server.endpoints.responses import Answer, problem, refusal, unavailable
from portero.core.errors import RequestError, Unavailable
from portero.ports import Clock, Random

_Header = tuple[bytes, bytes]
_IDS_AT_ONCE = 64


class Edge:
    """ASGI middleware around the whole application.

    Args:
        ending: called when the server begins to stop, for whoever keeps requests waiting.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Clock,
        random: Random,
        counters: Counters,
        https: bool,
        access_log: bool,
        ending: Callable[[], None] | None = None,
    ) -> None:
        self._app = app
        self._clock = clock
        self._random = random
        self._counters = counters
        self._headers: tuple[_Header, ...] = _HEADERS + (_HTTPS_HEADERS if https else ())
        self._access_log = access_log
        self._ending = ending
        self._streams: set[asyncio.Task[None]] = set()
        self._request_ids: list[str] = []

    def end_streams(self) -> None:
        """End the open event streams and long polls: a stop would wait for them."""
        if self._ending is not None:
            self._ending()
        for task in self._streams:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock.monotonic()
        request_id = self._request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        outgoing = _Outgoing(send, extra=(*self._headers, (b"x-request-id", request_id.encode())), edge=self)
        try:
            await self._app(scope, receive, outgoing.send)
        except asyncio.CancelledError:
            if not outgoing.is_stream:
                raise
            # We ended the stream ourselves (`end_streams`): finish the message in order, so that the peer resumes.
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:
            answer = _answer_to(error, request_id=request_id)
            if outgoing.status:
                # The answer has begun; cutting the connection is the one way left to say that it is not whole.
                raise ConnectionError("the answer could not be finished") from None
            await send_answer(outgoing.send, answer, method=scope["method"])
        finally:
            if outgoing.is_stream:
                self._streams.discard(_this_task())
        self._counters.count_response(outgoing.status)
        if self._access_log:
            milliseconds = round((self._clock.monotonic() - began) * 1000, 2)
            fields = {"method": scope["method"], "path": scope["path"], "status": outgoing.status}
            log("request", {**fields, "milliseconds": milliseconds, "request_id": request_id})

    def _request_id(self) -> str:
        """16 random characters. Drawn for many requests at once: a system call lets the other threads in."""
        if not self._request_ids:
            drawn = self._random.bytes(8 * _IDS_AT_ONCE).hex()
            self._request_ids = [drawn[start : start + 16] for start in range(0, len(drawn), 16)]
        return self._request_ids.pop()

    def stream_began(self) -> None:
        """Remember that the running task serves an event stream."""
        self._streams.add(_this_task())


class _Outgoing:
    """Watches the answer go out: its status, and the headers that every answer carries."""

    __slots__ = ("_edge", "_extra", "_send", "is_stream", "status")

    def __init__(self, send: Send, *, extra: tuple[_Header, ...], edge: Edge) -> None:
        self._send = send
        self._extra = extra
        self._edge = edge
        self.status = 0
        self.is_stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            present = set()
            for name, value in headers:
                present.add(name)
                if name == b"content-type" and value.startswith(b"text/event-stream"):
                    self.is_stream = True
                    self._edge.stream_began()
            message["headers"] = [*headers, *[each for each in self._extra if each[0] not in present]]
        await self._send(message)


_HEADERS: tuple[_Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # For what is no page of ours (a page brings its own): nothing loads, nobody frames it.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_HTTPS_HEADERS: tuple[_Header, ...] = ((b"strict-transport-security", b"max-age=31536000"),)


def _answer_to(error: Exception, *, request_id: str) -> Answer:
    if isinstance(error, RequestError):
        return refusal(error)
    if isinstance(error, Unavailable):
        log("unavailable", {"what": error.what, "request_id": request_id}, level=logging.ERROR)
        return unavailable(error)
    log("a request failed", {"request_id": request_id}, level=logging.ERROR, error=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        detail="this is an error of the server; its log has the details",
        extensions={"request_id": request_id},
    )


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("an ASGI application runs in a task")
    return task
