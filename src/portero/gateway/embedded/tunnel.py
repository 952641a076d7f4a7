"""A WebSocket after its handshake: bytes pass both ways, and the end of its token closes it cleanly (design §3.5).

Frames are followed only so that our own close frame stands between two of theirs. After it, the
client has `CLOSE_PATIENCE` to answer; then the connection is cut.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from portero.core.policy.refusal import Refusal
from portero.core.policy.rendering import close_reason
from portero.gateway.embedded.websocket_frames import GOING_AWAY, FrameFollower, close_frame

if TYPE_CHECKING:
    from portero.gateway.embedded.answering import Answering
    from portero.gateway.embedded.upstream_side import UpstreamConnection

CLOSE_PATIENCE: Final = 5.0
"""Seconds for the frame that is on its way to end, and for the peer to answer our close frame."""


class Tunnel:
    """Both connections of one WebSocket."""

    __slots__ = (
        "_client", "_closing", "_down", "_loop", "_over", "_timer", "_to_client", "_to_upstream", "_up", "reason",
        "received", "sent",
    )  # fmt: skip

    def __init__(self, client: Answering, upstream: UpstreamConnection) -> None:
        self._client = client
        self._up: asyncio.Transport = upstream.transport
        self._down: asyncio.Transport = client.transport
        self._loop = asyncio.get_running_loop()
        self._to_client = FrameFollower()
        self._to_upstream = FrameFollower()
        self._closing: tuple[int, str] | None = None
        """Code and reason of the close frame we send, or sent."""
        self._over: set[str] = set()
        """Sides that got our close frame."""
        self._timer: asyncio.TimerHandle | None = None
        self.reason = ""
        """For the log: why the gateway closed it; empty where it did not."""
        self.sent = 0
        self.received = 0

    # ── bytes ────────────────────────────────────────────────────────────────────────

    def from_client(self, data: bytes) -> None:
        """Bytes of the client."""
        self.received += len(data)
        self._client.moved()
        if self._closing is None:
            self._to_upstream.follow(data)
            self._up.write(data)
            return
        if "upstream" not in self._over:
            taken = self._to_upstream.until_boundary(data)
            self._up.write(data[:taken])
            self._close_where_possible()
            data = data[taken:]
        self._to_upstream.follow(data)
        if self._to_upstream.closed and "client" in self._over:
            # The client answered our close frame: now both may go (RFC 6455 §7.1.1: the server closes first).
            self._settle()
            self._down.close()
            self._up.close()

    def from_upstream(self, data: bytes) -> None:
        """Bytes of the server."""
        self._client.moved()
        if self._closing is None:
            self.sent += len(data)
            self._to_client.follow(data)
            self._down.write(data)
        elif "client" not in self._over:
            part = data[: self._to_client.until_boundary(data)]
            self.sent += len(part)
            self._down.write(part)
            self._close_where_possible()

    # ── the end ──────────────────────────────────────────────────────────────────────

    def end(self, refusal: Refusal) -> None:
        """The token is over."""
        self.close(refusal.row.close_code, close_reason(refusal), reason=refusal.fault or refusal.case.value)

    def close(self, code: int = GOING_AWAY, text: str = "", *, reason: str) -> None:
        """Close both sides, each at the end of the frame that is on its way."""
        if self._closing is not None:
            return
        self.reason = reason
        self._closing = (code, text)
        self._timer = self._loop.call_later(CLOSE_PATIENCE, self.cut)
        self._close_where_possible()

    def _close_where_possible(self) -> None:
        if self._closing is None:
            return
        code, text = self._closing
        if "client" not in self._over and self._to_client.at_boundary:
            self._over.add("client")
            if not self._to_client.closed:
                self._down.write(close_frame(code, text))
            # What the server still says is not for this caller any more.
            self._up.resume_reading()
            self._down.resume_reading()
        if "upstream" not in self._over and self._to_upstream.at_boundary:
            self._over.add("upstream")
            if not self._to_upstream.closed:
                self._up.write(close_frame(code, text, mask=os.urandom(4)))

    def upstream_lost(self) -> None:
        """The server ended its connection."""
        if self._closing is None:
            self._settle()
            self._down.close()
        # Otherwise the client still has its time to answer our close frame.

    def client_lost(self) -> None:
        """The client ended its connection."""
        self._settle()
        self._up.close()

    def cut(self) -> None:
        """End both connections now."""
        self._settle()
        self._up.abort()
        if self._down.get_write_buffer_size():
            # It takes nothing, and a close would wait for it for ever.
            self._down.abort()
        else:
            self._down.close()

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ── back-pressure ────────────────────────────────────────────────────────────────

    def upstream_full(self) -> None:
        """The server takes less than the client sends."""
        self._down.pause_reading()

    def upstream_free(self) -> None:
        """It takes more again."""
        self._down.resume_reading()

    def client_full(self) -> None:
        """The client takes less than the server sends."""
        self._up.pause_reading()

    def client_free(self) -> None:
        """It takes more again."""
        self._up.resume_reading()
