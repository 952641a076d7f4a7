"""SQLite's side of group commit: many transitions inside one BEGIN IMMEDIATE … COMMIT."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from portero.adapters.storage.group_commit import Job
from portero.adapters.storage.journal import Journal
from portero.adapters.storage.loads import Loading, load
from portero.adapters.storage.rows_feed import NEXT_FEED_NUMBERS, append_revocation
from portero.adapters.storage.sqlite_connections import connect, unavailable
from portero.adapters.storage.wakeups import Wakeups
from portero.adapters.storage.writes import Sweep, statements
from portero.core.revocation.entry import FeedEntry, Revocation


def run(connection: sqlite3.Connection, loading: Loading[Any]) -> Any:
    """Drive a loading generator, statement by statement."""
    execute = connection.execute
    try:
        queries = next(loading)
        while True:
            queries = loading.send([execute(text, parameters).fetchall() for text, parameters in queries])
    except StopIteration as done:
        return done.value


class SqliteWriter:
    """The one writing connection of this process. Lives in the writer's thread."""

    def __init__(self, path: Path, *, journal: Journal, wakeups: Wakeups, busy_timeout: float) -> None:
        self._path = path
        self._journal = journal
        self._wakeups = wakeups
        self._busy_timeout = busy_timeout
        self._sweep = Sweep(skip_locked=False)
        self._data_version = -1
        self._feed_seen = -1
        self._connection: sqlite3.Connection | None = None

    @property
    def polled(self) -> bool:
        return self._wakeups.followed

    def poll(self) -> None:
        """Wake the followers where another process (the command line beside a server) appended to the feed."""
        try:
            connection = self._opened()
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if version == self._data_version:
                return
            self._data_version = version
            (head,) = connection.execute("SELECT feed_head FROM meta").fetchone()
        except sqlite3.Error:
            self._dropped()
            return
        if head != self._feed_seen:
            self._feed_seen = head
            self._wakeups.wake()

    def execute(self, jobs: list[Job]) -> list[Job]:
        """Carry out the batch in one transaction.

        A write that the database refuses spoils the transaction, not the neighbours: everything is
        rolled back and each job runs again alone.
        """
        try:
            self._transact(jobs)
        except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError) as error:
            self._one_by_one(jobs, ValueError(f"a record cannot be stored: {error}"))
        except (sqlite3.Error, OSError) as error:
            # Full, locked, unreadable: nothing is committed, and the next batch starts with a new connection.
            self._dropped()
            for job in jobs:
                job.error = unavailable(error, self._path)
        except Exception as error:  # a value that no column takes: its own job's failure
            self._one_by_one(jobs, error)
        return []

    def close(self) -> None:
        self._dropped()

    def _one_by_one(self, jobs: list[Job], error: Exception) -> None:
        self._rolled_back()
        if len(jobs) == 1:
            jobs[0].error = error
            return
        for job in jobs:
            self.execute([job])

    def _transact(self, jobs: list[Job]) -> None:
        connection = self._opened()
        execute = connection.execute
        execute("BEGIN IMMEDIATE")
        revoked: list[Revocation] = []
        wrote = 0
        for job in jobs:
            job.error = None
            try:
                aggregate = run(connection, load(job.key))
                decision = job.decide(aggregate)
            except sqlite3.Error:
                raise
            except BaseException as refusal:  # the caller's: nothing of this job was written
                job.error = refusal
                continue
            job.result = decision.result
            if decision.writes:
                queries, revocations = statements(decision.writes, aggregate=aggregate)
                for text, parameters in queries:
                    execute(text, parameters)
                revoked += revocations
                wrote += 1
        if wrote:
            execute(*self._sweep.next(now=min(job.now for job in jobs), transitions=wrote))
        if revoked:
            self._append(connection, revoked)
        execute("COMMIT")
        if revoked:
            self._wakeups.wake()

    def _append(self, connection: sqlite3.Connection, revoked: list[Revocation]) -> None:
        epoch, head = connection.execute(NEXT_FEED_NUMBERS, (len(revoked),)).fetchone()
        first = head - len(revoked) + 1
        entries = [FeedEntry(epoch, n, revocation) for n, revocation in enumerate(revoked, first)]
        for entry in entries:
            connection.execute(*append_revocation(entry.revocation, n=entry.n))
        self._journal.append(entries)
        self._feed_seen = head

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, busy_timeout=self._busy_timeout)
        return self._connection

    def _rolled_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._dropped()

    def _dropped(self) -> None:
        # Closing rolls back what is open.
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._data_version = -1
