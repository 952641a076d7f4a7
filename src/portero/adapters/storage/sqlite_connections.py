"""SQLite connections with the settings that durability rests on, and a database ready to be used."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from portero.adapters.storage.migrations import STORED_REVISION, Standing, creation_statements, standing_of
from portero.core.errors import ConfigurationError, Unavailable
from portero.ports import Random

PRAGMAS: Final = (
    ("journal_mode", "wal"),
    ("synchronous", 2),  # FULL: a commit is on the disk before it is acknowledged
    ("foreign_keys", 1),
    ("trusted_schema", 0),
    ("temp_store", 2),
    ("cache_size", -32_000),  # KiB, filled as it is used: what the writer touches stays in this process
)
"""Set on every connection, and read back."""


def connect(path: Path, *, busy_timeout: float, create: bool = False) -> sqlite3.Connection:
    """Open a connection: manual transactions, WAL, `synchronous=FULL`, foreign keys.

    Args:
        busy_timeout: seconds to wait for another process's lock.
        create: make the file (mode 0600) where it is missing.

    Raises:
        sqlite3.Error: the file cannot be opened, or is not a database.
    """
    if create and not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=busy_timeout,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        _write_ahead(connection, deadline=time.monotonic() + busy_timeout)
        for name, setting in PRAGMAS[1:]:
            connection.execute(f"PRAGMA {name} = {setting}")
        for name, value in PRAGMAS:
            (found,) = connection.execute(f"PRAGMA {name}").fetchone()
            if found != value:
                raise sqlite3.OperationalError(f"{name} stays {found!r}")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection, *, deadline: float) -> None:
    """Have the file in WAL mode, however many programs begin with it at the same moment.

    A new file changes its mode once. SQLite does not wait in that change: programs that all read the file and all want
    it to themselves would wait for each other, so each is refused at once, whatever the busy timeout. Whoever lets go
    and asks again finds the change made, or makes it.

    Args:
        deadline: of `time.monotonic()`; a file that is still locked then is locked by something else.
    """
    pause = 0.001
    while True:
        try:
            connection.execute("PRAGMA journal_mode = wal")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def unavailable(error: Exception, path: Path) -> Unavailable:
    """What a caller is told of a database that does not answer (a full disk, a lock held too long, an I/O error)."""
    return Unavailable(f"the database {path} cannot be used: {error}")


def prepare(path: Path, *, random: Random, busy_timeout: float) -> None:
    """Create, check or migrate the database, so that every later connection finds this program's schema.

    Raises:
        ConfigurationError: no such folder, no database of Portero's, damaged, or newer than this program.
        Unavailable: locked, or the disk is full.
    """
    if not path.parent.is_dir():
        raise ConfigurationError("database", str(path), f"create the folder {path.parent} first")
    try:
        connection = connect(path, busy_timeout=busy_timeout, create=True)
    except OSError as error:
        raise ConfigurationError(
            "database", str(path), f"it must be readable and writable ({error.strerror})"
        ) from None
    except sqlite3.Error as error:
        raise _explained(error, path) from error
    try:
        standing = _standing(connection, path)
        if standing is Standing.NEW:
            _create(connection, random)
        elif standing is Standing.OLDER:
            from portero.adapters.storage.migrations.upgrade import upgrade

            upgrade("sqlite", lambda: connect(path, busy_timeout=busy_timeout))
    except sqlite3.Error as error:
        raise _explained(error, path) from error
    finally:
        connection.close()


def _standing(connection: sqlite3.Connection, path: Path) -> Standing:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return Standing.NEW
    if "alembic_version" not in tables or "device_sessions" not in tables:
        raise ConfigurationError(
            "database", str(path), "it belongs to another program; name a file that does not exist yet"
        )
    row = connection.execute(STORED_REVISION).fetchone()
    standing = standing_of(row[0] if row else "")
    if standing is Standing.NEWER:
        raise ConfigurationError(
            "database",
            str(path),
            f"its schema ({row[0] if row else 'none'}) was made by a newer Portero; "
            "start that version, or restore the backup made before the upgrade",
        )
    return standing


def _create(connection: sqlite3.Connection, random: Random) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            for statement in creation_statements("sqlite"):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO meta (singleton, epoch, feed_head) VALUES (1, ?, 0)", (random.bytes(9).hex(),)
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _explained(error: sqlite3.Error, path: Path) -> ConfigurationError | Unavailable:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return ConfigurationError(
            "database",
            str(path),
            f"it is damaged or no SQLite database ({error}); restore it from a backup, or move it away to start anew",
        )
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return ConfigurationError("database", str(path), f"it must be a readable and writable file ({error})")
    return unavailable(error, path)
