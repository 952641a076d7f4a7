"""Every store keeps the exported laws."""

from __future__ import annotations

from pathlib import Path

import pytest

from portero.adapters.storage.memory import MemoryStore
from portero.adapters.storage.postgresql import PostgresStore
from portero.adapters.storage.sqlite import SqliteStore
from portero.ports import Store
from portero.testing.store_conformance import MakeStore, SharedStoreConformance, StoreConformance
from tests.storage.ports import SystemRandom


class TestMemory(StoreConformance):
    """The in-memory store."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        async def make() -> Store:
            return MemoryStore(random=SystemRandom())

        return make


class TestMemoryDecidingTwice(StoreConformance):
    """The in-memory store that runs every decision twice, as a database may after a conflict."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        async def make() -> Store:
            return MemoryStore(random=SystemRandom(), decide_twice=True)

        return make


class TestSqlite(StoreConformance, SharedStoreConformance):
    """The store in a SQLite file."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        async def make() -> Store:
            return await SqliteStore.open(tmp_path / "portero.db", random=SystemRandom())

        return make


class TestPostgres(StoreConformance, SharedStoreConformance):
    """The store in PostgreSQL."""

    @pytest.fixture
    def make_store(self, postgres_url: str) -> MakeStore:
        async def make() -> Store:
            return await PostgresStore.open(postgres_url, random=SystemRandom())

        return make
