"""kill -9 of the servers and of PostgreSQL under refresh load (issue "a refresh …", proof 3).

After each: one live successor per family, which is the one the device was given; no false theft; nobody lost.
`PORTERO_KILLS` sets how often (default 3 each; `make soak` kills hundreds of times). A kill alone does not show a
missing fsync: that `synchronous=FULL`, `fsync` and `synchronous_commit` hold on every connection is
`test_every_connection_is_durable` of tests/storage/test_sqlite.py and test_postgresql.py.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from portero.testing.postgresql import running_postgres
from tests.crash.load import Load, Tally
from tests.crash.moments import kill_once
from tests.races.fleet import Fleet

KILLS = int(os.environ.get("PORTERO_KILLS", "3"))


def held(tally: Tally) -> bool:
    """Whether the laws held; pytest then shows the tally."""
    return not tally.broken and tally.lost == tally.stolen == 0


def test_servers_killed_under_load_lose_nobody(tmp_path: Path) -> None:
    """Two servers on one SQLite file: one of them, the other, or both."""
    dice = random.Random(3)
    with Fleet(tmp_path) as fleet:
        load = Load(fleet, devices=12, seed=3)
        for _ in range(KILLS):
            kill_once(load, dice=dice)

            assert held(load.tally), load.tally

    assert load.tally.kills == KILLS


def test_a_killed_postgresql_loses_nobody(tmp_path: Path) -> None:
    """The database alone, and the servers go on without a restart; the servers; or both."""
    dice = random.Random(4)
    with running_postgres() as postgres, Fleet(tmp_path, postgres.create_database("crash")) as fleet:
        load = Load(fleet, devices=12, seed=4)
        for _ in range(KILLS):
            kill_once(load, dice=dice, postgres=postgres)

            assert held(load.tally), load.tally

    assert load.tally.kills == KILLS
