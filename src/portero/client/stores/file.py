"""Tokens in a file of one person: one session for all programs and processes that name the same file.

The file is readable by its owner only, and replaced as a whole. Whoever can read it has the session: on a machine
with a keyring, `KeyringStore` is the better place.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from portero.client.errors import StoreUnavailable
from portero.client.stores.locks import claim_attempt, locked, write_whole


class FileStore:
    """`TokenStore` in `path`, beside which lie `<path>.lock` and the folder `<path>.attempts`.

    Args:
        path: of the tokens. Its folder is made when it is missing, for its owner only.
    """

    shared = True

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = self.path.with_name(self.path.name + ".lock")
        self._attempts = self.path.with_name(self.path.name + ".attempts")
        self._own: dict[str, str] = {}

    @classmethod
    def for_session(cls, name: str) -> FileStore:
        """Return the store of a session (`Config.name`) in the folder where this system keeps such things."""
        return cls(state_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json")

    def version(self) -> Hashable:
        """Which file lies there: another one, after every write."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(self.path, error) from None
        return now.st_ino, now.st_mtime_ns, now.st_size

    def read(self) -> str | None:
        """Return what is kept. A file that others may read is refused: it may have been read already."""
        try:
            with self.path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if sys.platform != "win32" and mode & 0o077:
                    raise StoreUnavailable(
                        f"{self.path} can be read by others (mode {mode:o}); chmod 600, or sign in anew"
                    )
                return file.read()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _unavailable(self.path, error) from None

    def write(self, text: str | None) -> None:
        """Replace the file, or remove it."""
        try:
            if text is None:
                self.path.unlink(missing_ok=True)
            else:
                write_whole(self.path, text)
        except OSError as error:
            raise _unavailable(self.path, error) from None

    def attempt(self, key: str, fresh: str) -> str:
        """Return the attempt of this key, whichever process made it."""
        # Where nothing can be linked, this process still sends one and the same attempt for one token.
        own = self._own.setdefault(key, fresh)
        with suppress(OSError):
            return claim_attempt(self._attempts, key, own)
        return own

    @contextmanager
    def exclusively(self, wait: float) -> Iterator[bool]:
        """Keep other processes out, if possible within `wait` seconds."""
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self._lock, wait) as held:
            yield held

    def __repr__(self) -> str:
        return f"FileStore({str(self.path)!r})"


def state_folder() -> Path:
    """Return where programs keep such things for this person on this system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "Portero"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Portero"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "portero"


def _unavailable(path: Path, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"{path}: {getattr(error, 'strerror', None) or type(error).__name__}")
