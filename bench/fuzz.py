"""`make fuzz`: coverage-guided fuzzing (atheris, libFuzzer) of every parser in `tests/fuzz/targets.py`.

    DURATION=600   seconds in all, divided over the targets
    TARGETS=a,b    only these
    KEEP=1         afterwards keep some of the small inputs that reached something new, in tests/fuzz/corpus

Each target has a process of its own. An exception that is not documented, a run beyond five seconds and memory beyond
1 GiB are crashes: the input is kept in `tests/fuzz/corpus/TARGET/`, where a test replays it, and the exit status is 1.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "tests/fuzz/corpus"
WORKING = ROOT / ".build/fuzz-corpus"
"""What earlier runs found, all of it; untracked."""
MAX_INPUT_BYTES = 4096
MAX_KEPT_BYTES = 1024
MAX_KEPT_INPUTS = 24
"""For each target: the corpus stays small enough to be read."""
_LIMITS = ("-timeout=5", "-rss_limit_mb=1024", f"-max_len={MAX_INPUT_BYTES}", "-print_final_stats=1")
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)|^#(\d+)\s", re.MULTILINE)


def main() -> int:
    """Fuzz every target for its share of the time; 0 when nothing crashed, 1 when something did, 2 when it cannot."""
    if importlib.util.find_spec("atheris") is None:
        print(
            "error: atheris is not installed. Run tools/bootstrap fuzz (dependency group `fuzz` of pyproject.toml); "
            "it has wheels for some CPythons on Linux only; 3.11 is one.",
            file=sys.stderr,
        )
        return 2
    names = [name for name in os.environ.get("TARGETS", "").split(",") if name] or list(TARGETS)
    unknown = sorted(set(names) - TARGETS.keys())
    if unknown:
        print(f"error: TARGETS names {', '.join(unknown)}. Valid: {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    duration = os.environ.get("DURATION") or "600"
    if not (duration.isascii() and duration.isdigit()):
        print(f"error: DURATION is {duration!r}: whole seconds for all targets together", file=sys.stderr)
        return 2
    share = max(1, int(duration) // len(names))
    executions = crashes = 0
    for number, name in enumerate(names, 1):
        done, crashed = _fuzz(name, seconds=share)
        executions += done
        crashes += crashed
        print(f"[{number}/{len(names)}] {name}: {done} executions in {share} s{', CRASHED' * crashed}", flush=True)
        if os.environ.get("KEEP") == "1" and not crashed:
            _keep(name)
    print(f"fuzz targets={len(names)} executions={executions} crashes={crashes}")
    return 1 if crashes else 0


def _fuzz(name: str, *, seconds: int) -> tuple[int, bool]:
    """Executions, and whether one crashed (its input is then in the corpus and its trace on stderr)."""
    working, kept = WORKING / name, CORPUS / name
    working.mkdir(parents=True, exist_ok=True)
    kept.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(TARGETS[name].seeds):
        (working / f"seed-{index}").write_bytes(seed)
    done = _libfuzzer(name, *_LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={kept}/", working, kept)
    if not any(kept.iterdir()):
        kept.rmdir()
    counted = [int(final or progress) for final, progress in _EXECUTIONS.findall(done.stderr)]
    crashed = done.returncode != 0
    if crashed:
        print(done.stderr[-6000:] + done.stdout[-2000:], file=sys.stderr)
    return max(counted, default=0), crashed


def _keep(name: str) -> None:
    """Keep some of the small inputs, of every length: each was added because it reached something new."""
    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    for old in kept.iterdir():
        if "-" not in old.name:  # crash-…, timeout-… and oom-… stay for ever
            old.unlink()
    found = [path for path in (WORKING / name).iterdir() if "-" not in path.name]
    small = sorted(
        (path for path in found if path.stat().st_size <= MAX_KEPT_BYTES), key=lambda path: path.stat().st_size
    )
    step = max(1, -(-len(small) // MAX_KEPT_INPUTS))
    for path in small[::step]:
        shutil.copy(path, kept / path.name[:16])


def _libfuzzer(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.one_target", name, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)


if __name__ == "__main__":
    sys.exit(main())
