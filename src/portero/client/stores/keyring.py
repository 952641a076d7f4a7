"""Tokens in the operating system's keyring (extra `keyring`): Keychain, Credential Locker, Secret Service.

The lock and the attempts, which open nothing, are files beside it, and so is a mark that tells other processes of
a change: a keyring is slow, and cannot be asked before every request.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keyring
import keyring.errors

from portero.client.errors import StoreUnavailable
from portero.client.stores.file import FileStore, state_folder

_SERVICE = "portero"


class KeyringStore:
    """`TokenStore` in the keyring, under the session's name (`Config.name`).

    Args:
        name: of the session.
        folder: for the lock, the attempts and the mark; by default where this system keeps such things.
    """

    shared = True

    def __init__(self, name: str, *, folder: Path | None = None) -> None:
        self._name = name
        mark = hashlib.sha256(name.encode()).hexdigest()[:32]
        self._beside = FileStore((folder or state_folder()) / f"{mark}.keyring")

    def version(self) -> Hashable:
        """Of the mark."""
        return self._beside.version()

    def read(self) -> str | None:
        """Ask the keyring."""
        try:
            text: str | None = keyring.get_password(_SERVICE, self._name)
        except keyring.errors.KeyringError as error:
            raise _unavailable(error) from None
        return text

    def write(self, text: str | None) -> None:
        """Tell the keyring, then set the mark."""
        try:
            if text is not None:
                keyring.set_password(_SERVICE, self._name, text)
            elif keyring.get_password(_SERVICE, self._name) is not None:
                keyring.delete_password(_SERVICE, self._name)
        except keyring.errors.KeyringError as error:
            raise _unavailable(error) from None
        self._beside.write(None if text is None else os.urandom(8).hex())

    def attempt(self, key: str, fresh: str) -> str:
        """Return the attempt of this key, whichever process made it."""
        return self._beside.attempt(key, fresh)

    @contextmanager
    def exclusively(self, wait: float) -> Iterator[bool]:
        """Keep other processes out, if possible within `wait` seconds."""
        with self._beside.exclusively(wait) as held:
            yield held

    def __repr__(self) -> str:
        return f"KeyringStore({self._name!r})"


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the keyring does not answer ({type(error).__name__}); a FileStore needs none")
