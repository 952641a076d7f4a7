"""How long until the authorization server answers, and how much memory it is then: existing and new database.

    python -m bench startup

Time runs from the start of the process `portero serve` to the first 200 of discovery, which is served
only once the schema is current. Memory is the sum over all its processes right after that: RSS counts
shared pages in full, PSS by share. Last line: `startup seconds=… memory_mb=… aim=1.0s,90MB met|short`,
with the medians for an existing database, and RSS.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.plot import bars
from bench.report import RESULTS, versions, write_json
from portero.testing.ports import free_port

ROUNDS = 9
AIM_SECONDS, AIM_MB = 1.0, 90.0
GIVE_UP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start. Megabytes are 10^6 bytes."""

    seconds: float
    rss_mb: float
    pss_mb: float


def start_once(folder: Path) -> Start:
    """Start a server on a free port with the database in `folder`, look at it, and stop it."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PORTERO_")} | {
        "PORTERO_ISSUER": f"http://localhost:{port}",
        "PORTERO_PORT": str(port),
        "PORTERO_DATABASE": str(folder / "portero.db"),
        "PORTERO_SECRETS_FILE": str(folder / "portero.secrets"),
    }
    program = [str(Path(sys.executable).with_name("portero")), "serve"]
    began = time.perf_counter()
    process = subprocess.Popen(program, env=environment, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        while not discovery_answers(port):
            if process.poll() is not None or time.perf_counter() - began > GIVE_UP_SECONDS:
                raise SystemExit(f"the server did not start (exit code {process.poll()})")
            time.sleep(0.001)
        seconds = time.perf_counter() - began
        rss, pss = memory_of(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(GIVE_UP_SECONDS)
    if code != 0:
        raise SystemExit(f"the server stopped with exit code {code}")
    return Start(seconds, rss, pss)


def discovery_answers(port: int) -> bool:
    """Ask once; True for a 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/.well-known/openid-configuration")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def memory_of(pid: int) -> tuple[float, float]:
    """RSS and PSS in megabytes, of a process and all below it (Linux)."""
    rss = pss = 0
    for each in family_of(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                rss += int(rest.split()[0])
            elif name == "Pss":
                pss += int(rest.split()[0])
    return rss * 1024 / 1e6, pss * 1024 / 1e6


def family_of(pid: int) -> list[int]:
    """The process and all its descendants."""
    family = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            family += family_of(int(child))
    return family


def median(starts: list[Start]) -> Start:
    """The median of each figure."""
    return Start(*(statistics.median(getattr(each, name) for each in starts) for name in Start.__slots__))


def main() -> int:
    """Measure, print, write the report."""
    base = Path(tempfile.mkdtemp(prefix="portero-bench-"))
    try:
        existing = base / "existing"
        existing.mkdir()
        start_once(existing)  # makes the database, and warms the file cache
        starts: dict[str, list[Start]] = {"existing": [], "new": []}
        for number in range(ROUNDS):
            # Alternating, so that a busy moment of the machine hits both.
            starts["existing"].append(start_once(existing))
            new = base / f"new-{number}"
            new.mkdir()
            starts["new"].append(start_once(new))
    finally:
        shutil.rmtree(base)
    medians = {name: median(each) for name, each in starts.items()}
    for name, each in medians.items():
        slowest = max(start.seconds for start in starts[name])
        print(
            f"{name} database: {each.seconds:.3f} s (slowest {slowest:.3f}), RSS {each.rss_mb:.1f} MB, "
            f"PSS {each.pss_mb:.1f} MB, median of {ROUNDS}"
        )
    result = medians["existing"]
    met = max(each.seconds for each in medians.values()) < AIM_SECONDS and result.rss_mb < AIM_MB
    write_json(
        "startup",
        {
            "rounds": ROUNDS,
            "versions": versions("portero", "uvicorn", "uvloop", "httptools", "starlette", "cryptography"),
            **{
                name: {"seconds": round(m.seconds, 3), "rss_mb": round(m.rss_mb, 1), "pss_mb": round(m.pss_mb, 1)}
                for name, m in medians.items()
            },
            "aim": {"seconds": AIM_SECONDS, "memory_mb": AIM_MB, "met": met},
            "table": [
                {
                    "what": "start to the first answer, schema current",
                    "measured": f"{result.seconds:.2f} s",
                    "aim": f"< {AIM_SECONDS:.0f} s",
                },
                {
                    "what": "memory of all processes of the authorization server",
                    "measured": f"{result.rss_mb:.0f} MB",
                    "aim": f"< {AIM_MB:.0f} MB",
                },
            ],
        },
    )
    bars(
        RESULTS / "startup.svg",
        title="Process start to discovery's first 200",
        unit="s",
        groups={name: {"Portero": m.seconds} for name, m in medians.items()},
        note=f"median of {ROUNDS} starts; less is better",
    )
    print(
        f"startup seconds={result.seconds:.3f} memory_mb={result.rss_mb:.1f} aim={AIM_SECONDS:.1f} "
        f"{'met' if met else 'short'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
