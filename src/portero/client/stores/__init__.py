"""Where tokens are kept, and what keeps two holders of the same tokens from harming each other.

`MemoryStore` (gone with the process), `FileStore` (one session for all programs of one person), `KeyringStore` (the
same, the tokens in the operating system's keyring).
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Protocol


class TokenStore(Protocol):
    """Where one session's tokens lie. Safe for threads; nothing but `exclusively` blocks for more than a moment."""

    @property
    def shared(self) -> bool:
        """Other processes read and write the same."""
        ...

    def version(self) -> Hashable:
        """A value that changes when another process may have written: cheap, asked before every request."""
        ...

    def read(self) -> str | None:
        """Return what is kept.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        ...

    def write(self, text: str | None) -> None:
        """Keep a text in place of the one before, whole or not at all; None: keep nothing.

        Raises:
            StoreUnavailable: it cannot be written.
        """
        ...

    def attempt(self, key: str, fresh: str) -> str:
        """Return the one refresh attempt of this key (a refresh token's digest): the first writer's, durably kept.

        Args:
            key: hexadecimal.
            fresh: kept and returned where there is none yet.
        """
        ...

    def exclusively(self, wait: float) -> AbstractContextManager[bool]:
        """Keep other holders out, if that is possible within `wait` seconds; yields whether it was.

        It is never waited longer: what is done inside is right without it, because of `attempt`.
        """
        ...
