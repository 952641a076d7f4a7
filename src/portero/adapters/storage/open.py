"""Which store a setting names. Called from composition roots only."""

from __future__ import annotations

from pathlib import Path

from portero.core.errors import ConfigurationError
from portero.ports import Clock, Random, Store

_EXPECTED = "write `memory:`, a path, `sqlite:///path` or `postgresql://user@host/database`"


async def open_store(url: str, *, random: Random, clock: Clock) -> Store:
    """Open the store that `url` names, creating or migrating its schema where that is due.

    Args:
        url: `memory:`, a path or `sqlite:///path` (SQLite; three slashes: relative to the
            working directory, four: absolute), or `postgresql://…`.
        random: for the feed's epoch of a new database.
        clock: for waits and polls.

    Raises:
        ConfigurationError: no such kind of store, a folder that is missing, a damaged file, or
            a schema that is newer than this program.
        Unavailable: the database cannot be reached now.
    """
    if url == "memory:":
        from portero.adapters.storage.memory import MemoryStore

        return MemoryStore(random=random)
    if url.startswith(("postgresql://", "postgres://")):
        try:
            from portero.adapters.storage.postgresql import PostgresStore
        except ModuleNotFoundError as missing:
            expected = f"PostgreSQL needs the extra `portero[postgres]` ({missing.name} is not installed)"
            raise ConfigurationError("database", "postgresql://…", expected) from missing
        return await PostgresStore.open(url, random=random)
    path = url.removeprefix("sqlite:///")
    if not path or "://" in path or path == ":memory:":
        raise ConfigurationError("database", url, _EXPECTED)
    from portero.adapters.storage.sqlite import SqliteStore

    return await SqliteStore.open(Path(path), random=random)
