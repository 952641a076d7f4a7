"""Many programs that begin with one SQLite file at the same moment: a new file, and one that others were killed on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = 6
ROUNDS = 12


@contextmanager
def programs(files: list[Path]) -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that wait for the word to open the first file. Killed at the end, as a power cut would."""
    command = [sys.executable, "-m", "tests.storage.start_child", *map(str, files)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROGRAMS)
    ]
    try:
        yield started
    finally:
        for program in started:
            program.kill()
        for program in started:
            program.communicate()


def all_open_the_next(started: list[subprocess.Popen[str]]) -> list[str]:
    """Name all the same moment; what each says."""
    moment = time.monotonic() + 0.1
    for program in started:
        assert program.stdin is not None
        program.stdin.write(f"{moment}\n")
        program.stdin.flush()
    said = []
    for program in started:
        assert program.stdout is not None
        said.append(program.stdout.readline().strip())
    return said


def test_all_programs_that_start_at_once_on_a_new_file_get_to_work(tmp_path: Path) -> None:
    """The change to WAL mode, which SQLite refuses to wait for, is no reason to give up."""
    with programs([tmp_path / f"{n}.db" for n in range(ROUNDS)]) as started:
        said = [all_open_the_next(started) for _ in range(ROUNDS)]

    assert said == [["open"] * PROGRAMS] * ROUNDS


def test_all_programs_that_start_at_once_on_a_killed_ones_file_get_to_work(tmp_path: Path) -> None:
    """The write-ahead log is recovered by one, and the others wait for it."""
    files = [tmp_path / "killed.db"]
    with programs(files) as first:
        all_open_the_next(first)
    with programs(files) as started:
        said = all_open_the_next(started)

    assert (tmp_path / "killed.db-wal").stat().st_size > 0
    assert said == ["open"] * PROGRAMS
