"""Start a gateway of either engine as an operator would, and talk to it by raw bytes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portero.gateway.engines import ENGINES as KNOWN
from portero.testing.jwks_server import CLIENT_SECRET
from portero.testing.ports import free_port

ENGINES = tuple(KNOWN)
PATIENCE = 60.0
"""Seconds a condition is waited for: a machine with two busy cores is slow, never wrong."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, taken apart."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for header, value in self.headers if header == name), None)

    @property
    def problem(self) -> dict[str, object]:
        """The problem document."""
        assert self.header("content-type") == "application/problem+json", self
        document: dict[str, object] = json.loads(self.body)
        return document


class Running:
    """A gateway's process."""

    def __init__(self, engine: str, folder: Path, manifest: str, *, environ: Mapping[str, str] | None = None) -> None:
        self.engine = engine
        self.port, self.admin = free_port(), free_port()
        self.file = folder / "portero.toml"
        self.log = folder / "gateway.log"
        self._manifest = manifest
        self.write(manifest)
        self._environ = {**os.environ, "FEED_SECRET": CLIENT_SECRET, **(environ or {})}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "portero", "gateway", "--engine", self.engine, "--manifest", str(self.file)],
                env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def write(self, manifest: str) -> None:
        """Replace the manifest; `{listen}` and `{admin}` are this gateway's."""
        text = manifest.replace("{listen}", f"127.0.0.1:{self.port}").replace("{admin}", f"127.0.0.1:{self.admin}")
        unfinished = self.file.with_suffix(".new")
        unfinished.write_text(text)
        unfinished.replace(self.file)

    def wait_until_ready(self) -> Running:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.log.read_text()
            status, body = self.ask("/readyz")
            if status == 200:
                return self
            assert time.monotonic() < deadline, (body, self.log.read_text())
            time.sleep(0.02)

    def ask(self, path: str) -> tuple[int, bytes]:
        """Ask the admin interface; status 0: it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def exchange(self, raw: bytes, *, head: bool = False) -> Answer:
        """Send bytes, read one answer. Status 0: the connection was closed without one."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(raw)
            return read_answer(connection, head=head)

    def request(
        self, method: str, target: str, *, token: str | None = None, headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:  # fmt: skip
        """Send a well-formed request of exactly this target."""
        given = {"host": "gateway.test", **(headers or {})}
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        if body:
            given["content-length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return self.exchange(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body, head=method == "HEAD")

    def wait_for_log(self, *either: bytes) -> bytes:
        """The log, once it holds one of these: access logs are written a moment after the answer."""
        deadline = time.monotonic() + PATIENCE
        while not any(one in (log := self.log.read_bytes()) for one in either):
            assert time.monotonic() < deadline, log
            time.sleep(0.02)
        return log

    def stop(self) -> int:
        """Stop as an operator does; answer the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def start_again(self) -> Running:
        self.process = self._start()
        return self.wait_until_ready()


def read_answer(connection: socket.socket, *, head: bool = False) -> Answer:
    """Read one answer off a connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = _received(connection)
        if not data:
            return Answer(0, [], received)
        received += data
    start, _, body = received.partition(b"\r\n\r\n")
    first, *lines = start.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    status = int(first.split(" ")[1])
    given = dict(headers)
    if head or status in (204, 304) or status < 200:
        return Answer(status, headers, b"")
    if "content-length" in given:
        while len(body) < int(given["content-length"]):
            data = _received(connection)
            if not data:
                break
            body += data
    elif "chunked" in given.get("transfer-encoding", ""):
        while not body.endswith(b"0\r\n\r\n"):
            data = _received(connection)
            if not data:
                break
            body += data
        body = _unchunked(body)
    return Answer(status, headers, body)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        whole += rest[:length]
        if length == 0:
            break
        body = rest[length + 2 :]
    return whole
