"""SQLite's own: settings of every connection, opening, failures of the disk, other processes, the revocations file."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from portero.adapters.storage import sqlite_connections
from portero.adapters.storage.journal import journal_of
from portero.adapters.storage.open import open_store
from portero.adapters.storage.sqlite import SqliteStore
from portero.adapters.storage.sqlite_connections import PRAGMAS
from portero.adapters.storage.sqlite_writer import SqliteWriter
from portero.adapters.storage.wakeups import Wakeups
from portero.core.errors import ConfigurationError, Unavailable
from portero.core.transitions import ClientsKey, Delete, FeedKey, LoginKey, ReplayKey, Revoke, SessionKey
from portero.core.types import NumericDate, Sid
from portero.testing.store_laws.steps import put, seen_once_more, write
from portero.testing.store_samples import DAY, NOW, device_session, digest, login_transaction, replay_mark, revocation
from tests.storage.ports import SystemClock, SystemRandom


def run_on(path: Path, law: Callable[[SqliteStore], Coroutine[Any, Any, None]], *, busy_timeout: float = 5.0) -> None:
    async def run() -> None:
        store = await SqliteStore.open(path, random=SystemRandom(), busy_timeout=busy_timeout)
        try:
            await law(store)
        finally:
            await store.aclose()

    asyncio.run(run())


def refusal(url: str) -> ConfigurationError:
    async def run() -> None:
        await (await open_store(url, random=SystemRandom(), clock=SystemClock())).aclose()

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(run())
    return caught.value


async def outcome(step: Coroutine[Any, Any, Any]) -> object:
    (result,) = await asyncio.gather(step, return_exceptions=True)
    return result


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


# ── settings ─────────────────────────────────────────────────────────────────────────


def test_every_connection_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WAL, synchronous=FULL, foreign keys and a busy timeout hold on each connection the store opens."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recording(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        opened.append(connect(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(sqlite_connections.sqlite3, "connect", recording)
    found = []

    async def law(store: SqliteStore) -> None:
        await put(store, replay_mark())
        await store.read(LoginKey(digest("login")))
        await store.read(ClientsKey())
        for connection in opened[1:]:
            found.append([connection.execute(f"PRAGMA {name}").fetchone()[0] for name, _ in PRAGMAS])
            found[-1].append(connection.execute("PRAGMA busy_timeout").fetchone()[0] > 0)

    run_on(tmp_path / "portero.db", law)

    assert dict(PRAGMAS)["journal_mode"] == "wal"
    assert dict(PRAGMAS)["synchronous"] == 2
    assert dict(PRAGMAS)["foreign_keys"] == 1
    assert found == [[*dict(PRAGMAS).values(), True]] * 3


def test_no_other_module_connects() -> None:
    """There is one place that opens SQLite connections, so the settings cannot be forgotten."""
    storage = Path(sqlite_connections.__file__).parent
    connecting = [path.name for path in storage.rglob("*.py") if "sqlite3.connect(" in path.read_text(encoding="utf-8")]

    assert connecting == ["sqlite_connections.py"]


def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """Database, write-ahead log and revocations file are mode 0600."""
    modes = {}

    async def law(store: SqliteStore) -> None:
        await write(store, Revoke(revocation()))
        modes.update(modes_in(tmp_path))

    run_on(tmp_path / "portero.db", law)

    names = {"portero.db", "portero.db-wal", "portero.db-shm", "portero.db.revocations"}
    assert modes == dict.fromkeys(names, 0o600)


# ── opening ──────────────────────────────────────────────────────────────────────────


def test_starting_imports_no_migration_machinery(tmp_path: Path) -> None:
    """A new and a current database are opened without SQLAlchemy and Alembic."""
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from portero.adapters.storage.open import open_store
from tests.storage.ports import SystemClock, SystemRandom
async def run():
    await (await open_store({str(tmp_path / "p.db")!r}, random=SystemRandom(), clock=SystemClock())).aclose()
asyncio.run(run()); asyncio.run(run())
print(sorted({{"sqlalchemy", "alembic"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    """Records, feed and epoch outlive the store object."""
    feeds = []

    async def first(store: SqliteStore) -> None:
        await write(store, Revoke(revocation()))
        feeds.append(await store.read(FeedKey(after=0, live_at=NOW)))

    async def second(store: SqliteStore) -> None:
        feeds.append(await store.read(FeedKey(after=0, live_at=NOW)))

    run_on(tmp_path / "portero.db", first)
    run_on(tmp_path / "portero.db", second)

    assert feeds[0] == feeds[1]
    assert len(feeds[0].entries) == 1


def test_a_newer_schema_stops_start_up_and_says_what_to_do(tmp_path: Path) -> None:
    """A database that a newer Portero migrated is not touched by an older one."""

    async def nothing(store: SqliteStore) -> None: ...

    run_on(tmp_path / "portero.db", nothing)
    with sqlite3.connect(tmp_path / "portero.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffff'")
    connection.close()
    error = refusal(str(tmp_path / "portero.db"))

    assert error.setting == "database"
    assert "newer Portero" in str(error)


@pytest.mark.parametrize(
    "content",
    [b"not a database at all, but long enough to be looked at" * 40, b"SQLite format 3\0" * 300],
)
def test_a_damaged_file_stops_start_up_and_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    """Nothing is repaired or overwritten."""
    path = tmp_path / "portero.db"
    path.write_bytes(content)
    error = refusal(str(path))

    assert "damaged" in str(error)
    assert "backup" in str(error)
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """A file with tables that are not ours is refused."""
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    assert "another program" in str(refusal(str(tmp_path / "other.db")))


@pytest.mark.parametrize("url", ["", "mysql://localhost/x", "sqlite:///", ":memory:", "sqlite://host/x"])
def test_a_setting_that_names_no_store_says_what_may_be_written(url: str) -> None:
    """The message lists the forms."""
    assert "`postgresql://" in str(refusal(url))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The folder is not made up; the message says to create it."""
    assert "create the folder" in str(refusal(str(tmp_path / "missing" / "portero.db")))


def test_several_programs_may_create_the_database_together(tmp_path: Path) -> None:
    """One creates, the others find it; all see the same epoch."""

    async def run() -> set[str]:
        opens = (SqliteStore.open(tmp_path / "portero.db", random=SystemRandom()) for _ in range(6))
        stores = await asyncio.gather(*opens)
        epochs = {(await store.read(FeedKey(after=0, live_at=NOW))).epoch for store in stores}
        for store in stores:
            await store.aclose()
        return epochs

    assert len(asyncio.run(run())) == 1


# ── failures ─────────────────────────────────────────────────────────────────────────


def test_a_full_disk_is_unavailable_and_then_service_goes_on(tmp_path: Path) -> None:
    """Nothing of a transition that met it is committed; when there is room again, the same store works."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    async def law(store: SqliteStore) -> None:
        await put(store, device_session())
        size = (tmp_path / "portero.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, before[1]))
        try:
            met = [await outcome(put(store, login_transaction(f"l{n}"))) for n in range(5)]
            readable = await store.read(SessionKey(Sid("sid-1")))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        after = await store.transition(SessionKey(Sid("sid-1")), seen_once_more, now=NOW)
        stored = [await store.read(LoginKey(digest(f"l{n}"))) for n in range(5)]

        refused = [isinstance(answer, Unavailable) for answer in met]
        assert any(refused)
        assert refused == [record is None for record in stored]
        assert readable.session == device_session()
        assert after == NOW + 1

    try:
        run_on(tmp_path / "portero.db", law)
    finally:
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_revocation_that_cannot_be_kept_outside_is_not_committed(tmp_path: Path) -> None:
    """The file beside the database belongs to the transaction: no line, no commit, and `Unavailable`."""

    async def law(store: SqliteStore) -> None:
        (tmp_path / "portero.db.revocations").mkdir()
        met = await outcome(write(store, Revoke(revocation())))
        feed = await store.read(FeedKey(after=0, live_at=NOW))
        (tmp_path / "portero.db.revocations").rmdir()
        await write(store, Revoke(revocation()))

        assert isinstance(met, Unavailable)
        assert feed.entries == ()
        assert len((await store.read(FeedKey(after=0, live_at=NOW))).entries) == 1

    run_on(tmp_path / "portero.db", law)


def test_a_database_locked_for_long_is_unavailable_and_then_service_goes_on(tmp_path: Path) -> None:
    """Reads go on meanwhile."""

    async def law(store: SqliteStore) -> None:
        await put(store, device_session())
        other = sqlite3.connect(tmp_path / "portero.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        met = await outcome(put(store, replay_mark()))
        readable = await store.read(SessionKey(Sid("sid-1")))
        other.execute("ROLLBACK")
        other.close()
        await put(store, replay_mark())

        assert isinstance(met, Unavailable)
        assert readable.session == device_session()
        assert await store.read(ReplayKey(digest("jti"))) == replay_mark()

    run_on(tmp_path / "portero.db", law, busy_timeout=0.05)


def test_a_database_that_goes_away_is_unavailable_and_served_again_when_it_is_back(tmp_path: Path) -> None:
    """No empty file is put in its place; what is open already still answers reads."""

    async def law(store: SqliteStore) -> None:
        await put(store, device_session())
        await store.aclose()
        again = await SqliteStore.open(tmp_path / "portero.db", random=SystemRandom())
        (tmp_path / "portero.db").rename(tmp_path / "away")
        met = [await outcome(again.read(ClientsKey())), await outcome(put(again, replay_mark()))]
        there = (tmp_path / "portero.db").exists()
        (tmp_path / "away").rename(tmp_path / "portero.db")
        read = await again.read(SessionKey(Sid("sid-1")))
        await put(again, replay_mark())
        await again.aclose()

        assert [type(answer) for answer in met] == [Unavailable, Unavailable]
        assert not there
        assert read.session == device_session()

    run_on(tmp_path / "portero.db", law)


# ── another process ──────────────────────────────────────────────────────────────────


def test_a_write_of_another_process_that_is_no_revocation_wakes_nobody(tmp_path: Path) -> None:
    """Followers are woken for the feed alone."""

    path = tmp_path / "portero.db"

    async def law(store: SqliteStore) -> None:
        wakeups = Wakeups()
        writer = SqliteWriter(path, journal=journal_of(path), wakeups=wakeups, busy_timeout=1.0)
        subscription = wakeups.subscribe()

        async def woken() -> bool:
            writer.poll()
            waiting = asyncio.ensure_future(anext(subscription))
            for _ in range(5):
                await asyncio.sleep(0)
            done = waiting.done()
            waiting.cancel()
            return done

        looks = [await woken(), await woken()]
        await put(store, replay_mark())
        looks.append(await woken())
        await write(store, Revoke(revocation()))
        looks += [await woken(), await woken()]
        writer.close()

        # The first look reports what was there before anybody looked.
        assert looks == [True, False, False, True, False]

    run_on(path, law)


# ── the revocations file ─────────────────────────────────────────────────────────────


def test_revocations_are_kept_outside_the_database(tmp_path: Path) -> None:
    """The file holds what the feed holds, a line cut by a crash is passed over, and the next is whole."""
    journal = journal_of(tmp_path / "portero.db")

    async def law(store: SqliteStore) -> None:
        await write(store, Revoke(revocation("s1")), Revoke(revocation("s2")))
        with journal.path.open("ab") as file:
            file.write(b'{"epoch":"cut')
        await write(store, Revoke(revocation("s3")), now=NOW)
        feed = await store.read(FeedKey(after=0, live_at=NumericDate(0)))

        assert tuple(journal.entries()) == feed.entries
        assert [entry.revocation.value for entry in feed.entries] == ["s1", "s2", "s3"]

    run_on(tmp_path / "portero.db", law)


def test_a_session_refreshed_keeps_its_size(tmp_path: Path) -> None:
    """A thousand changes of one session leave the database as large as a hundred did."""
    sizes = []

    async def law(store: SqliteStore) -> None:
        await put(store, device_session(absolute_end=NOW + 30 * DAY))
        for round_of in range(10):
            steps = (store.transition(SessionKey(Sid("sid-1")), seen_once_more, now=NOW) for _ in range(100))
            await asyncio.gather(*steps)
            await write(store, Delete(ReplayKey(digest(f"{round_of}"))))
            with sqlite3.connect(tmp_path / "portero.db") as connection:
                sizes.append(connection.execute("PRAGMA page_count").fetchone()[0])
            connection.close()

    run_on(tmp_path / "portero.db", law)

    assert sizes == [sizes[0]] * 10
