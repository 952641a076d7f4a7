"""The store in PostgreSQL: durable, any number of servers on one database.

Two connections do the work, each in its own thread, each carrying whatever has gathered in
one pipeline: one for transitions (`postgresql_writer`), one for reads. A third listens for
other servers' revocations while anybody follows the feed. A connection that breaks is
opened again by the next batch; meanwhile callers get `Unavailable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar, cast

import psycopg

from portero.adapters.storage.group_commit import GroupCommit, Job
from portero.adapters.storage.loads import load
from portero.adapters.storage.postgresql_connections import Connection, connect, prepare, unavailable
from portero.adapters.storage.postgresql_pipeline import loaded, sent
from portero.adapters.storage.postgresql_writer import CHANNEL, PostgresWriter
from portero.adapters.storage.tables import Query
from portero.adapters.storage.wakeups import Wakeups
from portero.core.transitions import Decision, Key
from portero.core.types import NumericDate
from portero.ports import Random

A = TypeVar("A")
R = TypeVar("R")

_NEVER: Final = NumericDate(0)


class PostgresStore:
    """A `Store` in a PostgreSQL database; made by `open`."""

    def __init__(self, url: str) -> None:
        self._wakeups = Wakeups()
        self._writer = GroupCommit(PostgresWriter(url, wakeups=self._wakeups), name="portero-postgresql-writer")
        self._reader = GroupCommit(_Reader(url), name="portero-postgresql-reader")
        self._listener = _Listener(url, self._wakeups)

    @classmethod
    async def open(cls, url: str, *, random: Random) -> PostgresStore:
        """Create, check or migrate the schema, and begin.

        Raises:
            ConfigurationError: see `postgresql_connections.prepare`.
            Unavailable: the server cannot be reached, or refuses.
        """
        await asyncio.to_thread(prepare, url, random=random)
        return cls(url)

    async def read(self, key: Key[A]) -> A:
        return cast("A", await self._reader.submit(key, Decision, now=_NEVER))

    async def transition(self, key: Key[A], decide: Callable[[A], Decision[R]], *, now: NumericDate) -> R:
        return cast("R", await self._writer.submit(key, decide, now=now))

    def changes(self) -> AsyncIterator[None]:
        subscription = self._wakeups.subscribe()
        self._listener.start()
        return subscription

    async def aclose(self) -> None:
        await self._writer.close()
        await self._reader.close()
        await asyncio.to_thread(self._listener.close)
        self._wakeups.close()


class _Reader:
    """Reads what has gathered as one snapshot, in one round trip where each read needs one."""

    polled = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    def poll(self) -> None: ...

    def execute(self, jobs: list[Job]) -> list[Job]:
        reused = self._connection is not None and not self._connection.closed
        try:
            self._read(jobs)
        except (psycopg.OperationalError, OSError) as error:
            self.close()
            if reused:
                # The connection had broken since the last batch; a new one may do.
                return self.execute(jobs)
            for job in jobs:
                job.error = unavailable(error, self._url)
        except Exception as error:  # a key no database holds, a row nobody understands: its job's failure
            self.close()
            if len(jobs) == 1:
                jobs[0].error = error
                return []
            for job in jobs:
                self.execute([job])
        return []

    def _read(self, jobs: list[Job]) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._url)
        # One snapshot, so that an aggregate of several statements is of one moment.
        begin: list[Query] = [("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ())]
        aggregates, _ = loaded(self._connection, [load(job.key) for job in jobs], first=begin)
        sent(self._connection, [("COMMIT", ())])
        for job, aggregate in zip(jobs, aggregates, strict=True):
            job.result = aggregate

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


class _Listener:
    """Turns PostgreSQL's notifications into wake-ups, in a thread of its own."""

    def __init__(self, url: str, wakeups: Wakeups) -> None:
        self._url = url
        self._wakeups = wakeups
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="portero-postgresql-listener", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(psycopg.Error, OSError), connect(self._url) as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                # Something may have been appended while nobody listened.
                self._wakeups.wake()
                self._listen(connection)
            self._closing.wait(0.5)

    def _listen(self, connection: Connection) -> None:
        while not self._closing.is_set():
            for _ in connection.notifies(timeout=0.25, stop_after=1):
                self._wakeups.wake()
