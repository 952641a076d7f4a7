"""Two things that processes share beside their tokens: a lock with a bounded wait, and the attempts.

The lock belongs to the operating system: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PAUSE = 0.02
"""Seconds between two looks at a lock; there is no waiting with a limit."""
_KEEP = 7 * 24 * 3600
"""Seconds: long after any process could still hold the token in its hands."""


@contextmanager
def locked(path: Path, wait: float) -> Iterator[bool]:
    """Hold the lock file's lock, unless somebody else does for longer than `wait` seconds; yields whether we do."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError:
        yield False
        return
    try:
        deadline = time.monotonic() + wait
        held = _try_to_lock(file)
        while not held and time.monotonic() < deadline:
            time.sleep(_PAUSE)
            held = _try_to_lock(file)
        yield held
    finally:
        os.close(file)  # and the lock with it


if sys.platform == "win32":
    import msvcrt

    def _try_to_lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_to_lock(file: int) -> bool:
        try:
            # Of this open file, so that two threads of one process keep each other out as well.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def claim_attempt(folder: Path, key: str, fresh: str) -> str:
    """Return the attempt of a key: whoever comes first decides, and it is on the disk before it is returned.

    A link to a finished file is the atomic step: there is no moment in which the name exists and the content does not.

    Raises:
        OSError: the folder cannot be written.
    """
    target = folder / key
    with suppress(FileNotFoundError):
        return target.read_text()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(folder)
    with _temporary(folder, fresh) as finished:
        try:
            target.hardlink_to(finished)
        except FileExistsError:
            return target.read_text()
    _sync_folder(folder)
    return fresh


def write_whole(path: Path, text: str) -> None:
    """Replace a file's content, whole or not at all, readable by its owner only; durable when it returns.

    Raises:
        OSError: it cannot be written; the former content is untouched.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _temporary(path.parent, text) as finished:
        finished.replace(path)
    _sync_folder(path.parent)


@contextmanager
def _temporary(folder: Path, text: str) -> Iterator[Path]:
    # mkstemp makes it 0600 from the first moment.
    file, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        yield path
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # a folder cannot be opened there
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _sweep(folder: Path) -> None:
    old = time.time() - _KEEP
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < old:
                path.unlink()
