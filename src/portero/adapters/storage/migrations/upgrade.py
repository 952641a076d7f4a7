"""Bring an older database to this program's schema. Imports Alembic: only where a migration is due.

Migrations are online: they add tables, nullable or defaulted columns, and indexes; what the
previous version's statements need stays until the version after.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from portero.adapters.storage.migrations import HEAD, MIGRATION_LOCK


def configuration(connection: Connection) -> Config:
    """Alembic's settings, in the program instead of a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def upgrade(driver: str, connect: Callable[[], Any], *, revision: str = HEAD) -> None:
    """Migrate a database inside one transaction.

    Args:
        driver: `sqlite` or `postgresql+psycopg`.
        connect: opens a connection of that driver.
        revision: where to stop, for tests.
    """
    engine = create_engine(f"{driver}://", creator=connect, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        _begin_immediately(engine)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            command.upgrade(configuration(connection), revision)
    finally:
        engine.dispose()


def _begin_immediately(engine: Engine) -> None:
    # The driver would run DDL outside any transaction, and let two programs migrate at once.
    @event.listens_for(engine, "connect")
    def no_driver_transactions(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # sqlite3's, which SQLAlchemy does not type

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
