"""Several workers on one port, as people start them: `portero gateway --engine embedded`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from portero.testing.jwks_server import JwksServer
from portero.testing.ports import free_port
from tests.gateway.embedded.conftest import ENVIRON, World, write_manifest
from tests.gateway.embedded.running import PATIENCE, Caller, Upstream, until


class Program:
    """The command, with two workers."""

    def __init__(self, folder: Path, issuer: JwksServer) -> None:
        self.upstream = Upstream()
        self.port, self.admin = free_port(), free_port()
        more = f'workers = 2\nadmin = "127.0.0.1:{self.admin}"\ndrain = "5s"'
        file = write_manifest(folder, issuer, self.upstream.port, more=more)
        file.write_text(file.read_text().replace('"127.0.0.1:1"', f'"127.0.0.1:{self.port}"'))
        self.log = folder / "access.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portero", "gateway", "--engine", "embedded", "--manifest", str(file)],
                env={**os.environ, **ENVIRON},
                stdout=log,
                stderr=subprocess.DEVNULL,
            )
        self.world = World(issuer, self.upstream, self)  # type: ignore[arg-type]  # only its port is asked for
        until(lambda: self.ask("/readyz")[0] == 200)

    def ask(self, path: str) -> tuple[int, str]:
        """What the operator's address answers; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""

    def workers(self) -> list[int]:
        """The worker processes."""
        told = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in told.split()]


@pytest.fixture(scope="module")
def program(issuer: JwksServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("workers"), issuer)
    yield program
    program.process.kill()
    program.process.wait(PATIENCE)
    program.upstream.close()


def test_killing_a_worker_loses_only_its_own_requests(program: Program) -> None:
    """The other goes on at once, and a new one takes its place."""
    before = program.workers()
    assert len(before) == 2

    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(program.workers()) == 2 and program.workers() != before)
    until(lambda: program.ask("/readyz")[0] == 200)

    assert before[1] in program.workers()
    assert [program.world.ask("GET", "/api/orders/1").status for _ in range(20)] == [200] * 20


def test_metrics_add_the_workers_up_and_logs_hold_no_token(program: Program) -> None:
    """The names are every engine's; a line is JSON, with path and without query."""
    token = program.world.token()
    with Caller(program.port) as caller:
        caller.send(
            f"GET /api/orders/77?secret=hunter2 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            + b"GET /api/orders/78 HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert [caller.answer().status, caller.answer().status] == [200, 401]

    until(lambda: 'portero_gateway_refusals_total{case="no_token"} 1' in program.ask("/metrics")[1])
    metrics = program.ask("/metrics")[1]
    assert "portero_gateway_ready 1" in metrics
    assert re.search(r'portero_gateway_responses_total\{class="2xx"\} \d+', metrics)
    until(lambda: "/api/orders/78" in program.log.read_text())
    text = program.log.read_text()
    line = next(json.loads(one) for one in text.splitlines() if "/api/orders/77" in one)
    assert (line["status"], line["service"], line["route"]) == (200, "orders", "* /orders/{id}")
    assert token.split(".")[2] not in text
    assert "hunter2" not in text


def test_a_stop_finishes_what_runs(program: Program) -> None:
    """SIGTERM: requests under way are answered, new connections are refused, and nothing is left running."""
    asked, answered = threading.Event(), threading.Event()

    def slow(peer: object, _: object) -> bool:
        asked.set()
        assert answered.wait(60)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")  # type: ignore[attr-defined]
        return True

    program.upstream.behaviours["/behave/slow"] = slow
    with Caller(program.port) as caller:
        caller.send(program.world.head("GET", "/api/behave/slow"))
        assert asked.wait(60)
        workers = program.workers()
        program.process.send_signal(signal.SIGTERM)
        until(lambda: program.ask("/readyz")[0] != 200)
        answered.set()

        answer = caller.answer()

        assert (answer.status, answer.body, answer.header("connection")) == (200, b"done", "close")
    assert program.process.wait(PATIENCE) == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
