"""PostgreSQL's own: settings, schema, servers that vanish, late commits, statements of locks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from portero.adapters.storage.migrations.upgrade import upgrade
from portero.adapters.storage.open import open_store
from portero.adapters.storage.postgresql import PostgresStore
from portero.adapters.storage.postgresql_connections import connect, place_of
from portero.adapters.storage.postgresql_locks import held, lock_families, locks, needed
from portero.adapters.storage.postgresql_pipeline import sent
from portero.adapters.storage.schema import metadata
from portero.core.errors import ConfigurationError, Unavailable
from portero.core.transitions import (
    BrowserKey,
    ClientKey,
    ClientsKey,
    CodeKey,
    FamilyKey,
    FeedKey,
    Key,
    LoginKey,
    ReplayKey,
    Revoke,
    SessionKey,
    SigningKeysKey,
    SubjectKey,
    UsernameKey,
)
from portero.core.types import ClientId, Sid, Subject
from portero.testing.postgresql import PostgresServer, running_postgres
from portero.testing.store_laws.steps import put, seen_once_more, stored, write
from portero.testing.store_samples import NOW, device_session, digest, family_id, replay_mark, revocation
from tests.storage.ports import SystemClock, SystemRandom
from tests.storage.test_crash import crash_often

KEYS: tuple[Key[Any], ...] = (
    FamilyKey(family_id("f")),
    CodeKey(digest("c")),
    BrowserKey(digest("b")),
    SessionKey(Sid("s")),
    SessionKey(Sid("\ud800")),
    SubjectKey(Subject("a\x00b")),
    SubjectKey(Subject("ada")),
    UsernameKey("Ada"),
    UsernameKey("\ud800"),
    ClientKey(ClientId("\ud800")),
    LoginKey(digest("l")),
    ReplayKey(digest("r")),
    SigningKeysKey(),
    FeedKey(after=0, live_at=NOW),
)


def run_on(url: str, law: Callable[[PostgresStore], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = await PostgresStore.open(url, random=SystemRandom())
        try:
            await law(store)
        finally:
            await store.aclose()

    asyncio.run(run())


def opened(url: str) -> None:
    async def run() -> None:
        await (await open_store(url, random=SystemRandom(), clock=SystemClock())).aclose()

    asyncio.run(run())


async def outcome(step: Coroutine[Any, Any, Any]) -> object:
    (result,) = await asyncio.gather(step, return_exceptions=True)
    return result


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A server of the test's own, to be killed."""
    with running_postgres() as server:
        yield server


# ── schema and settings ──────────────────────────────────────────────────────────────


def test_a_created_database_is_a_migrated_one(postgres: PostgresServer) -> None:
    """Script and migrations make what the metadata says, and the same columns and indexes."""
    urls = [postgres.create_database(name) for name in ("by_script", "by_migration")]
    opened(urls[0])
    upgrade("postgresql+psycopg", lambda: psycopg.connect(urls[1]))
    found = []
    for url in urls:
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda url=url: psycopg.connect(url), poolclass=NullPool
        )
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        with psycopg.connect(url) as connection:
            columns = connection.execute(
                "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default "
                "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
            ).fetchall()
            indexes = connection.execute(
                "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
            ).fetchall()
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            found.append((columns, indexes, revision))

    assert found[0] == found[1]


def test_servers_may_create_the_database_together(postgres_url: str) -> None:
    """One creates, the others find it; all see the same epoch."""

    async def run() -> set[str]:
        stores = await asyncio.gather(*(PostgresStore.open(postgres_url, random=SystemRandom()) for _ in range(5)))
        epochs = {(await store.read(FeedKey(after=0, live_at=NOW))).epoch for store in stores}
        for store in stores:
            await store.aclose()
        return epochs

    assert len(asyncio.run(run())) == 1


def test_every_connection_is_durable(postgres: PostgresServer) -> None:
    """Even where the database's default is not to wait for the disk; fsync is the server's."""
    url = postgres.create_database("hasty")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE hasty SET synchronous_commit = off")
    with connect(url) as connection:
        found = [connection.execute(f"SHOW {name}").fetchone() for name in ("synchronous_commit", "fsync")]

    assert found == [("on",), ("on",)]


def test_a_newer_schema_stops_start_up_and_says_what_to_do(postgres_url: str) -> None:
    """A database that a newer Portero migrated is not touched by an older one."""
    opened(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffff'")
    with pytest.raises(ConfigurationError) as caught:
        opened(postgres_url)

    assert "newer Portero" in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable_and_the_password_stays_unsaid() -> None:
    """What the error names is host and database."""
    url = "postgresql://portero:hunter2@127.0.0.1:1/portero?connect_timeout=1"
    with pytest.raises(Unavailable) as caught:
        opened(url)

    assert place_of(url) == "127.0.0.1/portero"
    assert "127.0.0.1/portero" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_lock_statement_fits_the_schema(postgres_url: str) -> None:
    """PostgreSQL carries out each of them, those that wait and those that do not; names no database holds too."""
    opened(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        for key in KEYS:
            for skip_locked in (True, False):
                answers = sent(connection, [*locks(key, skip_locked=skip_locked), lock_families([])])
                assert held([row for rows in answers for row in rows]) == needed(key, None)


# ── servers that vanish ──────────────────────────────────────────────────────────────


def test_a_server_that_goes_away_is_unavailable_and_served_again_when_it_is_back(mortal: PostgresServer) -> None:
    """Reads, transitions and followers go on without a restart; nothing acknowledged is lost."""

    async def law(store: PostgresStore) -> None:
        await put(store, device_session())
        await store.read(ClientsKey())
        changes = store.changes()
        await asyncio.wait_for(anext(changes), 60)
        await asyncio.to_thread(mortal.kill)
        met = [await outcome(store.read(ClientsKey())), await outcome(put(store, replay_mark()))]
        await asyncio.to_thread(mortal.start)
        read = await store.read(SessionKey(Sid("sid-1")))
        counted = await store.transition(SessionKey(Sid("sid-1")), seen_once_more, now=NOW)
        await asyncio.wait_for(anext(changes), 60)

        assert [type(answer) for answer in met] == [Unavailable, Unavailable]
        assert read.session == device_session()
        assert counted == NOW + 1

    run_on(mortal.create_database("portero"), law)


def test_a_connection_that_was_cut_costs_no_caller_anything(postgres_url: str) -> None:
    """After a restart of the database the first transition and the first read are served, on new connections."""

    async def law(store: PostgresStore) -> None:
        await put(store, device_session())
        await store.read(ClientsKey())
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        assert await store.transition(SessionKey(Sid("sid-1")), seen_once_more, now=NOW) == NOW + 1
        assert await stored(store, replay_mark()) is None

    run_on(postgres_url, law)


def test_a_killed_database_loses_nothing_it_acknowledged(mortal: PostgresServer) -> None:
    """Servers under load are killed, and PostgreSQL with them: each value given out once, each code used once."""

    url = mortal.create_database("portero")
    acknowledged = crash_often(url, programs=2, lines=400, kill_database=mortal.kill, start_database=mortal.start)

    assert acknowledged.uses.total() > 0


# ── several servers ──────────────────────────────────────────────────────────────────


def test_a_transaction_that_commits_late_is_not_passed_over(postgres_url: str) -> None:
    """While one holds the next number, no later number becomes visible (design §3.3)."""

    async def law(store: PostgresStore) -> None:
        late = psycopg.connect(postgres_url)
        await asyncio.to_thread(late.execute, "UPDATE meta SET feed_head = feed_head + 1")
        appending = asyncio.ensure_future(write(store, Revoke(revocation("second"))))
        reads = [await store.read(FeedKey(after=0, live_at=NOW)) for _ in range(20)]
        late.execute("INSERT INTO revocations VALUES (1, 'i', 'sid', 'first', %s, %s)", (NOW, NOW + 60))
        late.commit()
        late.close()
        await appending
        feed = await store.read(FeedKey(after=0, live_at=NOW))

        assert {(part.entries, part.head) for part in reads} == {((), 0)}
        assert [(e.n, e.revocation.value) for e in feed.entries] == [(1, "first"), (2, "second")]
        assert feed.head == 2

    run_on(postgres_url, law)


def test_a_transition_waits_for_another_servers_and_sees_what_it_wrote(postgres_url: str) -> None:
    """The lock comes before the load: what was committed while waiting is what `decide` sees."""

    async def law(store: PostgresStore) -> None:
        await put(store, device_session())
        other = psycopg.connect(postgres_url)
        other.execute("SELECT 1 FROM device_sessions WHERE sid = 'sid-1' FOR NO KEY UPDATE")
        waiting = [
            asyncio.ensure_future(store.transition(SessionKey(Sid("sid-1")), seen_once_more, now=NOW)) for _ in range(3)
        ]
        await store.read(ReplayKey(digest("jti")))
        other.execute("UPDATE device_sessions SET last_seen = last_seen + 1000")
        other.commit()
        other.close()

        assert sorted(await asyncio.gather(*waiting)) == [NOW + 1001, NOW + 1002, NOW + 1003]

    run_on(postgres_url, law)
