"""PostgreSQL connections, and a database ready to be used. Several servers may do all of this at once."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg import errors
from psycopg.types.numeric import Int8BinaryDumper

from portero.adapters.storage.migrations import (
    MIGRATION_LOCK,
    STORED_REVISION,
    Standing,
    creation_statements,
    standing_of,
)
from portero.core.errors import ConfigurationError, Unavailable
from portero.ports import Random

Connection = psycopg.Connection[tuple[Any, ...]]

LOCK_TIMEOUT: Final = "5s"
"""How long a transition waits for another server's."""
_SETTINGS: Final = (
    # A server that freezes inside a transaction must not hold its locks for ever.
    "SET idle_in_transaction_session_timeout = '10s'",
    f"SET lock_timeout = '{LOCK_TIMEOUT}'",
    "SET default_transaction_isolation = 'read committed'",
    # Whatever the database's default: acknowledged means durable. Stronger settings are left alone.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') "
    "IN ('off', 'local')",
)


def connect(url: str) -> Connection:
    """Open a connection without implicit transactions, its statements prepared and in binary form.

    Raises:
        psycopg.OperationalError: the server cannot be reached, or refuses.
    """
    connection = psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=5,
        application_name="portero",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=20_000,
        prepare_threshold=2,
    )
    # One width for all integers: otherwise each width makes another prepared statement.
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    with connection.pipeline():
        for setting in _SETTINGS:
            connection.execute(setting)
    return connection


def place_of(url: str) -> str:
    """The database's host and name: what may be said of a URL that may hold a password."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'a local socket'}{parts.path}"


def unavailable(error: Exception, url: str) -> Unavailable:
    """What a caller is told of a server that does not answer."""
    return Unavailable(f"the database at {place_of(url)} cannot be used: {error}")


def prepare(url: str, *, random: Random) -> None:
    """Create, check or migrate the schema.

    Raises:
        ConfigurationError: newer than this program, not Portero's, or not durable.
        Unavailable: the server cannot be reached, or refuses.
    """
    try:
        with connect(url) as connection:
            fsync = connection.execute("SHOW fsync").fetchone()
            if fsync != ("on",):
                raise ConfigurationError(
                    "database", place_of(url), "set fsync = on in PostgreSQL: commits would be lost"
                )
            standing = _standing(connection, url)
            if standing is Standing.NEW:
                _create(connection, random)
            elif standing is Standing.OLDER:
                from portero.adapters.storage.migrations.upgrade import upgrade

                upgrade("postgresql+psycopg", lambda: psycopg.connect(url))
    except psycopg.Error as error:
        raise unavailable(error, url) from error


def _standing(connection: Connection, url: str) -> Standing:
    try:
        row = connection.execute(STORED_REVISION).fetchone()
    except errors.UndefinedTable:
        return Standing.NEW
    standing = standing_of(row[0] if row else "")
    if standing is Standing.NEWER:
        raise ConfigurationError(
            "database",
            place_of(url),
            f"its schema ({row[0] if row else 'none'}) was made by a newer Portero, or by another program; "
            "start that version, or name another database",
        )
    return standing


def _create(connection: Connection, random: Random) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        # Another server may have been faster.
        found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if found == (None,):
            for statement in creation_statements("postgresql"):
                connection.execute(statement.encode())
            connection.execute(
                "INSERT INTO meta (singleton, epoch, feed_head) VALUES (1, %s, 0)", (random.bytes(9).hex(),)
            )
