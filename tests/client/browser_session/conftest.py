"""What the tests of the browser session share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portero.client.browser_session import MemorySessions, SealedSessions, Sessions, SqliteSessions
from tests.client.browser_session.world import SESSION_SECRET, World


@pytest.fixture(params=["memory", "sqlite", "sealed"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Sessions:
    """Each place where sessions can be kept."""
    match request.param:
        case "memory":
            return MemorySessions()
        case "sqlite":
            return SqliteSessions(tmp_path / "sessions.db", secrets=[SESSION_SECRET])
        case _:
            return SealedSessions(secrets=[SESSION_SECRET])


@pytest.fixture
def world() -> Iterator[World]:
    """A world of the test's own, its sessions in memory."""
    with World() as one:
        yield one
