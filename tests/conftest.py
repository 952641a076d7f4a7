"""How the tests are shared out among processes: a file is one piece of work, and long pieces begin first."""

from __future__ import annotations

import os
from pathlib import Path
from zlib import adler32

import pytest

LONGEST_FIRST = (
    "tests/gateway/test_faults.py",
    "tests/gateway/test_attack_policy.py",
    "tests/client/browser_session/test_story.py",
    "tests/properties/test_refresh_exhaustive.py",
    "tests/cli/test_commands.py",
    "tests/resource_server/test_drivers.py",
    "tests/cli/test_serve.py",
    "tests/storage/test_postgresql.py",
    "tests/cli/test_killed.py",
    "tests/strangers/test_accessibility.py",
    "tests/resource_server/test_relay.py",
    "tests/flows/test_demo.py",
)
"""Files of more than ten seconds. Started last, one of them would be all that runs for its whole time."""
ROOT = Path(__file__).resolve().parents[1]
IN_TWO = ("tests/flows/test_demo.py",)
"""Files whose tests share nothing, and that are too long for one process: two pieces of work. Each test is a whole
demo with a browser; more than two at once would be slower for each other."""


def pytest_configure(config: pytest.Config) -> None:
    missing = [name for name in (*LONGEST_FIRST, *IN_TWO) if not (ROOT / name).is_file()]
    if missing:
        raise pytest.UsageError(f"tests/conftest.py names files that are not there: {', '.join(missing)}")
    # xdist would begin with the files of the most tests, which are the quick ones.
    config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one more than there are cores, for half of a test's time is waiting for another process."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, each in its own order; the others as they were."""
    rank = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.split("::", 1)[0], len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """`--dist loadfile`, with the files of `IN_TWO` taken apart."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return f"{file}:{adler32(nodeid.encode()) % 2}" if file in IN_TWO else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None
