"""What processes cost, as the kernel counts it: CPU seconds, write calls, bytes that reached the block layer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process or several. `write_calls` counts sockets too: the kernel does not tell them apart."""

    cpu: float = 0.0
    write_calls: int = 0
    bytes_written: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.cpu + other.cpu, self.write_calls + other.write_calls, self.bytes_written + other.bytes_written
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.cpu - other.cpu, self.write_calls - other.write_calls, self.bytes_written - other.bytes_written
        )


def cost_of(pids: Iterable[int]) -> Cost:
    """What the processes have cost since they began; those that are gone cost nothing."""
    total = Cost()
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        except OSError:
            continue
        cpu = (int(fields[11]) + int(fields[12])) / _TICK
        total += Cost(cpu, int(counts["syscw"]), int(counts["write_bytes"]))
    return total


def family_of(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def machine_busy() -> float:
    """CPU seconds the whole machine has spent on anything, since it began, in all cores together."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    idle = int(fields[3]) + int(fields[4])
    return (sum(map(int, fields[:8])) - idle) / _TICK
