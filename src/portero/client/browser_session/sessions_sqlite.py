"""Sessions in a SQLite file: they outlive a restart, and several processes of one machine share them.

The tokens in it are sealed and the cookie's value is not in it: a copy of the file opens nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from portero.adapters.system import SystemRandom
from portero.client.browser_session.records import Session, dump, load
from portero.client.browser_session.sealing import Seal
from portero.client.browser_session.sessions import key_of
from portero.core.errors import Unavailable
from portero.core.types import Secret
from portero.ports import Random

T = TypeVar("T")

_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS sessions (
        key TEXT PRIMARY KEY, sid TEXT, sub TEXT NOT NULL, started REAL NOT NULL, ends REAL NOT NULL,
        version INTEGER NOT NULL, sealed TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS by_sid ON sessions (sid);
    CREATE INDEX IF NOT EXISTS by_sub ON sessions (sub);
    CREATE INDEX IF NOT EXISTS by_end ON sessions (ends);
"""
_BUSY: Final = 5.0
"""Seconds to wait for another process that writes."""
_SWEEP: Final = 8
"""Expired sessions that one new session takes away."""


class SqliteSessions:
    """As `Sessions`.

    Args:
        path: made with mode 0600 where it is missing.
        secrets: as `Settings.secrets`.
    """

    def __init__(self, path: Path, *, secrets: Sequence[Secret[str]], random: Random | None = None) -> None:
        self._seal = Seal(secrets, purpose="stored session", random=random or SystemRandom())
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        self._connection.executescript(_SCHEMA)
        # One thread: the connection is never used by two at once.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="browser sessions")

    async def create(self, session: Session, secret: Secret[str], *, now: float) -> str:
        """As `Sessions.create`."""
        row = (session.key, session.sid, session.sub, session.started, session.ends, session.version)
        sealed = self._sealed(session)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM sessions WHERE key IN (SELECT key FROM sessions WHERE ends <= ? LIMIT ?)", (now, _SWEEP)
            )
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, sealed))

        await self._run(write)
        return secret.reveal()

    async def find(self, cookie: str, *, now: float) -> Session | None:
        """As `Sessions.find`."""
        return await self._read(key_of(cookie), now)

    async def latest(self, session: Session, *, now: float) -> Session | None:
        """As `Sessions.latest`."""
        return await self._read(session.key, now)

    async def replace(self, session: Session, *, now: float) -> bool:
        """As `Sessions.replace`."""
        change = (session.version, self._sealed(session), session.key, session.version - 1, now)
        statement = "UPDATE sessions SET version = ?, sealed = ? WHERE key = ? AND version = ? AND ends > ?"
        return await self._run(lambda connection: connection.execute(statement, change).rowcount) == 1

    def renewed_cookie(self, session: Session) -> str | None:
        """The cookie never changes."""
        return None

    async def end(self, key: str, *, until: float) -> Session | None:
        """As `Sessions.end`."""
        statement = "DELETE FROM sessions WHERE key = ? RETURNING sealed"
        row = await self._run(lambda connection: connection.execute(statement, (key,)).fetchone())
        return None if row is None else self._opened(key, row[0])

    async def end_all(self, *, sid: str | None, sub: str | None, now: float, until: float) -> int:
        """As `Sessions.end_all`."""
        if sid is not None:
            statement, values = "DELETE FROM sessions WHERE sid = ?", (sid,)
        else:
            statement, values = "DELETE FROM sessions WHERE sub = ? AND started <= ?", (sub, now)  # type: ignore[assignment]
        return await self._run(lambda connection: connection.execute(statement, values).rowcount)

    async def aclose(self) -> None:
        """Close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _read(self, key: str, now: float) -> Session | None:
        statement = "SELECT sealed FROM sessions WHERE key = ? AND ends > ?"
        row = await self._run(lambda connection: connection.execute(statement, (key, now)).fetchone())
        return None if row is None else self._opened(key, row[0])

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            try:
                return work(self._connection)
            except sqlite3.Error as error:
                raise Unavailable(f"the sessions' file: {type(error).__name__}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _sealed(self, session: Session) -> str:
        return self._seal.seal(dump(session), name=session.key)

    def _opened(self, key: str, sealed: str) -> Session | None:
        text = self._seal.open(sealed, name=key)
        return None if text is None else load(text)
