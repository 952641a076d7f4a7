"""One round of one server under load: what it did, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass

import uvloop

from bench.load import Outcome, drive
from bench.processes import Cost, cost_of, machine_busy
from bench.servers import Chain, Running


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one contender."""

    outcome: Outcome
    server: Cost
    database: Cost
    """Of PostgreSQL's processes; nothing elsewhere."""
    others: float
    """Cores kept busy by whatever else ran on the machine."""

    @property
    def done(self) -> int:
        return max(1, len(self.outcome.latencies))

    @property
    def rate(self) -> float:
        return self.outcome.rate

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a refresh, of the server process."""
        return 1e6 * self.server.cpu / self.done


def measured(server: Running, chains: list[Chain], *, database: list[int], seconds: float) -> Measured:
    """Drive for so many seconds and count what it cost."""
    began = cost_of(server.pids), cost_of(database), machine_busy()
    outcome = uvloop.run(drive(server.port, chains, seconds=seconds))
    its_cost, of_database = cost_of(server.pids) - began[0], cost_of(database) - began[1]
    ours = its_cost.cpu + of_database.cpu + outcome.generator_busy * outcome.seconds
    others = max(0.0, machine_busy() - began[2] - ours) / outcome.seconds
    return Measured(outcome, its_cost, of_database, others)
