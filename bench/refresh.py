"""`make bench NAME=refresh`: refresh grants a second on one core, durable, beside oidc-provider in memory.

Alternating rounds in one run: Portero on SQLite (`synchronous=FULL`), Portero on PostgreSQL (`synchronous_commit=on`),
oidc-provider with the in-memory adapter it comes with, and oidc-provider with a bare map of ours in its place. Each
server process has one core to itself; PostgreSQL's own processes and the load generator have the other. The peer is a
new process with new tokens in every round, warmed up on other tokens: its own adapter slows down as chains grow.
Ratios are taken within a round, so that a machine that is busy for a while weighs on both sides.

Then the cost of a refresh as the store grows (`bench.growth`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from bench.growth import Growth, growth
from bench.load import drive
from bench.plot import bars
from bench.processes import family_of
from bench.report import RESULTS, last_line, median, versions, write_json
from bench.rounds import Measured, measured
from bench.servers import CHAINS, LOAD_CORE, Chain, Portero, Running, install_peer, oidc_provider

SESSIONS = 10_000
WARM_SECONDS, SECONDS = 1.5, 2.5
ROUNDS = int(os.environ.get("ROUNDS", "7"))
AIM_SQLITE, AIM_POSTGRESQL = 2.5, 1.5
SQLITE, POSTGRESQL = "Portero, SQLite, every refresh on disk", "Portero, PostgreSQL, every refresh on disk"
PEER, LEAN = "oidc-provider, its in-memory adapter", "oidc-provider, a bare map of ours as adapter"


@dataclass(slots=True)
class Contender:
    """How it is run, and what its rounds gave."""

    name: str
    start: Callable[[], AbstractContextManager[Running]]
    chains: list[Chain] | None = None
    """Kept from round to round where the server is."""
    database: Callable[[], list[int]] = list
    rounds: list[Measured] = field(default_factory=list)

    def take_round(self) -> None:
        with self.start() as server:
            if self.chains is None:
                uvloop.run(drive(server.port, server.chains(server.mint()), seconds=WARM_SECONDS))
                chains = server.chains(server.mint())
            else:
                chains = self.chains
            self.rounds.append(measured(server, chains, database=self.database(), seconds=SECONDS))


def summary(contender: Contender) -> dict[str, Any]:
    rounds = contender.rounds

    def middle(value: Callable[[Measured], float], digits: int = 2) -> float:
        return round(median([value(one) for one in rounds]), digits)

    return {
        "rate": middle(lambda one: one.rate, 1),
        "rates": [round(one.rate, 1) for one in rounds],
        "p50_ms": middle(lambda one: 1000 * one.outcome.quantile(0.5)),
        "p99_ms": middle(lambda one: 1000 * one.outcome.quantile(0.99)),
        "cpu_us_per_refresh": middle(lambda one: one.cpu_us, 1),
        "cpu_us_per_refresh_of_the_database": middle(lambda one: 1e6 * one.database.cpu / one.done, 1),
        "server_busy": middle(lambda one: one.server.cpu / one.outcome.seconds),
        "database_busy": middle(lambda one: one.database.cpu / one.outcome.seconds),
        "generator_busy": middle(lambda one: one.outcome.generator_busy),
        "other_work_on_the_machine": middle(lambda one: one.others),
        "write_calls_per_refresh": middle(lambda one: (one.server.write_calls + one.database.write_calls) / one.done),
        "bytes_written_per_refresh": middle(
            lambda one: (one.server.bytes_written + one.database.bytes_written) / one.done, 0
        ),
        "refused": sum(one.outcome.refused for one in rounds),
    }


def over(one: Contender, other: Contender) -> dict[str, float]:
    """How many times as many refreshes a second, and how many times as much of them per second of CPU."""
    pairs = list(zip(one.rounds, other.rounds, strict=True))
    return {
        "rate": round(median([a.rate / b.rate for a, b in pairs]), 2),
        "per_cpu_second": round(median([b.cpu_us / a.cpu_us for a, b in pairs]), 2),
    }


def main() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    # Not /tmp: that may be memory, and durable means on a disk.
    folder = Path(tempfile.mkdtemp(prefix="portero-bench-", dir="/var/tmp"))
    try:
        contenders, missing, rows = alternate(folder)
        grown = growth(folder / "grown")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.sched_setaffinity(0, cores)
    report(contenders, missing, rows, grown)


def alternate(folder: Path) -> tuple[list[Contender], list[str], dict[str, float]]:
    contenders, missing, rows = [], [], dict[str, float]()
    with ExitStack() as running:
        contenders.append(kept_running(SQLITE, Portero("portero.db", folder / "sqlite"), running))
        url = ""
        try:
            from portero.testing.postgresql import running_postgres

            database = running.enter_context(running_postgres())
            url = database.create_database("bench")
            postmaster = int((database.folder / "data/postmaster.pid").read_text().split()[0])
            contender = kept_running(POSTGRESQL, Portero(url, folder / "postgresql"), running)
            contender.database = lambda: family_of(postmaster)
            contenders.append(contender)
        except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
            missing.append(f"PostgreSQL ({type(error).__name__})")
        try:
            install_peer()
            contenders.append(Contender(PEER, lambda: oidc_provider(adapter="own")))
            contenders.append(Contender(LEAN, lambda: oidc_provider(adapter="lean")))
        except (OSError, subprocess.CalledProcessError) as error:
            missing.append(f"oidc-provider ({type(error).__name__})")
        before = postgresql_counts(url)
        for number in range(ROUNDS):
            for contender in contenders:
                contender.take_round()
                last = contender.rounds[-1]
                print(
                    f"round {number + 1}: {contender.name}: {last.rate:.0f}/s, {last.cpu_us:.0f} µs of CPU each; "
                    f"generator {last.outcome.generator_busy:.0%} busy, other work {last.others:.2f} cores",
                    flush=True,
                )
        if before:
            done = sum(one.done for one in contenders[1].rounds)
            after = postgresql_counts(url)
            rows = {f"{name}_per_refresh": round((after[name] - before[name]) / done, 3) for name in before}
    return contenders, missing, rows


def kept_running(name: str, portero: Portero, running: ExitStack) -> Contender:
    """A contender whose server runs through all rounds, on a store of `SESSIONS`, warmed up."""
    portero.crowd.grow(SESSIONS)
    server = running.enter_context(portero.running())
    chains = server.chains(map(portero.crowd.token, range(SESSIONS)))
    uvloop.run(drive(server.port, chains, seconds=WARM_SECONDS))
    return Contender(name, lambda: nullcontext(server), chains)


def postgresql_counts(url: str) -> dict[str, int]:
    """Rows written, transactions and bytes of write-ahead log since the server began."""
    if not url:
        return {}
    with psycopg.connect(url) as connection:
        # Counters arrive with up to a second's delay; over all rounds that is nothing.
        counts = connection.execute(
            "SELECT tup_inserted + tup_updated + tup_deleted, xact_commit, pg_current_wal_lsn() - '0/0'::pg_lsn "
            "FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert counts is not None
    return dict(zip(("rows_written", "transactions", "wal_bytes"), map(int, counts), strict=True))


def report(contenders: list[Contender], missing: list[str], rows: dict[str, float], grown: Growth) -> None:
    by_name = {one.name: one for one in contenders}
    figures = {one.name: summary(one) for one in contenders}
    figures.get(POSTGRESQL, {}).update(rows)
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    for name in missing:
        print(f"missing: {name}")
    ratios = {
        f"{name} ÷ {peer}": over(by_name[name], by_name[peer])
        for name in (SQLITE, POSTGRESQL)
        for peer in (PEER, LEAN)
        if name in by_name and peer in by_name
    }
    print(json.dumps(ratios, indent=2, ensure_ascii=False))
    table = []
    for name, what, aim in (
        (SQLITE, "refresh grants a second on one core, SQLite, every one on disk", AIM_SQLITE),
        (POSTGRESQL, "the same on PostgreSQL", AIM_POSTGRESQL),
    ):
        if name not in figures:
            continue
        figure = figures[name]
        measured_text = f"{figure['rate']:.0f}/s, {figure['cpu_us_per_refresh']:.0f} µs of CPU each"
        for peer, called in ((PEER, "oidc-provider in memory"), (LEAN, "it with a bare map for a store")):
            if (ratio := ratios.get(f"{name} ÷ {peer}")) is not None:
                measured_text += f"; {ratio['rate']} × {called}"
        measured_text += f"; p99 {figure['p99_ms']} ms at {CHAINS} at once"
        table.append({"what": what, "measured": measured_text, "aim": f"≥ {aim} × oidc-provider in memory"})
    write_json(
        "refresh",
        {
            "versions": versions("portero", "uvicorn", "uvloop", "cryptography", "psycopg"),
            "sessions": SESSIONS, "connections": CHAINS, "rounds": ROUNDS, "seconds": SECONDS,
            "contenders": figures, "ratios": ratios, "missing": missing, "table": table + grown.table,
            "growth": {"ratios": grown.ratios, "figures": grown.figures},
        },
    )  # fmt: skip
    bars(
        RESULTS / "refresh.svg",
        title="Refresh grants a second, one core",
        unit="/s",
        groups={"refresh": {name: figure["rate"] for name, figure in figures.items()}},
        note="median of alternating rounds; more is better",
    )
    sqlite = ratios.get(f"{SQLITE} ÷ {PEER}", {}).get("rate")
    postgresql = ratios.get(f"{POSTGRESQL} ÷ {PEER}", {}).get("rate")
    reached = sqlite is not None and postgresql is not None and sqlite >= AIM_SQLITE and postgresql >= AIM_POSTGRESQL
    last_line(
        "refresh",
        {"rate_over_oidc_provider": sqlite if sqlite is not None else "missing",
         "postgresql_over_oidc_provider": postgresql if postgresql is not None else "missing",
         "growth": max(grown.ratios.values()),
         "rate": figures[SQLITE]["rate"], "p99_ms": figures[SQLITE]["p99_ms"]},
        aim=AIM_SQLITE,
        met=reached and grown.met,
    )  # fmt: skip


if __name__ == "__main__":
    main()
