"""What every benchmark says in the same way: the machine, a JSON file, and one last line to read by program."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Describe where it ran: processor, cores usable, memory, system, Python and its build."""
    return {
        "processor": _first_value(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int((_first_value(Path("/proc/meminfo"), "MemTotal") or "0 kB").split()[0]) // 1024,
        "system": platform.platform(),
        "python": platform.python_version(),
        "python_compiler": platform.python_compiler(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions; `missing` where a distribution is not installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def median(samples: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(samples) if samples else float("nan")


def write_json(name: str, results: Mapping[str, Any]) -> Path:
    """Write `bench/results/NAME.json` with the machine named; return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2, ensure_ascii=False) + "\n")
    return path


def last_line(name: str, figures: Mapping[str, object], *, aim: float | None = None, met: bool | None = None) -> str:
    """Print and return the last line: `NAME key=value … aim=A met|short`, floats with two digits.

    Args:
        met: whether every aim of the benchmark holds; `None` (a figure could not be measured) is not met.
    """
    words = [name, *(f"{key}={_text(value)}" for key, value in figures.items())]
    if aim is not None:
        words += [f"aim={aim:g}", "met" if met else "short"]
    line = " ".join(words)
    print(line)
    return line


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _first_value(path: Path, name: str) -> str | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
