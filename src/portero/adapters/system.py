"""The machine's own clock and randomness."""

from __future__ import annotations

import os
import threading
import time
import weakref


class SystemClock:
    """`Clock` by the operating system."""

    __slots__ = ()

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


class SystemRandom:
    """`Random` by the operating system's generator, asked for many small needs at once.

    A system call a token would hand the interpreter to another thread each time. What is drawn ahead is used once, and
    dropped in a child process, which would otherwise draw the same.
    """

    __slots__ = ("__weakref__", "_ahead", "_at", "_lock")

    def __init__(self) -> None:
        self._ahead = b""
        self._at = 0
        self._lock = threading.Lock()
        _DRAWING.add(self)

    def bytes(self, n: int) -> bytes:
        """`n` bytes from `getrandom(2)` or its like."""
        if n > _LARGEST_SHARE:
            return os.urandom(n)
        with self._lock:
            at = self._at
            end = at + n
            if end > len(self._ahead):
                self._ahead = os.urandom(_DRAWN_AHEAD)
                at, end = 0, n
            self._at = end
            return self._ahead[at:end]

    def forget(self) -> None:
        """Drop what was drawn ahead."""
        self._ahead, self._lock = b"", threading.Lock()


_DRAWN_AHEAD = 4096
_LARGEST_SHARE = 256
_DRAWING: weakref.WeakSet[SystemRandom] = weakref.WeakSet()


def _after_fork() -> None:
    for random in _DRAWING:
        random.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
