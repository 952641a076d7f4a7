"""WebSocket frames, followed just far enough to know where one ends (RFC 6455 §5.2), and close frames written.

The gateway never looks into a message: extensions and masking pass as they are. It must only
never put its own close frame into the middle of another.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

_MOST_HEADER: Final = 14
_CLOSE: Final = 0x8
GOING_AWAY: Final = 1001


class FrameFollower:
    """Follows one direction of a connection."""

    __slots__ = ("_header", "_left", "closed")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        """Payload bytes of the present frame still to come."""
        self.closed = False
        """A close frame began: after it nothing of ours may follow."""

    @property
    def at_boundary(self) -> bool:
        """Whether every frame that began has ended."""
        return self._left == 0 and not self._header

    def until_boundary(self, data: bytes) -> int:
        """Take in bytes up to the first end of a frame; how many that were (all, when none ends)."""
        place = 0
        while place < len(data):
            place = self._step(data, place)
            if self.at_boundary:
                return place
        return place

    def follow(self, data: bytes) -> None:
        """Take in bytes that are passed on."""
        left = self._left
        if left > len(data):
            self._left = left - len(data)
            return
        place = 0
        while place < len(data):
            place = self._step(data, place)

    def _step(self, data: bytes, place: int) -> int:
        if self._left:
            taken = min(self._left, len(data) - place)
            self._left -= taken
            return place + taken
        before = len(self._header)
        header = self._header + data[place : place + _MOST_HEADER - before]
        size = _header_size(header)
        if size is None or size > len(header):
            self._header = header
            return place + len(header) - before
        self._header = b""
        self._left = _payload_size(header)
        self.closed = self.closed or header[0] & 0x0F == _CLOSE
        return place + size - before


def _header_size(header: bytes) -> int | None:
    if len(header) < 2:
        return None
    length = header[1] & 0x7F
    return 2 + (8 if length == 127 else 2 if length == 126 else 0) + (4 if header[1] & 0x80 else 0)


def _payload_size(header: bytes) -> int:
    length = header[1] & 0x7F
    if length == 126:
        return int.from_bytes(header[2:4], "big")
    if length == 127:
        return int.from_bytes(header[2:10], "big")
    return length


def close_frame(code: int, reason: str = "", *, mask: bytes | None = None) -> bytes:
    """A close frame (RFC 6455 §5.5.1).

    Args:
        reason: at most 123 bytes of UTF-8.
        mask: four random bytes where we are the client's side (§5.3).
    """
    payload = code.to_bytes(2, "big") + reason.encode()
    if mask is None:
        return bytes((0x88, len(payload))) + payload
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((0x88, 0x80 | len(payload))) + mask + masked


def accept_of(key: bytes) -> bytes:
    """`Sec-WebSocket-Accept` (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    return base64.b64encode(digest)
