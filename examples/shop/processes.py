"""Start the demo's programs, wait until each answers, and leave none behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel ends a child whose parent is gone, even one killed without warning."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return before_exec


class StartFailed(Exception):
    """A program ended or did not answer in time; the message carries the end of its log."""


class Program:
    """One child process with its log file."""

    def __init__(self, name: str, arguments: Sequence[str], *, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
                preexec_fn=_die_with_parent(),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_answers(self, url: str, *, within: float) -> None:
        """Ask `url` until it answers 200."""
        deadline = time.monotonic() + within
        while True:
            if self._process.poll() is not None:
                raise StartFailed(f"{self.name} ended with {self._process.returncode}:\n{self._tail()}")
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own http addresses
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            if time.monotonic() > deadline:
                raise StartFailed(f"{self.name} did not answer {url} within {within:.0f} s:\n{self._tail()}")
            time.sleep(0.03)

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self, *, within: float = 5.0) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(within)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        """End it without warning, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def _tail(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-15:])


class Programs:
    """Several programs; leaving the block stops them, last started first."""

    def __init__(self) -> None:
        self._running: list[Program] = []

    def add(self, program: Program) -> Program:
        self._running.append(program)
        return program

    def first_dead(self) -> Program | None:
        return next((program for program in self._running if not program.alive()), None)

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self._running):
            program.stop()
