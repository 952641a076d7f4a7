"""Metadata, migrations, creation scripts, tables and hand-written statements say the same."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from portero.adapters.storage import (
    loads,
    rows_consent,
    rows_feed,
    rows_grants,
    rows_linked,
    rows_outbox,
    rows_registry,
    rows_sessions,
    tables,
    writes,
)
from portero.adapters.storage.migrations import HEAD, REVISIONS, Standing, creation_statements, standing_of
from portero.adapters.storage.migrations.creation import creation_script
from portero.adapters.storage.migrations.upgrade import upgrade
from portero.adapters.storage.schema import metadata
from portero.adapters.storage.sqlite import SqliteStore
from portero.adapters.system import SystemRandom
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.transitions import FeedKey, FeedSlice
from portero.core.types import Issuer, NumericDate

MIGRATIONS = Path(tables.__file__).parent / "migrations"


def created(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in creation_statements("sqlite"):
        connection.execute(statement)
    return connection


def shape(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Tables, columns, indexes and references, whatever the wording of the statements that made them."""
    found = {}
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        rows = connection.execute(f"PRAGMA table_info({name})").fetchall()
        rows += connection.execute(f"PRAGMA foreign_key_list({name})").fetchall()
        indexes = connection.execute(f"PRAGMA index_list({name})").fetchall()
        for _, index, unique, origin, partial in sorted(indexes, key=lambda row: str(row[1])):
            rows.append((index, unique, origin, partial))
            rows += connection.execute(f"PRAGMA index_info({index})").fetchall()
        found[name] = rows
    return found


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_creation_scripts_are_made_from_the_metadata(dialect: str) -> None:
    """After a change of the schema: python -m portero.adapters.storage.migrations.creation."""
    stored = (MIGRATIONS / f"{dialect}.sql").read_text(encoding="utf-8")

    assert creation_script(dialect) == stored


def test_a_created_database_is_a_migrated_one(tmp_path: Path) -> None:
    """The script and the migrations make the same tables, columns, indexes, references and revision."""
    upgrade("sqlite", lambda: sqlite3.connect(tmp_path / "migrated.db"))
    migrated = sqlite3.connect(tmp_path / "migrated.db")
    by_script = created(tmp_path / "created.db")
    revision = "SELECT version_num FROM alembic_version"

    assert shape(by_script) == shape(migrated)
    assert by_script.execute(revision).fetchall() == migrated.execute(revision).fetchall() == [(HEAD,)]
    by_script.close()
    migrated.close()


def test_a_database_of_the_first_schema_keeps_what_it_holds(tmp_path: Path) -> None:
    """Opened by this program it is migrated, and its rows read as records whose new fields say nothing."""
    path = tmp_path / "portero.db"
    upgrade("sqlite", lambda: sqlite3.connect(path), revision="0001")
    with sqlite3.connect(path) as old:
        old.execute("INSERT INTO meta (singleton, epoch, feed_head) VALUES (1, 'e', 1)")
        old.execute("INSERT INTO revocations (n, iss, kind, value, at, until) VALUES (1, 'i', 'sid', 's', 5, 9)")
    old.close()

    async def feed() -> FeedSlice:
        store = await SqliteStore.open(path, random=SystemRandom())
        found = await store.read(FeedKey(after=0, live_at=NumericDate(0)))
        await store.aclose()
        return found

    (entry,) = asyncio.run(feed()).entries
    assert entry.revocation == Revocation(Issuer("i"), RevokedKind.SESSION, "s", NumericDate(5), NumericDate(9))


def test_the_migrations_make_the_metadata(tmp_path: Path) -> None:
    """Alembic finds no difference left."""
    url = f"sqlite:///{tmp_path / 'migrated.db'}"
    upgrade("sqlite", lambda: sqlite3.connect(tmp_path / "migrated.db"))
    with create_engine(url, poolclass=NullPool).connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)

    assert differences == []


def test_the_revisions_named_are_those_there_are() -> None:
    """`REVISIONS` lists the versions folder in order, so that start-up need not read it."""
    script = ScriptDirectory(str(MIGRATIONS))
    history = [revision.revision for revision in script.walk_revisions()]

    assert tuple(reversed(history)) == REVISIONS
    assert [standing_of(r) for r in (None, HEAD, "from the future", "")] == [
        Standing.NEW,
        Standing.CURRENT,
        Standing.NEWER,
        Standing.NEWER,
    ]


def test_the_tables_named_are_those_of_the_metadata() -> None:
    """Each table's columns and key, but for the audit number that the database counts."""
    counted = {"audit": {"n"}}
    described = {t.name: (set(t.columns) | counted.get(t.name, set()), t.key) for t in tables.ALL}
    meant = {
        name: ({c.name for c in t.columns}, next(iter(t.primary_key.columns)).name)
        for name, t in metadata.tables.items()
    }

    assert described == meant


def statement_texts() -> list[str]:
    """Every statement text of the storage modules, found as a value of theirs."""
    modules = (
        loads,
        rows_consent,
        rows_feed,
        rows_grants,
        rows_linked,
        rows_outbox,
        rows_registry,
        rows_sessions,
        writes,
    )
    values: list[Any] = [value for module in modules for value in vars(module).values()]
    values += list(writes._DELETE.values())
    values += [text for text, _ in writes.Sweep(skip_locked=False)._turns]
    return sorted({v for v in values if isinstance(v, str) and re.match(r"(SELECT|INSERT|UPDATE|DELETE) ", v)})


def test_every_statement_fits_the_schema(tmp_path: Path) -> None:
    """SQLite compiles each of them against the schema: no unknown table or column, and as many values as columns."""
    connection = created(tmp_path / "portero.db")
    texts = statement_texts()
    for text in texts:
        connection.execute(f"EXPLAIN {text}", (None,) * text.count("?"))
    connection.close()

    assert len(texts) > 45


def test_no_statement_for_one_record_reads_a_whole_table(tmp_path: Path) -> None:
    """Cost does not grow with the store: every lookup, update and removal goes through an index."""
    lists = {loads._NEWEST, loads._CLIENTS, loads._SIGNING_KEYS, loads._AUDIT, loads._FEED_HEAD}
    lists |= {rows_feed.NEXT_FEED_NUMBERS, loads._FEED_SIZE, loads._NOTICES, loads._TOLD_CLIENTS, loads._STREAMS}
    lists |= {rows_outbox._NOTIFY}  # stops at the first stream it finds
    connection = created(tmp_path / "portero.db")
    scanning = {}
    for text in set(statement_texts()) - lists:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?")).fetchall()
        scanning[text] = [detail for *_, detail in plan if detail.startswith("SCAN")]
    connection.close()

    assert {text: scans for text, scans in scanning.items() if scans} == {}
