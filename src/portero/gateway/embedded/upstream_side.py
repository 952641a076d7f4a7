"""The upstream's end of an exchange: one kept connection, its answers read by llhttp and written anew for the client.

An answer that comes whole in one piece is written in one piece. Anything the server says unasked,
beyond its answer, or that is no HTTP ends the connection: nothing of one exchange may reach another.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from portero.gateway.embedded.answers import status_line
from portero.gateway.embedded.chunks import chunk, last_chunk
from portero.gateway.embedded.head_rules import HOP_BY_HOP, may_trail, without
from portero.gateway.embedded.known_answers import KnownAnswer
from portero.gateway.embedded.pool import MOST_IDLE, Origin
from portero.gateway.failures import NONSENSE, UPSTREAM_DIED

if TYPE_CHECKING:
    from portero.gateway.embedded.answering import Answering
    from portero.gateway.embedded.tunnel import Tunnel

MOST_HEAD_BYTES: Final = 65_536
MOST_INTERIM: Final = 16
_PASS, _DROP, _LENGTH, _CODING, _CONNECTION, _TYPE, _ALLOW_ORIGIN, _WEBSOCKET, _ONCE = range(9)
_KINDS: Final = {
    **dict.fromkeys(HOP_BY_HOP, _DROP),
    b"connection": _CONNECTION,
    b"transfer-encoding": _CODING,
    b"content-length": _LENGTH,
    b"content-type": _TYPE,
    b"access-control-allow-origin": _ALLOW_ORIGIN,
    b"set-cookie": _ONCE,
    b"sec-websocket-accept": _WEBSOCKET,
    b"sec-websocket-protocol": _WEBSOCKET,
    b"x-request-id": _DROP,
}
_NAMES: Final[dict[bytes, int]] = {}
_MOST_NAMES: Final = 4096
_NAMES_NOTHING: Final = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"Close"})
_SERVER_FAULTS: Final = frozenset({502, 503, 504})


def _kind_of(name: bytes) -> int:
    kind = _KINDS.get(name.lower(), _PASS)
    if len(_NAMES) < _MOST_NAMES and len(name) <= 64:
        _NAMES[name] = kind
    return kind


class UpstreamConnection(asyncio.Protocol):
    """One connection with one server: idle, or busy with one exchange."""

    __slots__ = (
        "_allow_origin", "_body", "_broken", "_chunked", "_coded", "_complete", "_head_bytes", "_head_done",
        "_interim", "_keeps", "_length", "_lines", "_named", "_once", "_parser", "_poisoned", "_status", "_to_the_end",
        "_trailers", "_websocket", "answered_any", "client", "event_stream", "head_sent", "idle_since",
        "origin", "transport", "tunnel",
    )  # fmt: skip

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.client: Answering | None = None
        self.tunnel: Tunnel | None = None
        self.idle_since = 0.0
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # given before anything else happens
        self._parser = HttpResponseParser(self)
        self._poisoned = False
        self._clear()

    def _clear(self) -> None:
        self._lines: list[bytes] = []
        self._body: list[bytes] = []
        self._head_bytes = 0
        self._head_done = self.head_sent = self._complete = False
        self._status = 0
        self._length: bytes | None = None
        self._coded = self._chunked = self._to_the_end = self._allow_origin = self._broken = self._once = False
        self._named: bytes | None = None
        self._trailers: list[tuple[bytes, bytes]] = []
        self._websocket: list[tuple[bytes, bytes]] = []
        self._interim = 0
        self._keeps = True
        self.event_stream = False
        self.answered_any = False

    # ── the connection ───────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast("asyncio.Transport", transport)

    def begin(self, client: Answering, head: bytes) -> None:
        """Send a request's head; the client's side writes the body."""
        self.client = client
        self.origin.active += 1
        self.transport.write(head)

    def drop(self) -> None:
        """End it, whatever it is doing."""
        if self.client is not None:
            self.client = None
            self.origin.active -= 1
        self._poisoned = True
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._poisoned = True
        if self.tunnel is not None:
            self.origin.active -= 1
            self.tunnel.upstream_lost()
            return
        client = self.client
        if client is None:
            if self in self.origin.idle:
                self.origin.idle.remove(self)
            return
        if self._to_the_end and self.head_sent and exc is None:
            self._finish(client)
            return
        self.client = None
        self.origin.active -= 1
        client.upstream_failed(UPSTREAM_DIED, nothing_came=not self.answered_any, head_sent=self.head_sent)

    def pause_writing(self) -> None:
        """Called by the loop: the server takes the body more slowly than the client sends it."""
        if self.tunnel is not None:
            self.tunnel.upstream_full()
        elif self.client is not None:
            self.client.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by the loop."""
        if self.tunnel is not None:
            self.tunnel.upstream_free()
        elif self.client is not None:
            self.client.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self.tunnel is not None:
            self.tunnel.from_upstream(data)
            return
        client = self.client
        if client is None:
            # Nobody asked: what it says now would be taken for the next answer.
            self.drop()
            return
        first = not self.answered_any
        if first:
            content_at = data.find(b"\r\n\r\n") + 4
            known = self.origin.answers.get(data[:content_at])
            if known is not None and len(data) - content_at == known.length and client.takes_known:
                self._status = known.status
                client.known_answer(known, data[content_at:])
                self._finish(client)
                return
            self.answered_any = True
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._upgraded(client, data[upgrade.args[0] :])
            return
        except HttpParserError:
            self._nonsense(client)
            return
        if self.head_sent:
            self._go_on(client)
        elif self._head_done:
            if first and self._complete and self._length is not None and not self._once:
                self._keep_head(client, data)
            self._send_head(client)
        elif self._head_bytes > MOST_HEAD_BYTES or self._interim > MOST_INTERIM:
            self._nonsense(client)

    # ── llhttp's calls ───────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        """The first byte of a message."""
        if self._complete:
            self._poisoned = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer field after the body."""
        if self._head_done:
            if not self._complete and may_trail(name) and len(self._trailers) < 64:
                self._trailers.append((name, value))
            return
        kind = _NAMES.get(name)
        if kind is None:
            kind = _kind_of(name)
        if kind == _PASS:
            self._lines += (name, b": ", value, b"\r\n")
        elif kind == _LENGTH:
            self._length = value
        elif kind == _TYPE:
            self._lines += (name, b": ", value, b"\r\n")
            if value[:17].lower() == b"text/event-stream":
                self.event_stream = True
        elif kind == _CODING:
            self._coded = True
            if value.lower() != b"chunked":
                self._broken = True
        elif kind == _CONNECTION:
            self._named = value if self._named is None else self._named + b"," + value
        elif kind == _ALLOW_ORIGIN:
            self._allow_origin = True
            self._lines += (name, b": ", value, b"\r\n")
        elif kind == _ONCE:
            self._once = True
            self._lines += (name, b": ", value, b"\r\n")
        elif kind == _WEBSOCKET:
            self._websocket.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The end of a head, also of an interim one."""
        if self._complete:
            return
        self._status = self._parser.get_status_code()
        if self._status >= 200 or self._status == 101:
            self._head_done = True
            client = self.client
            if client is not None and client.is_head:
                self._keeps = self._parser.should_keep_alive()
                self._complete = True

    def on_body(self, body: bytes) -> None:
        """Content."""
        if self._complete:
            self._poisoned = True
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The end of a message, also of an interim one."""
        if self._head_done:
            # Asked now: once the parser is through with the message it has forgotten.
            self._keeps = self._keeps and self._parser.should_keep_alive()
            self._complete = True
            return
        # RFC 9110 §15.2: passed on, where the client knows interim answers.
        client = self.client
        self._interim += 1
        if client is not None and not client.is_old and self._interim <= MOST_INTERIM and 100 <= self._status < 200:
            self._drop_named()
            client.transport.write(b"".join((status_line(self._status), *self._lines, b"\r\n")))
        self._lines = []
        self._named = None
        self._length = None
        self._websocket = []

    # ── writing to the client ────────────────────────────────────────────────────────

    def _send_head(self, client: Answering) -> None:
        status = self._status
        if self._broken or status == 101:
            self._nonsense(client)
            return
        if self._named is not None:
            self._drop_named()
        lines = self._lines
        body = self._body
        if client.is_head or status == 304:
            if self._length is not None:
                lines += (b"content-length: ", self._length, b"\r\n")
        elif status == 204:
            pass
        elif self._length is not None:
            lines += (b"content-length: ", self._length, b"\r\n")
        elif self._complete and not self._trailers:
            lines.append(b"content-length: %d\r\n" % sum(map(len, body)))
        else:
            self._to_the_end = not self._coded
            if client.is_old:
                client.closes = True
            else:
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        self.head_sent = True
        client.head_lines(status, lines, self._allow_origin, self if not self._complete else None)
        lines.append(b"\r\n")
        if self._chunked:
            lines += map(chunk, body)
            if self._complete:
                lines.append(last_chunk(self._trailers))
        else:
            lines += body
        client.transport.write(b"".join((status_line(status), *lines)))
        if body:
            client.sent += sum(map(len, body))
            self._body = []
        if self._complete:
            self._finish(client)
        elif client.over:
            self.drop()

    def _keep_head(self, client: Answering, data: bytes) -> None:
        """Remember the head of an answer that came whole and may come again."""
        content = len(data) - int(cast("bytes", self._length))
        if (
            not client.takes_known
            or not 200 <= self._status < 300
            or self._status == 204
            or not self._keeps
            or self._poisoned
            or self._broken
            or self._coded
            or self._trailers
            or self._interim
            or self._websocket
            or self.event_stream
            or data.find(b"\r\n\r\n") + 4 != content
        ):
            return
        self._drop_named()
        self._named = None
        head = b"".join((status_line(self._status), *self._lines, b"content-length: %d\r\n" % (len(data) - content)))
        known = KnownAnswer(self._status, head, length=len(data) - content, allow_origin=self._allow_origin)
        self.origin.answers.keep(data[:content], known)

    def _go_on(self, client: Answering) -> None:
        body = self._body
        if body:
            self._body = []
            client.sent += sum(map(len, body))
            client.moved()
            if self._chunked:
                body = [chunk(piece) for piece in body]
        if self._complete:
            if self._chunked:
                body.append(last_chunk(self._trailers))
            if body:
                client.transport.write(b"".join(body))
            self._finish(client)
        elif body:
            client.transport.write(b"".join(body))

    def end_early(self) -> bytes:
        """What makes the answer so far a whole one, where its framing allows that: for a stream whose token is over."""
        return last_chunk([]) if self._chunked else b""

    def _finish(self, client: Answering) -> None:
        origin = self.origin
        origin.active -= 1
        self.client = None
        if self._to_the_end:
            if self._chunked and not self._complete:
                client.transport.write(last_chunk([]))
            self._poisoned = True
        status = self._status
        if status in _SERVER_FAULTS:
            client.upstream_ill(origin)
        elif origin.failures or origin.ejections:
            origin.served()
        if self._poisoned or not client.body_done or not self._keeps or len(origin.idle) >= MOST_IDLE:
            self._poisoned = True
            self.transport.abort()
        else:
            if client.is_head:
                # llhttp waits for a body that a HEAD's answer does not have.
                self._parser = HttpResponseParser(self)
            if self._head_done:
                self._clear()
            self.idle_since = client.now()
            origin.idle.append(self)
        client.answered(status)

    def _drop_named(self) -> None:
        """Take out what the server's `Connection` names (RFC 9110 §7.6.1)."""
        if self._named is None:
            return
        if self._named in _NAMES_NOTHING:
            return
        named = {name.strip().lower() for name in self._named.split(b",")} - {b"close", b"keep-alive", b"upgrade", b""}
        if named:
            self._lines = without(self._lines, named)

    def _upgraded(self, client: Answering, rest: bytes) -> None:
        websocket = dict(self._websocket)
        if self._status != 101 or not client.may_upgrade(websocket):
            self._nonsense(client)
            return
        self._drop_named()
        self.client = None
        client.upgraded(self, self._lines, websocket, rest)

    def _nonsense(self, client: Answering) -> None:
        self.client = None
        self.origin.active -= 1
        self._poisoned = True
        head_sent = self.head_sent
        self.transport.abort()
        client.upstream_failed(NONSENSE, nothing_came=False, head_sent=head_sent)
