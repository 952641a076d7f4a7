"""PostgreSQL's side of group commit: a batch is one transaction and a handful of round trips.

    lock what is free, load ──▶ decide ──▶ write; load what was put off ──▶ … ──▶ write, COMMIT

All statements of a step travel together (pipeline mode).
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

import psycopg
from psycopg import errors, pq

from portero.adapters.storage.group_commit import Job
from portero.adapters.storage.identity import Identity
from portero.adapters.storage.loads import load
from portero.adapters.storage.overlap import touched, written
from portero.adapters.storage.postgresql_connections import Connection, connect, unavailable
from portero.adapters.storage.postgresql_locks import held, lock_families, locks, needed
from portero.adapters.storage.postgresql_pipeline import loaded, sent
from portero.adapters.storage.rows_sessions import UPDATES_BY_REFRESH
from portero.adapters.storage.tables import Query, Row
from portero.adapters.storage.wakeups import Wakeups
from portero.adapters.storage.writes import Sweep, statements
from portero.core.revocation.entry import Revocation
from portero.core.transitions import FamilyKey, Write

CHANNEL: Final = "portero_feed"
_ROUNDS: Final = 6
"""How often a batch loads again what an earlier one of it had written."""
_ATTEMPTS: Final = 5
"""How often a transition is tried that the database gave up (a deadlock)."""
# Numbers are taken from one row, so whoever holds it commits before the next number is given out: a
# transaction that commits late has no lower number (design §3.3).
_APPEND: Final = (
    "WITH taken AS (UPDATE meta SET feed_head = feed_head + 1 WHERE singleton = 1 RETURNING feed_head) "
    "INSERT INTO revocations (n, iss, kind, value, at, until, micros) "
    "SELECT taken.feed_head, ?::text, ?::text, ?::text, ?::bigint, ?::bigint, ?::bigint FROM taken"
)
_NOTIFY: Final = f"NOTIFY {CHANNEL}"
_GIVEN_UP: Final = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation)
_REFUSED: Final = (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)


class PostgresWriter:
    """The writing connection of this process. Lives in the writer's thread."""

    polled = False

    def __init__(self, url: str, *, wakeups: Wakeups) -> None:
        self._url = url
        self._wakeups = wakeups
        self._sweep = Sweep(skip_locked=True)
        self._connection: Connection | None = None
        self._reused = False
        self._committing = False
        self._attempts: dict[int, int] = {}

    def poll(self) -> None:
        """Nothing: PostgreSQL tells by itself (`postgresql.Listener`)."""

    def close(self) -> None:
        self._dropped()

    def execute(self, jobs: list[Job]) -> list[Job]:
        """Carry out a batch; transitions that another server stood in the way of go alone, and wait."""
        alone = [job for job in jobs if id(job) in self._attempts]
        together = [job for job in jobs if id(job) not in self._attempts]
        again: list[Job] = []
        for job in alone:
            again += self._executed([job])
        if together:
            again += self._executed(together)
        left = set(map(id, again))
        for job in jobs:
            if id(job) not in left:
                self._attempts.pop(id(job), None)
        return again

    def _executed(self, jobs: list[Job]) -> list[Job]:
        try:
            return self._transact(jobs)
        except _GIVEN_UP as error:
            self._rolled_back()
            if len(jobs) > 1:
                return self._one_by_one(jobs)
            if isinstance(error, errors.UniqueViolation):
                return self._again(jobs[0], ValueError(f"a record cannot be stored: {error}"))
            return self._again(jobs[0], unavailable(error, self._url))
        except _REFUSED as error:
            self._rolled_back()
            if len(jobs) > 1:
                return self._one_by_one(jobs)
            jobs[0].error = ValueError(f"a record cannot be stored: {error}")
        except (psycopg.OperationalError, OSError) as error:
            reused, sent_commit = self._reused, self._committing
            self._dropped()
            if reused and not sent_commit:
                # The connection had broken since the last batch; a new one may do.
                return self._executed(jobs)
            for job in jobs:
                job.error = unavailable(error, self._url)
        except psycopg.Error as error:
            # Gone, full, or a lock not had in time: what was not acknowledged may be tried again.
            self._dropped()
            for job in jobs:
                job.error = unavailable(error, self._url)
        except Exception as error:  # a value that no column takes: its own job's failure
            self._rolled_back()
            if len(jobs) > 1:
                return self._one_by_one(jobs)
            jobs[0].error = error
        return []

    def _one_by_one(self, jobs: list[Job]) -> list[Job]:
        return [later for job in jobs for later in self._executed([job])]

    def _again(self, job: Job, error: Exception) -> list[Job]:
        attempts = self._attempts.get(id(job), 0) + 1
        self._attempts[id(job)] = attempts
        if attempts < _ATTEMPTS:
            return [job]
        job.error = error
        return []

    def _transact(self, jobs: list[Job]) -> list[Job]:
        self._committing = False
        connection = self._opened()
        ours: set[Identity] = set()
        open_jobs, blocked = jobs, []
        queries: list[Query] = [("BEGIN", ())]
        queries += self._locks(jobs)
        locking = len(queries)
        repeated: dict[str, list[Row]] = {}
        transitions, revoked = 0, False
        for round_of in range(_ROUNDS):
            aggregates, ahead = loaded(connection, [load(job.key) for job in open_jobs], first=queries)
            if round_of == 0:
                ours = held([row for rows in ahead[1:locking] for row in rows])
            changed: set[Identity] = set()
            queries, put_off, revocations = [], [], []
            for job, aggregate in zip(open_jobs, aggregates, strict=True):
                if not needed(job.key, aggregate) <= ours:
                    blocked.append(job)
                    continue
                if changed and not changed.isdisjoint(touched(job.key, aggregate)):
                    put_off.append(job)
                    continue
                writes = _decided(job, aggregate)
                if writes:
                    of_job, its_revocations = statements(writes, aggregate=aggregate)
                    if all(text in UPDATES_BY_REFRESH for text, _ in of_job):
                        for text, values in of_job:
                            repeated.setdefault(text, []).append(values)
                    else:
                        queries += of_job
                    revocations += its_revocations
                    changed |= written(writes)
                    transitions += 1
            ours |= changed
            # The counter's row last: it is held until the commit.
            queries += map(_append, revocations)
            revoked = revoked or bool(revocations)
            open_jobs = put_off
            if not open_jobs:
                break
            if repeated:
                sent(connection, [], repeated=repeated)
                repeated = {}
        if transitions:
            queries.append(self._sweep.next(now=min(job.now for job in jobs), transitions=transitions))
        if revoked:
            queries.append((_NOTIFY, ()))
        self._committing = True
        sent(connection, [*queries, ("COMMIT", ())], repeated=repeated)
        if revoked:
            self._wakeups.wake()
        for job in blocked:
            self._attempts.setdefault(id(job), 0)
        return [*blocked, *open_jobs]

    def _locks(self, jobs: list[Job]) -> list[Query]:
        if len(jobs) == 1:
            return locks(jobs[0].key, skip_locked=False)
        refreshed = [job.key.family_id for job in jobs if isinstance(job.key, FamilyKey)]
        queries = [lock_families(refreshed)] if refreshed else []
        for job in jobs:
            if not isinstance(job.key, FamilyKey):
                queries += locks(job.key, skip_locked=True)
        return queries

    def _opened(self) -> Connection:
        self._reused = self._connection is not None and not self._connection.closed
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._url)
        return self._connection

    def _rolled_back(self) -> None:
        if self._connection is None:
            return
        try:
            if self._connection.info.transaction_status != pq.TransactionStatus.IDLE:
                self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self._dropped()

    def _dropped(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def _decided(job: Job, aggregate: Any) -> tuple[Write, ...]:
    job.error = None
    try:
        decision = job.decide(aggregate)
    except BaseException as refusal:  # the caller's: nothing of this job was written
        job.error = refusal
        return ()
    job.result = decision.result
    writes: tuple[Write, ...] = decision.writes
    return writes


def _append(revocation: Revocation) -> Query:
    kind = revocation.kind.value
    return _APPEND, (revocation.iss, kind, revocation.value, revocation.at, revocation.until, revocation.micros)
