"""The access log: lines gathered by the loop and written by a thread: a slow reader of them stops nobody."""

from __future__ import annotations

import os
import queue
import threading
from typing import Final

MOST_WAITING: Final = 64
"""Batches that may wait for a slow reader; further ones are dropped and counted."""


class AccessLog:
    """Batches of lines on their way to a file descriptor."""

    def __init__(self, descriptor: int = 1) -> None:
        self.lines: list[bytes] = []
        self.dropped = 0
        self._descriptor = descriptor
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Hand on what was gathered."""
        lines = self.lines
        if not lines:
            return
        self.lines = []
        try:
            self._waiting.put_nowait(b"".join(lines))
        except queue.Full:
            self.dropped += len(lines)

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        self._waiting.put(None)
        self._thread.join(2.0)

    def _write(self) -> None:
        while (batch := self._waiting.get()) is not None:
            try:
                while batch:
                    batch = batch[os.write(self._descriptor, batch) :]
            except OSError:
                # Nobody reads any more; requests are served all the same.
                self.dropped += 1
