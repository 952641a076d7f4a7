"""The page that protects two services with a gateway, followed in an empty folder with an empty home."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

from portero.testing.ports import free_port
from tests.gateway.engines import PATIENCE

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/gateway.md"
PORTS = ("9000", "8000", "9100", "8101", "8102")
"""Of the page: server, gateway, its admin, and the two services."""
ONCE = ("2. The manifest", "3. The gateway", "5. Try it")
"""Sections whose commands are given one after the other."""


class Newcomer:
    """Somebody with an empty folder, who does what the page says, on ports that are free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in PORTS}
        self.page = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self.ports[found[0]], PAGE.read_text())
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        (folder / "home").mkdir()
        self.environ = {"PATH": path, "HOME": str(folder / "home"), "LANG": "C.UTF-8"}

    def block(self, language: str) -> str:
        """The page's first file of a language."""
        found = re.search(rf"```{language}\n(.*?)```", self.page, re.DOTALL)
        assert found is not None
        return found[1]

    def section(self, title: str) -> list[tuple[str, str]]:
        """Each command of a section, and what the page says it prints."""
        found = re.search(rf"\n## {re.escape(title)}\n(.*?)(?:\n## |\Z)", self.page, re.DOTALL)
        assert found is not None, title
        consoles = "".join(re.findall(r"```console\n(.*?)```", found[1], re.DOTALL))
        commands: list[list[str]] = []
        for line in consoles.splitlines():
            if line.startswith("$ "):
                commands.append([line[2:], ""])
            else:
                goes_on = commands[-1][0].endswith("\\") and not commands[-1][1]
                commands[-1][0 if goes_on else 1] += f"\n{line}"
        return [(command, printed.strip()) for command, printed in commands]

    @contextmanager
    def running(self, command: str) -> Iterator[Path]:
        """A command of the page that goes on in a shell of its own; its output."""
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command.split(),
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                yield log
            finally:
                process.terminate()
                process.wait(PATIENCE)

    def shell(self, commands: list[str]) -> list[str]:
        """What each prints, one after the other in one shell."""
        mark = "---- printed"
        script = "".join(f"{command}\necho '{mark}'\n" for command in commands)
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=PATIENCE
        )
        return re.split(rf"\n?{mark}\n", done.stdout)[:-1]


def answers(port: str, path: str = "/") -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=60):
            return True
    except OSError as error:
        return getattr(error, "code", 0) in (401, 403, 404)


def test_a_newcomer_protects_two_services_by_following_the_page(engine: str, tmp_path: Path) -> None:
    """Every command, in each of the three layouts, prints what the page says."""
    newcomer = Newcomer(tmp_path)
    (tmp_path / "portero.toml").write_text(newcomer.block("toml").replace(
        "[gateway]\n", f'[gateway]\nadmin = "127.0.0.1:{newcomer.ports["9100"]}"\n'))  # fmt: skip
    (tmp_path / "notes.py").write_text(newcomer.block("python"))
    with ExitStack() as shells:
        demo = shells.enter_context(newcomer.running(f"portero demo --port {newcomer.ports['9000']}"))
        wait(lambda: "demo.example" in demo.read_text())
        (secret,) = re.findall(r"-u demo-service:(\S+)", demo.read_text())
        newcomer.environ["FEED_SECRET"] = secret
        start, _ = newcomer.section("3. The gateway")[0]
        shells.enter_context(newcomer.running(start.replace("envoy", engine)))
        ports = newcomer.ports
        wait(lambda: answers(ports["9100"], "/readyz"))
        notes, files, serve = [command for command, _ in newcomer.section("4. The services")]
        newcomer.shell([files])
        shells.enter_context(newcomer.running(notes))
        shells.enter_context(newcomer.running(serve))
        wait(lambda: answers(ports["8101"]) and answers(ports["8102"]))

        asked = [command for title in ONCE for command in newcomer.section(title) if command[0] != start]
        *said, newcomer.environ["TOKEN"] = newcomer.shell([*(command for command, _ in asked), 'echo "$TOKEN"'])
        for (command, expected), one in zip(asked, said, strict=True):
            assert one == expected, command
        for command, expected in newcomer.section("6. The other layouts"):
            # The page waits some seconds for a change to be read; here it is asked until it was.
            if not command.startswith("sleep"):
                wait(lambda c=command, e=expected: newcomer.shell([c]) == [e])  # type: ignore[misc]


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
