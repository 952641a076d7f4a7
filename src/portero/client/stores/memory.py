"""Tokens in memory: gone with the process."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class MemoryStore:
    """`TokenStore` for one process. Nobody else has these tokens."""

    shared = False

    def __init__(self) -> None:
        self._text: str | None = None
        self._attempts: dict[str, str] = {}
        self._lock = threading.Lock()

    def version(self) -> Hashable:
        """Never changes: nobody else writes."""
        return 0

    def read(self) -> str | None:
        """Return what is kept."""
        return self._text

    def write(self, text: str | None) -> None:
        """Keep a text, or nothing."""
        self._text = text

    def attempt(self, key: str, fresh: str) -> str:
        """Return the attempt of this key; only the newest few are remembered."""
        with self._lock:
            while len(self._attempts) > 4 and key not in self._attempts:
                del self._attempts[next(iter(self._attempts))]
            return self._attempts.setdefault(key, fresh)

    @contextmanager
    def exclusively(self, wait: float) -> Iterator[bool]:
        """Nobody is to be kept out."""
        yield True

    def __repr__(self) -> str:
        return "MemoryStore()"
