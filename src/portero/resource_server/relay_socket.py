"""The Unix socket of a relay: who may serve it, and whom to believe.

One process serves a path: it holds a lock on `<path>.lock` for as long as it lives, so that a socket left behind by a
killed one is replaced and a living one never is. Who can put a socket into a folder can pretend to be the relay and
keep revocations back; so a folder that others can write to is believed only where the socket is ours or root's.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

from portero.core.errors import ConfigurationError, Unavailable

_LONGEST_PATH = 100
"""Bytes: `sun_path` holds 108, and the name under which the socket is made is a little longer."""

_not_for_children: set[int] = set()
"""Descriptors that a forked child must not keep: the lock would outlive its holder, the socket would answer nobody."""


def _close_in_child() -> None:
    for descriptor in _not_for_children:
        os.close(descriptor)
    _not_for_children.clear()


os.register_at_fork(after_in_child=_close_in_child)


def check_socket_path(path: Path, *, setting: str) -> None:
    """Refuse a path that cannot be a socket's.

    Raises:
        ConfigurationError: relative, or too long for the operating system.
    """
    if not path.is_absolute() or len(os.fsencode(path)) > _LONGEST_PATH:
        raise ConfigurationError(setting, str(path), f"must be an absolute path of at most {_LONGEST_PATH} bytes")


def check_believable(path: Path) -> None:
    """Check that the socket at `path` was made by somebody who may speak for the issuer.

    Raises:
        Unavailable: it is not there, is no socket, or could be anybody's.
    """
    try:
        found, folder = path.lstat(), path.parent.stat()
    except OSError as error:
        raise Unavailable(f"the relay's socket {path} cannot be used: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise Unavailable(f"{path} is no socket")
    if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and found.st_uid not in (os.geteuid(), 0):
        raise Unavailable(
            f"the relay's socket {path} is not believed: others can write to its folder, and it belongs to neither "
            "this user nor root"
        )


class ServingLock:
    """The right to serve a path. `taken` gives it to one process; it ends with `release` or the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @staticmethod
    def taken(path: Path) -> ServingLock | None:
        """Take it; None where another process, or another Guard of this one, serves already.

        Raises:
            Unavailable: the lock's file cannot be made.
        """
        try:
            descriptor = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unavailable(f"no relay can be served at {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        _not_for_children.add(descriptor)
        return ServingLock(path, descriptor)

    def release(self) -> None:
        """Let somebody else serve."""
        if self._descriptor in _not_for_children:
            _not_for_children.discard(self._descriptor)
            os.close(self._descriptor)


def is_served(path: Path) -> bool:
    """Whether some process holds the lock: a relay serves there, or is about to."""
    try:
        descriptor = os.open(_lock_of(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class Listening:
    """A relay's socket while it is served: not inherited by children, in whose hands it would answer nobody."""

    def __init__(self, sock: socket.socket, path: Path) -> None:
        self.sock = sock
        self._path = path
        self._descriptor = sock.fileno()
        _not_for_children.add(self._descriptor)

    def forget(self) -> None:
        """Take its name away. Before the socket is closed: its number may then be another's."""
        _not_for_children.discard(self._descriptor)
        self._path.unlink(missing_ok=True)


def listening(lock: ServingLock, *, mode: int, group: int | None = None) -> Listening:
    """Make the socket, in the place of one that a dead process left. It appears with its permissions, not before.

    Args:
        lock: of its path.
        mode: permission bits; who may connect may follow the feed.
        group: the socket's group id; None: the process's.

    Raises:
        Unavailable: the folder is missing or may not be written, or the group may not be given.
    """
    path, new = lock.path, lock.path.with_name(f".{lock.path.name}.new")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        new.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            made.bind(str(new))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(new, -1, group)
        new.chmod(mode)
        made.listen(128)
        new.replace(path)
    except OSError as error:
        made.close()
        raise Unavailable(f"no relay can be served at {path}: {error.strerror}") from error
    made.setblocking(False)
    return Listening(made, path)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")
