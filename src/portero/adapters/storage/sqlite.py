"""The store in one SQLite file: durable, one machine, any number of processes.

Reads of one record run on the event loop's own connection: they take less time than
handing them to a thread. Lists, which may be long, run in a thread. Transitions go through
one writer thread that groups commits (`group_commit`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from portero.adapters.storage.group_commit import GroupCommit
from portero.adapters.storage.journal import journal_of
from portero.adapters.storage.loads import LONG, ONE_STATEMENT, load
from portero.adapters.storage.sqlite_connections import connect, prepare, unavailable
from portero.adapters.storage.sqlite_writer import SqliteWriter, run
from portero.adapters.storage.wakeups import Wakeups
from portero.core.errors import Unavailable
from portero.core.transitions import Decision, Key
from portero.core.types import NumericDate
from portero.ports import Random

A = TypeVar("A")
R = TypeVar("R")

BUSY_TIMEOUT: Final = 5.0
"""Seconds a write waits for another process's before it is `Unavailable`."""

READER_TIMEOUT: Final = 1.0
"""Seconds a read waits: never for a writer in WAL mode, but for the recovery in the moment after a crash."""


class SqliteStore:
    """A `Store` in a SQLite file; made by `open`."""

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        self._wakeups = Wakeups()
        self._near = _Reader(path)
        self._far = _Reader(path)
        self._writer = GroupCommit(
            SqliteWriter(path, journal=journal_of(path), wakeups=self._wakeups, busy_timeout=busy_timeout),
            name="portero-sqlite-writer",
        )

    @classmethod
    async def open(cls, path: Path, *, random: Random, busy_timeout: float = BUSY_TIMEOUT) -> SqliteStore:
        """Create, check or migrate the file, and begin.

        Raises:
            ConfigurationError: see `sqlite_connections.prepare`.
            Unavailable: locked, or the disk is full.
        """
        await asyncio.to_thread(prepare, path, random=random, busy_timeout=busy_timeout)
        store = cls(path, busy_timeout=busy_timeout)
        # One connection stays open all the time: the write-ahead log and its index then need no new file,
        # which on a full disk could not be made.
        store._near.open(busy_timeout=busy_timeout)
        return store

    async def read(self, key: Key[A]) -> A:
        if type(key) in LONG:
            return cast("A", await asyncio.to_thread(self._far.read, key))
        return cast("A", self._near.read(key))

    async def transition(self, key: Key[A], decide: Callable[[A], Decision[R]], *, now: NumericDate) -> R:
        return cast("R", await self._writer.submit(key, decide, now=now))

    def changes(self) -> AsyncIterator[None]:
        subscription = self._wakeups.subscribe()
        self._writer.nudge()
        return subscription

    async def aclose(self) -> None:
        await self._writer.close()
        self._wakeups.close()
        self._near.close()
        self._far.close()


class _Reader:
    """A reading connection, opened again after a failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def read(self, key: Key[Any]) -> Any:
        with self._lock:
            if self._closed:
                raise Unavailable("the store is closed")
            try:
                connection = self._connection or self._opened()
                if type(key) in ONE_STATEMENT:
                    return run(connection, load(key))
                connection.execute("BEGIN")
                try:
                    return run(connection, load(key))
                finally:
                    connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._drop()
                raise unavailable(error, self._path) from error

    def open(self, *, busy_timeout: float) -> None:
        with self._lock:
            try:
                # A neighbour that starts as well may be the last to have closed the file, and tidy it up.
                opened = self._opened(busy_timeout=busy_timeout)
                opened.execute(f"PRAGMA busy_timeout = {round(1000 * READER_TIMEOUT)}")
            except sqlite3.Error as error:
                raise unavailable(error, self._path) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._drop()

    def _opened(self, *, busy_timeout: float = READER_TIMEOUT) -> sqlite3.Connection:
        self._connection = connect(self._path, busy_timeout=busy_timeout)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
