"""The story, whole: what `make demo` promises, in a real browser over real HTTP with a real database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from examples.shop.__main__ import ENGINES, LOGINS, STORES

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "examples.shop"]
SHELL = Path("/usr/bin/chromium-headless-shell")
"""The browser's engine without windows, for all but the first way: a fourth of the work."""


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        DEMO, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=400, check=False
    )


def children_of(folder: str) -> list[str]:
    """Command lines of processes whose environment names the run's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f'"folder": "{folder}"'.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("layout", "engine", "store", "login"),
    [
        *(("middleware", "", store, LOGINS[0]) for store in STORES),
        *(("middleware", "", STORES[0], login) for login in LOGINS[1:]),
        *((layout, engine, STORES[0], LOGINS[0]) for engine in ENGINES for layout in ("gateway", "hybrid")),
        ("gateway", ENGINES[0], "cookie", LOGINS[0]),
    ],
)
def test_the_twelve_steps_hold_in_a_real_browser(layout: str, engine: str, store: str, login: str) -> None:
    """Each step is proven by what the browser and the services saw (design §1): in every layout, on every engine,
    wherever the tokens are kept, whoever vouches for the person."""
    whole = (layout, store, login) == ("middleware", STORES[0], LOGINS[0]) or not SHELL.exists()
    browser = {} if whole else {"PORTERO_CHROMIUM": str(SHELL)}
    done = run(CHECK="1", LAYOUT=layout, ENGINE=engine, STORE=store, LOGIN=login, **browser)

    steps = dict(re.findall(r"^step (\d+) (ok|FAILED) ", done.stdout, re.MULTILINE))
    assert {str(n): "ok" for n in range(1, 13)} == steps, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "value"), [("LAYOUT", "sideways"), ("ENGINE", "steam"), ("STORE", "cloud"), ("LOGIN", "anybody")]
)
def test_an_unknown_value_is_a_usage_error_that_lists_the_valid_ones(name: str, value: str) -> None:
    """`make demo` with an unknown value exits with 2 and says what may stand there."""
    done = run(CHECK="1", **{name: value})

    assert done.returncode == 2
    assert f"{name}={value}" in done.stderr
    assert "Valid: " in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_demo_stops_without_leaving_a_process(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, an end by the system, and even a kill of the parent end every program of the demo."""
    demo = subprocess.Popen(
        DEMO, cwd=ROOT, env={**os.environ, "PORTERO_DEMO_FOLDER": str(tmp_path / "demo"), "PORTERO_DEMO_PORTS": "free"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert demo.stdout is not None
    printed = ""
    for line in demo.stdout:
        printed += line
        if "Ctrl-C stops everything" in line:
            break
    assert "ana" in printed, printed
    running = children_of(str(tmp_path / "demo"))
    demo.send_signal(number)
    demo.wait(60)
    demo.stdout.close()
    deadline = time.monotonic() + 60
    while children_of(str(tmp_path / "demo")) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert len(running) == 5, running
    assert children_of(str(tmp_path / "demo")) == []
    if number != signal.SIGKILL:
        assert demo.returncode == 0
