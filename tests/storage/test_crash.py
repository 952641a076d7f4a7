"""kill -9 at random moments under load: nothing acknowledged is lost, and nothing happens twice.

`PORTERO_CRASHES` sets how often (default 6; hundreds in a long run). A kill alone does not show a
missing fsync; that `synchronous=FULL` holds on every connection is `test_sqlite`'s.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from portero.adapters.storage.open import open_store
from portero.core.transitions import CodeKey, SessionKey
from portero.core.types import Sid
from portero.ports import Store
from portero.testing.store_laws.steps import put
from portero.testing.store_samples import NOW, authorization_code, device_session, digest
from tests.storage.crash_child import CODES, SESSIONS
from tests.storage.ports import SystemClock, SystemRandom

CRASHES = int(os.environ.get("PORTERO_CRASHES", "6"))
ROOT = Path(__file__).parents[2]


class Acknowledged:
    """What killed programs said before they died."""

    def __init__(self) -> None:
        self.values: dict[int, list[int]] = {n: [] for n in range(SESSIONS)}
        self.uses: Counter[int] = Counter()

    def note(self, output: bytes) -> None:
        # The last line may be cut.
        for line in output.split(b"\n")[:-1]:
            match line.split():
                case [b"s", n, value]:
                    self.values[int(n)].append(int(value))
                case [b"c", n]:
                    self.uses[int(n)] += 1

    async def check(self, store: Store) -> None:
        for n, values in self.values.items():
            session = (await store.read(SessionKey(Sid(f"s{n}")))).session
            assert session is not None
            assert len(set(values)) == len(values)
            assert session.last_seen >= max(values, default=NOW)
        for n, times in self.uses.items():
            code = (await store.read(CodeKey(digest(f"c{n}")))).code
            assert times == 1
            assert code is not None
            assert code.used is not None


def nothing() -> None:
    """SQLite has no server to kill or start."""


def killed_after(url: str, *, seed: int, lines: int, programs: int, kill_database: Callable[[], None]) -> list[bytes]:
    """Start programs on the database, kill it and each of them with SIGKILL once one said so many lines.

    Returns:
        What each program said.
    """
    command = [sys.executable, "-m", "tests.storage.crash_child", url]
    children = [
        subprocess.Popen([*command, str(seed * 10 + i)], stdout=subprocess.PIPE, cwd=ROOT) for i in range(programs)
    ]
    said = [b""] * programs
    try:
        first = children[0].stdout
        assert first is not None
        for _ in range(lines):
            line = first.readline()
            assert line
            said[0] += line
        kill_database()
    finally:
        for child in children:
            child.kill()
    for i, child in enumerate(children):
        said[i] += child.communicate()[0]
    return said


def crash_often(
    url: str,
    *,
    programs: int,
    lines: int = 2000,
    kill_database: Callable[[], None] = nothing,
    start_database: Callable[[], None] = nothing,
) -> Acknowledged:
    """Fill the database, then kill and check, again and again, each time within so many lines said."""

    async def fill() -> None:
        store = await open_store(url, random=SystemRandom(), clock=SystemClock())
        await put(store, *(device_session(f"s{n}") for n in range(SESSIONS)))
        await put(store, *(authorization_code(f"c{n}") for n in range(CODES)))
        await store.aclose()

    async def check() -> None:
        store = await open_store(url, random=SystemRandom(), clock=SystemClock())
        await acknowledged.check(store)
        await store.aclose()

    acknowledged = Acknowledged()
    asyncio.run(fill())
    choose = random.Random(20)
    for seed in range(CRASHES):
        for output in killed_after(
            url, seed=seed, lines=choose.randrange(1, lines), programs=programs, kill_database=kill_database
        ):
            acknowledged.note(output)
        start_database()
        asyncio.run(check())
    return acknowledged


def test_a_killed_server_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    """Every acknowledged change stands, each value was given out once, each code was used once."""
    acknowledged = crash_often(str(tmp_path / "portero.db"), programs=1)

    assert acknowledged.uses.total() > 0


def test_servers_killed_together_lose_nothing_they_acknowledged(tmp_path: Path) -> None:
    """Two programs on one file."""
    acknowledged = crash_often(str(tmp_path / "portero.db"), programs=2)

    assert acknowledged.uses.total() > 0
