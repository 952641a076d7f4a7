"""`make soak`: the laws of a refresh for a long time: crashes, races, random stories, and ten thousand idle
connections at the gateway; in turn until the time is up.

`DURATION` is seconds (default 600), `SEED` repeats a run's choices (default: the clock's), but not the system's timing
nor Hypothesis' stories, which are printed as steps where they fail. Progress is a line per
round. The last line is `soak runs=… kills=… lost=… stolen=…`; exit code 1 where a law broke.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import sys
import tempfile
import time
import traceback
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from tests.crash.load import Load, Tally
from tests.crash.moments import kill_once
from tests.races.fleet import PAGE, Fleet, attempt, refresh_form

from bench.soak_gateway import idle_connections
from portero.adapters.storage.postgresql import PostgresStore
from portero.adapters.storage.sqlite import SqliteStore
from portero.adapters.system import SystemRandom
from portero.core.sessions.records import Profile
from portero.ports import Store
from portero.testing.postgresql import PostgresServer, running_postgres
from portero.testing.session_machine import session_machine

DEVICES = 16
KILLS_A_ROUND = 8
RACES_A_ROUND = 40
STORIES_A_ROUND = 20


@dataclass
class Soak:
    """The whole run. `runs` counts kills survived, races and stories."""

    dice: random.Random
    deadline: float
    tally: Tally = field(default_factory=Tally)
    runs: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def time_is_up(self) -> bool:
        return time.monotonic() >= self.deadline

    def crashes(self, kind: str) -> str:
        """Kill under load, again and again, on one database that grows old."""
        with fleet_on(kind) as (fleet, postgres):
            load = Load(fleet, devices=DEVICES, seed=self.dice.getrandbits(64))
            for _ in range(KILLS_A_ROUND):
                if self.time_is_up or load.tally.broken:
                    break
                kill_once(load, dice=self.dice, postgres=postgres)
                self.runs += 1
            self.tally.add(load.tally)
            counted = load.tally
            return f"{counted.kills} kills, {counted.answers} refreshes, {counted.retries} unanswered"

    def races(self, kind: str) -> str:
        """Many at once with one token: one successor for all who prove themselves, one winner among strangers."""
        with fleet_on(kind) as (fleet, _):
            devices = fleet.signed_in(RACES_A_ROUND)
            raced = 0
            for tokens in devices:
                if self.time_is_up:
                    break
                raced += 1
                racers, together = self.dice.randrange(2, 25), self.dice.random() < 0.5
                mine = attempt()
                forms = [
                    refresh_form(tokens["refresh_token"], attempt=mine if together else attempt(), client=PAGE)
                    for _ in range(racers)
                ]
                answers = asyncio.run(fleet.at_once([("/token", form) for form in forms]))
                served = [answer.json()["refresh_token"] for answer in answers if answer.status_code == 200]
                if len(set(served)) != 1 or len(served) != (racers if together else 1):
                    self.tally.broken.append(f"{racers} racers, {len(served)} served, {len(set(served))} successors")
            self.runs += raced
            return f"{raced} races"

    def idle(self, _: str) -> str:
        """Ten thousand connections that say nothing, at the embedded gateway."""
        said, broken = idle_connections(lambda: self.time_is_up)
        self.tally.broken += broken
        self.runs += 1
        return said

    def stories(self, kind: str) -> str:
        """Random lives of a session, on one store."""
        with ground(kind) as (folder, postgres):

            async def open_store() -> Store:
                number = next(self._numbers)
                if postgres is None:
                    return await SqliteStore.open(folder / f"{number}.db", random=SystemRandom())
                return await PostgresStore.open(postgres.create_database(f"story_{number}"), random=SystemRandom())

            profile = self.dice.choice(list(Profile))
            case = session_machine(open_store, profile=profile, max_examples=STORIES_A_ROUND)
            case.settings = settings(case.settings, derandomize=False)  # type: ignore[attr-defined]  # made by Hypothesis
            result = unittest.TestResult()
            case("runTest").run(result)
            self.runs += STORIES_A_ROUND
            self.tally.broken += [text for _, text in (*result.failures, *result.errors)]
            return f"{STORIES_A_ROUND} stories, profile {profile.value}"


@contextlib.contextmanager
def ground(kind: str) -> Iterator[tuple[Path, PostgresServer | None]]:
    """A folder, and a PostgreSQL server where that is the kind. New for each round: recovery after a kill looks at
    every file there is, and a server with hundreds of databases takes half a minute for it."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="portero-soak-"))
        yield Path(folder), None if kind == "SQLite" else stack.enter_context(running_postgres())


@contextlib.contextmanager
def fleet_on(kind: str) -> Iterator[tuple[Fleet, PostgresServer | None]]:
    """Two servers on a new database."""
    with ground(kind) as (folder, postgres):
        database = "portero.db" if postgres is None else postgres.create_database("soak")
        with Fleet(folder, database) as fleet:
            yield fleet, postgres


def main() -> int:
    duration = float(os.environ.get("DURATION") or 600)
    seed = int(os.environ.get("SEED") or time.time())
    print(f"soak for {duration:.0f} s, SEED={seed}", flush=True)
    began = time.monotonic()
    soak = Soak(random.Random(seed), began + duration)
    rounds: list[tuple[str, Callable[[str], str]]] = [
        ("crashes", soak.crashes),
        ("races", soak.races),
        ("stories", soak.stories),
    ]
    on_stores = [(kind, *one) for one in rounds for kind in ("SQLite", "PostgreSQL")]
    turns = itertools.cycle([*on_stores, ("gateway", "idle", soak.idle)])
    while not soak.time_is_up and not soak.tally.broken:
        kind, name, one = next(turns)
        try:
            said = one(kind)
        except Exception:
            soak.tally.broken.append(traceback.format_exc())
            said = "failed"
        print(f"{time.monotonic() - began:7.0f} s  {kind:10}  {name:7}  {said}", flush=True)
    for broken in soak.tally.broken:
        print(f"broken: {broken}", file=sys.stderr)
    tally = soak.tally
    print(f"soak runs={soak.runs} kills={tally.kills} lost={tally.lost} stolen={tally.stolen}")
    return 1 if tally.broken or tally.lost or tally.stolen else 0


if __name__ == "__main__":
    sys.exit(main())
