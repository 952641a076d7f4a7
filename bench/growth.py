"""The cost of a refresh as the store grows: the second half of `make bench NAME=refresh`.

The same load on the same server, with ten thousand sessions in the store and then ten and a hundred times as many
(a thousand times with `SESSIONS=10000000`, on tens of gigabytes of disk and for a quarter of an hour). Every refresh is
of another session, drawn from the whole store. Rows are full-grown copies of a real session (`bench.crowd`).
"""

from __future__ import annotations

import os
import random
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.load import drive
from bench.processes import family_of
from bench.report import median
from bench.rounds import Measured, measured
from bench.servers import Portero

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
DEFAULT = 1_000_000
LARGEST = int(os.environ.get("SESSIONS") or DEFAULT)
DRAWN = 60_000
"""Sessions that may be asked for in one run: more than are refreshed, so each one once."""
WARM_SECONDS, SECONDS, ROUNDS = 1.5, 2.0, 3
BYTES_A_SESSION = 6_000
"""Room on the disk for each, indexes and log included."""
AIM = 1.5


@dataclass(frozen=True, slots=True)
class Growth:
    """What was found."""

    figures: dict[str, list[dict[str, Any]]]
    """By database: a row a size."""
    ratios: dict[str, float]
    """By database: CPU of a refresh in the largest store over that in the smallest."""
    table: list[dict[str, str]]

    @property
    def met(self) -> bool:
        return max(self.ratios.values()) <= AIM


def growth(folder: Path) -> Growth:
    """Measure SQLite, and PostgreSQL where it can be started."""
    folder.mkdir()
    sizes = [size for size in SIZES if size <= LARGEST]
    free = shutil.disk_usage(folder).free
    if sizes[-1] * BYTES_A_SESSION * 2 > free:
        raise SystemExit(f"error: SESSIONS={sizes[-1]} needs {sizes[-1] * BYTES_A_SESSION * 2 >> 30} GiB in {folder}")
    figures = {"SQLite": _grown(Portero("portero.db", folder / "sqlite"), sizes, database=None)}
    with ExitStack() as running:
        try:
            from portero.testing.postgresql import running_postgres

            server = running.enter_context(running_postgres())
        except (ImportError, OSError, RuntimeError) as error:
            print(f"missing: PostgreSQL ({type(error).__name__})")
        else:
            portero = Portero(server.create_database("growth"), folder / "postgresql")
            postmaster = int((server.folder / "data/postmaster.pid").read_text().split()[0])
            figures["PostgreSQL"] = _grown(portero, sizes, database=postmaster)
    return _compared(figures)


def _grown(portero: Portero, sizes: list[int], *, database: int | None) -> list[dict[str, Any]]:
    found = []
    for size in sizes:
        began = time.perf_counter()
        portero.crowd.grow(size)
        filled = time.perf_counter() - began
        with portero.running() as server:
            # The smallest store is asked for each of its sessions several times.
            drawn = random.Random(size).sample(range(size), min(size, DRAWN))
            chains = server.chains(portero.crowd.take(drawn))
            uvloop.run(drive(server.port, chains, seconds=WARM_SECONDS))
            pids = [] if database is None else family_of(database)
            rounds = [measured(server, chains, database=pids, seconds=SECONDS) for _ in range(ROUNDS)]
        figure = {"sessions": size, "seconds_to_fill": round(filled, 1), **_figures(rounds)}
        print(f"{'PostgreSQL' if database else 'SQLite'}: {figure}", flush=True)
        found.append(figure)
    return found


def _figures(rounds: list[Measured]) -> dict[str, float]:
    return {
        "rate": round(median([one.rate for one in rounds])),
        "cpu_us_per_refresh": round(median([one.cpu_us + 1e6 * one.database.cpu / one.done for one in rounds]), 1),
        "p99_ms": round(median([1000 * one.outcome.quantile(0.99) for one in rounds]), 1),
        "other_work_on_the_machine": round(median([one.others for one in rounds]), 2),
    }


def _compared(figures: dict[str, list[dict[str, Any]]]) -> Growth:
    table: list[dict[str, str]] = []
    ratios: dict[str, float] = {}
    for name, rows in figures.items():
        first, last = rows[0], rows[-1]
        ratios[name] = round(last["cpu_us_per_refresh"] / first["cpu_us_per_refresh"], 2)
        with_database = ", the database's CPU included" if name == "PostgreSQL" else ""
        table.append(
            {
                "what": f"cost of a refresh on {name}, {first['sessions']:,} → {last['sessions']:,} sessions",
                "measured": f"{first['cpu_us_per_refresh']:.0f} → {last['cpu_us_per_refresh']:.0f} µs of CPU"
                f"{with_database}: {ratios[name]} ×; {first['rate']} → {last['rate']}/s",
                "aim": f"≤ {AIM} ×",
                "with": "" if LARGEST == DEFAULT else f" SESSIONS={LARGEST}",
            }
        )
    return Growth(figures, ratios, table)
