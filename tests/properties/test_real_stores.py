"""Random lives of a device session against the real stores (issue "a refresh …", proof 2).

Several requests of one story are at once in one writer's queue and, in the shared variants, in those of two
servers on one database. `PORTERO_STORIES` sets how many stories each machine tells (default 8; `make soak` tells
hundreds).
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest

from portero.adapters.storage.postgresql import PostgresStore
from portero.adapters.storage.sqlite import SqliteStore
from portero.adapters.system import SystemRandom
from portero.core.sessions.records import Profile
from portero.core.transitions import Decision, Key
from portero.core.types import NumericDate
from portero.ports import Store
from portero.testing.postgresql import PostgresServer
from portero.testing.session_machine import session_machine

A = TypeVar("A")
R = TypeVar("R")

STORIES = int(os.environ.get("PORTERO_STORIES", "8"))
STEPS = 25


class TwoServers:
    """A `Store` that is two of them on one database; whoever asks is served by one and then by the other."""

    def __init__(self, stores: tuple[Store, Store]) -> None:
        self._stores = stores
        self._turns = itertools.cycle(stores)

    async def read(self, key: Key[A]) -> A:
        return await next(self._turns).read(key)

    async def transition(self, key: Key[A], decide: Callable[[A], Decision[R]], *, now: NumericDate) -> R:
        return await next(self._turns).transition(key, decide, now=now)

    def changes(self) -> AsyncIterator[None]:
        return self._stores[0].changes()

    async def aclose(self) -> None:
        for store in self._stores:
            await store.aclose()


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="portero-stories-"))


@cache
def _postgres() -> PostgresServer:
    server = PostgresServer()
    server.start()
    return server


_numbers = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def _no_traces() -> Iterator[None]:
    yield
    if _folder.cache_info().currsize:
        shutil.rmtree(_folder())
        _folder.cache_clear()
    if _postgres.cache_info().currsize:
        _postgres().remove()
        _postgres.cache_clear()


async def on_sqlite() -> Store:
    """An empty file."""
    return await SqliteStore.open(_folder() / f"{next(_numbers)}.db", random=SystemRandom())


async def on_sqlite_twice() -> Store:
    """Two servers on an empty file."""
    path = _folder() / f"{next(_numbers)}.db"
    first = await SqliteStore.open(path, random=SystemRandom())
    return TwoServers((first, await SqliteStore.open(path, random=SystemRandom())))


async def on_postgres() -> Store:
    """An empty database."""
    return await PostgresStore.open(_postgres().create_database(f"story_{next(_numbers)}"), random=SystemRandom())


async def on_postgres_twice() -> Store:
    """Two servers on an empty database."""
    url = _postgres().create_database(f"story_{next(_numbers)}")
    first = await PostgresStore.open(url, random=SystemRandom())
    return TwoServers((first, await PostgresStore.open(url, random=SystemRandom())))


def _machine(open_store: Callable[[], Any], profile: Profile) -> Any:
    return session_machine(open_store, profile=profile, max_examples=STORIES, steps=STEPS)


TestSqliteBound = _machine(on_sqlite, Profile.BOUND)
TestSqliteAttempt = _machine(on_sqlite_twice, Profile.ATTEMPT)
TestSqlitePlain = _machine(on_sqlite, Profile.PLAIN)
TestPostgresBound = _machine(on_postgres, Profile.BOUND)
TestPostgresAttempt = _machine(on_postgres_twice, Profile.ATTEMPT)
TestPostgresPlain = _machine(on_postgres, Profile.PLAIN)
