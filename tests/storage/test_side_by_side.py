"""Online migrations: servers of the previous version and of this one, on one database at the same time.

The previous version is its frozen statements (`previous/`). Nothing waits, nothing is lost, nothing is seen twice.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from portero.adapters.storage.migrations import HEAD, REVISIONS
from portero.adapters.storage.migrations.upgrade import upgrade
from portero.adapters.storage.open import open_store
from portero.core.digests import sha256_of
from portero.core.sessions.ending import decide_end_session
from portero.core.sessions.records import EndReason, SessionStatus, TokenRecord
from portero.core.transitions import ClientKey, Decision, FamilyAggregate, FamilyKey, FeedKey, Put, SessionKey
from portero.core.types import Digest, FamilyId, Issuer, NumericDate, Secret, Sid
from portero.ports import Store
from portero.testing.store_laws.steps import put
from portero.testing.store_samples import NOW, client, device_session, family
from tests.storage.ports import SystemClock, SystemRandom
from tests.storage.previous.server import PreviousServer, statements_of

PREVIOUS = REVISIONS[-2] if len(REVISIONS) > 1 else HEAD
DEVICES = 6
STEPS = 120


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Callable[[], Any]]:
    """A database as the previous version left it: its URL, and how that version connects to it."""
    if request.param == "sqlite":
        path = tmp_path / "portero.db"

        def connect() -> Any:
            connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
            connection.execute("PRAGMA foreign_keys = 1")
            return connection

        upgrade("sqlite", connect, revision=PREVIOUS)
        with closing(connect()) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute("INSERT INTO meta (singleton, epoch, feed_head) VALUES (1, 'epoch', 0)")
        return str(path), connect
    url = request.getfixturevalue("postgres_url")

    def connect_to_postgres() -> Any:
        return psycopg.connect(url, autocommit=True)

    upgrade("postgresql+psycopg", lambda: psycopg.connect(url), revision=PREVIOUS)
    with closing(connect_to_postgres()) as connection:
        connection.execute("INSERT INTO meta (singleton, epoch, feed_head) VALUES (1, 'epoch', 0)")
    return url, connect_to_postgres


def family_id(n: int) -> FamilyId:
    return FamilyId(bytes([n]) * 16)


async def opened(url: str) -> Store:
    return await open_store(url, random=SystemRandom(), clock=SystemClock())


def rotated(digest: bytes) -> Callable[[FamilyAggregate], Decision[int]]:
    """This version's step: the next generation, whose token has this digest."""

    def decide(found: FamilyAggregate) -> Decision[int]:
        assert found.family is not None
        assert found.session is not None
        head = TokenRecord(Digest(digest), found.family.head.generation + 1, NOW, found.family.head.expires)
        moved = replace(found.family, head=head, parent=found.family.head)
        seen = replace(found.session, last_seen=NumericDate(found.session.last_seen + 1))
        return Decision(head.generation, (Put(moved), Put(seen)))

    return decide


async def devices_on(store: Store) -> None:
    await put(store, client())
    for n in range(DEVICES):
        await put(store, device_session(f"s{n}"))
        await put(store, replace(family(), id=family_id(n), sid=Sid(f"s{n}")))


# ── together ─────────────────────────────────────────────────────────────────────────


def test_both_versions_refresh_the_same_families(database: tuple[str, Callable[[], Any]]) -> None:
    """Each generation is given out once, whoever gives it, and each was made from the one before."""
    url, connect = database

    async def law() -> None:
        store = await opened(url)
        await devices_on(store)
        start = {n: (await store.read(FamilyKey(family_id(n)))).family.head.generation for n in range(DEVICES)}
        given: dict[int, list[int]] = {n: [] for n in range(DEVICES)}

        def of_the_previous() -> None:
            choose, server = random.Random(1), PreviousServer(connect(), revision=PREVIOUS)
            for step in range(STEPS):
                n = choose.randrange(DEVICES)
                digest = sha256_of(Secret(f"previous {step}"))
                given[n].append(server.rotate(family_id(n), digest=digest, now=NOW))
            server.close()

        async def of_this() -> None:
            choose = random.Random(2)
            for step in range(STEPS):
                n = choose.randrange(DEVICES)
                digest = sha256_of(Secret(f"this {step}"))
                given[n].append(await store.transition(FamilyKey(family_id(n)), rotated(digest), now=NOW))

        await asyncio.gather(asyncio.to_thread(of_the_previous), of_this())
        heads = {n: (await store.read(FamilyKey(family_id(n)))).family.head.generation for n in range(DEVICES)}
        await store.aclose()

        assert sum(map(len, given.values())) == 2 * STEPS
        for n in range(DEVICES):
            assert sorted(given[n]) == list(range(start[n] + 1, heads[n] + 1))

    asyncio.run(law())


def test_an_end_by_either_version_reaches_the_followers_of_both(database: tuple[str, Callable[[], Any]]) -> None:
    """One numbering, no gap, and the session is over for both."""
    url, connect = database

    async def law() -> None:
        store = await opened(url)
        await devices_on(store)
        previous = PreviousServer(connect(), revision=PREVIOUS)

        def of_the_previous() -> None:
            for n in range(0, DEVICES, 2):
                previous.end(family_id(n), now=NOW, iss="i")

        async def of_this() -> None:
            for n in range(1, DEVICES, 2):
                await store.transition(
                    SessionKey(Sid(f"s{n}")),
                    lambda found: decide_end_session(
                        found, reason=EndReason.OPERATOR, now=NOW, iss=Issuer("i"), leeway=60
                    ),
                    now=NOW,
                )

        await asyncio.gather(asyncio.to_thread(of_the_previous), of_this())
        feed = await store.read(FeedKey(after=0, live_at=NOW))
        told = await asyncio.to_thread(lambda: previous.feed(after=0, live_at=NOW))
        sessions = [(await store.read(SessionKey(Sid(f"s{n}")))).session for n in range(DEVICES)]
        previous.close()
        await store.aclose()

        everybody = {f"s{n}" for n in range(DEVICES)}
        assert {entry.revocation.value for entry in feed.entries} == everybody == set(told)
        assert [entry.n for entry in feed.entries] == list(range(1, DEVICES + 1))
        assert {session.status for session in sessions if session} == {SessionStatus.ENDED}

    asyncio.run(law())


def test_what_the_previous_version_writes_this_one_reads(database: tuple[str, Callable[[], Any]]) -> None:
    """Rows without the new columns: their defaults mean what the previous version meant."""
    url, connect = database

    async def law() -> None:
        store = await opened(url)
        await devices_on(store)
        previous = PreviousServer(connect(), revision=PREVIOUS)

        def of_the_previous() -> None:
            previous.copy_device(family_id(0), as_family=family_id(99), as_sid="copied")
            previous.register_again(client().client_id)
            previous.sweep(now=NOW)

        await asyncio.to_thread(of_the_previous)
        original = await store.read(FamilyKey(family_id(0)))
        copied = await store.read(FamilyKey(family_id(99)))
        kept = (await store.read(ClientKey(client().client_id))).client
        moved = await store.transition(FamilyKey(family_id(99)), rotated(bytes(32)), now=NOW)
        previous.close()
        await store.aclose()

        assert copied.family == replace(original.family, id=family_id(99), sid=Sid("copied"))
        assert kept == client()
        assert moved == original.family.head.generation + 1

    asyncio.run(law())


def test_opening_migrates_under_the_previous_version_s_feet(database: tuple[str, Callable[[], Any]]) -> None:
    """It refreshes before, while and after this version starts."""
    url, connect = database

    async def law() -> None:
        previous = PreviousServer(connect(), revision=PREVIOUS)
        store = await opened(url)
        await devices_on(store)
        await store.aclose()

        def refreshes() -> list[int]:
            return [previous.rotate(family_id(0), digest=bytes([n]) * 32, now=NOW) for n in range(40)]

        generations, again = await asyncio.gather(asyncio.to_thread(refreshes), opened(url))
        await again.aclose()
        previous.close()

        assert generations == list(range(generations[0], generations[0] + 40))

    asyncio.run(law())


# ── the law of migrations ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["everywhere", "postgresql"])
def test_every_statement_of_the_previous_version_still_fits(kind: str, tmp_path: Path, postgres_url: str) -> None:
    """All of them, compiled against this version's schema by the databases themselves."""
    texts = statements_of(PREVIOUS)[kind]
    if kind == "everywhere":
        upgrade("sqlite", lambda: sqlite3.connect(tmp_path / "portero.db"))
        with closing(sqlite3.connect(tmp_path / "portero.db")) as connection:
            for text in texts.values():
                connection.execute(f"EXPLAIN {text}", (None,) * text.count("?"))
    upgrade("postgresql+psycopg", lambda: psycopg.connect(postgres_url))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for n, text in enumerate(texts.values()):
            pieces = text.split("?")
            numbered = pieces[0] + "".join(f"${i}{piece}" for i, piece in enumerate(pieces[1:], 1))
            connection.execute(f"PREPARE p{n} AS {numbered}")

    assert len(texts) > 10


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_a_migration_only_adds(revision: str, tmp_path: Path) -> None:
    """No table, column or index goes or changes; what is new may be left out by who does not know it."""
    before = described(tmp_path / "before.db", REVISIONS[REVISIONS.index(revision) - 1])
    after = described(tmp_path / "after.db", revision)

    for table, (columns, unique) in before.items():
        now, now_unique = after[table]
        assert {name: now.get(name) for name in columns} == columns
        assert unique == now_unique, "a new unique index may refuse what the previous version writes"
        for name in set(now) - set(columns):
            _, not_null, default = now[name]
            assert default is not None or not not_null, f"{table}.{name} must be nullable or have a default"


def described(path: Path, revision: str) -> dict[str, tuple[dict[str, tuple[Any, ...]], set[str]]]:
    """Columns (type, not null, default) and unique indexes of each table at a revision."""
    upgrade("sqlite", lambda: sqlite3.connect(path), revision=revision)
    found = {}
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
            indexes = connection.execute(f"PRAGMA index_list({table})").fetchall()
            found[table] = (
                {name: (kind, not_null, default) for _, name, kind, not_null, default, _ in rows},
                {index for _, index, unique, _, _ in indexes if unique},
            )
    return found


def test_the_previous_version_s_statements_are_kept() -> None:
    """A migration brings the frozen statements of the commit before it (`previous/freeze.py` says how)."""
    assert statements_of(PREVIOUS)["everywhere"].keys() > {"loads._FAMILY", "rows_sessions._MOVE_FAMILY"}
