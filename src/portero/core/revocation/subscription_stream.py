"""Server-sent events from bytes that arrive in any pieces (HTML Living Standard §9.2.6).

Only what the feed uses: `id`, `event`, `data`, comments. An event counts when its blank
line has arrived; what a cut leaves half-read is never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_EVENT_BYTES = 64 * 1024


class StreamTooLong(Exception):
    """One event is larger than any the feed sends: the peer is not a feed."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One complete event."""

    event: str
    data: bytes
    id: str | None


class EventReader:
    """Cuts a byte stream into events. One per connection."""

    __slots__ = ("_buffer", "_data", "_event", "_id", "_size", "_skip_lf")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._event = ""
        self._id: str | None = None
        self._size = 0
        self._skip_lf = False

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """Take in the next bytes; return the events they completed.

        Raises:
            StreamTooLong: an event or a line exceeds `MAX_EVENT_BYTES`.
        """
        # A line ends with CRLF, LF or CR; this is the second half of a CRLF that was cut in two.
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if chunk:
            self._skip_lf = chunk[-1:] == b"\r"
        self._buffer += chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        events = []
        for line in lines:
            event = self._line(bytes(line))
            if event is not None:
                events.append(event)
        if len(rest) + self._size > MAX_EVENT_BYTES:
            raise StreamTooLong
        return events

    def _line(self, line: bytes) -> StreamEvent | None:
        if not line:
            return self._complete()
        self._size += len(line)
        if self._size > MAX_EVENT_BYTES:
            raise StreamTooLong
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\x00" not in value:
            self._id = value.decode("utf-8", "replace")
        return None

    def _complete(self) -> StreamEvent | None:
        data, event, event_id = self._data, self._event, self._id
        self._data, self._event, self._size = [], "", 0
        if not data:
            return None
        return StreamEvent(event or "message", b"\n".join(data), event_id)
