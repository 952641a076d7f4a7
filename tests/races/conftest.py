"""What the races share: a fleet on each database, started once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from portero.testing.postgresql import PostgresServer, running_postgres
from tests.authorization_server.back_channel import BackChannel
from tests.races.fleet import Fleet


@pytest.fixture
def server() -> Iterator[BackChannel]:
    """One server in memory, with a clock that is told the time."""
    with asyncio.Runner() as runner:
        yield BackChannel(runner)


@pytest.fixture(scope="session")
def race_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the races."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two servers on one database; every test signs in devices of its own."""
    folder: Path = tmp_path_factory.mktemp("fleet")
    if request.param == "sqlite":
        database = "portero.db"
    else:
        database = request.getfixturevalue("race_postgres").create_database("races")
    with Fleet(folder, database) as running:
        yield running
