"""What the storage tests share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from portero.testing.postgresql import PostgresServer, running_postgres

_NUMBERS = count()

# So that a law that fails shows both sides.
pytest.register_assert_rewrite("portero.testing.store_laws")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the session; each test makes its own database in it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.create_database(f"test_{next(_NUMBERS)}")
