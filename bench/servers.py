"""The contenders of `bench refresh`: servers started, pinned to one core, with live refresh tokens to spend."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from bench.crowd import Crowd
from bench.load import post
from bench.sign_ins import refresh_tokens
from portero.testing.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".build/peers/oidc-provider"
PEER_VERSION = "9.13.3"
CHAINS = 64
PEER_CHAINS = 16
"""The peer's own store keeps a thousand entries: with more at once it forgets grants while they wait their turn."""
SERVER_CORE, LOAD_CORE = 0, 1
RING_FULL = 18
"""Refreshes after which a session has its full size."""

_FORM = {"content-type": "application/x-www-form-urlencoded"}

Chain = Callable[[bytes | None], bytes | None]


@dataclass(slots=True)
class Running:
    """A server that answers."""

    port: int
    pids: list[int]
    """The server's own processes."""
    body: Callable[[str], str]
    """A refresh token's form."""
    mint: Callable[[], list[str]] = list
    """New live refresh tokens, one for each connection."""

    def chains(self, tokens: Iterable[str]) -> list[Chain]:
        """Connections that spend the tokens in turn; what a refresh gives goes to the end of the line."""
        waiting = deque(tokens)
        return [_chain(waiting, self.body) for _ in range(min(CHAINS, len(waiting)))]


def _chain(waiting: deque[str], body: Callable[[str], str]) -> Chain:
    token = waiting.popleft()

    def request(answer: bytes | None) -> bytes | None:
        nonlocal token
        if answer is not None:
            start = answer.index(b'"refresh_token":"') + 17
            waiting.append(answer[start : answer.index(b'"', start)].decode())
            token = waiting.popleft()
        return post("/token", body(token))

    return request


class Portero:
    """`portero serve` on one database: a client, a person, and one session to copy.

    The limits on `/token` stay at their defaults: sessions are many, so none comes too often.
    """

    def __init__(self, database: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._folder = folder
        self._issuer = f"http://127.0.0.1:{self.port}"
        self._config = folder / "server.toml"
        self.database = database if database.startswith("postgresql:") else str(folder / database)
        lines = {
            "issuer": self._issuer, "port": self.port, "database": self.database,
            "secrets_file": str(folder / "secrets"),
        }  # fmt: skip
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
        self._config.write_text(f"[authorization_server]\n{text}\n")
        self._password = secrets.token_urlsafe(12)
        self._command("user", "add", "bench", "--password-stdin", given=self._password)
        self._command(
            "client", "add", "bench", "--public", "--first-party", "--redirect-uri", "https://client.example/cb",
            "--scope", "orders:read", "--scope", "offline_access", "--audience", "https://shop.example/orders",
        )  # fmt: skip
        self.crowd = self._one_session()

    @contextlib.contextmanager
    def running(self) -> Iterator[Running]:
        """The server on its core."""
        server = subprocess.Popen(
            [sys.executable, "-m", "portero", "serve", "--config", str(self._config)],
            cwd=self._folder, stdout=subprocess.DEVNULL, stderr=(self._folder / "log").open("wb"),
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )  # fmt: skip
        try:
            _wait_for(f"{self._issuer}/readyz", server)
            yield Running(self.port, [server.pid], _own_body)
        finally:
            server.terminate()
            server.wait(20)

    def _one_session(self) -> Crowd:
        with self.running():
            wanted = {"client_id": "bench", "username": "bench", "scope": "orders:read offline_access"}
            (token,) = refresh_tokens(self._issuer, password=self._password, count=1, **wanted)
            for _ in range(RING_FULL):
                token = httpx2.post(f"{self._issuer}/token", content=_own_body(token), headers=_FORM).json()[
                    "refresh_token"
                ]
        return Crowd(self.database, secrets=self._folder / "secrets", template=token)

    def _command(self, *arguments: str, given: str = "") -> None:
        subprocess.run(
            [sys.executable, "-m", "portero", *arguments, "--config", str(self._config)],
            cwd=self._folder, check=True, stdout=subprocess.DEVNULL, input=given.encode(),
        )  # fmt: skip


@contextlib.contextmanager
def oidc_provider(*, adapter: str) -> Iterator[Running]:
    """A new process of the peer.

    Args:
        adapter: `own` (the in-memory adapter it comes with) or `lean` (a bare map, ours).
    """
    chains = str(PEER_CHAINS if adapter == "own" else CHAINS)
    server = subprocess.Popen(
        ["node", str(ROOT / "bench/peers/oidc-provider.mjs"), str(PEER), chains, adapter],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )  # fmt: skip
    assert server.stdout is not None
    try:
        told = json.loads(server.stdout.readline())

        def body(token: str) -> str:
            return (
                f"grant_type=refresh_token&client_id={told['client_id']}&client_secret={told['client_secret']}"
                f"&refresh_token={token}"
            )

        def mint() -> list[str]:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(b"more\n")
            server.stdin.flush()
            tokens: list[str] = json.loads(server.stdout.readline())
            return tokens

        yield Running(told["port"], [server.pid], body, mint)
    finally:
        server.terminate()
        server.wait(20)


def install_peer() -> None:
    """Install the peer from npm where it is not."""
    if (PEER / "node_modules/oidc-provider/package.json").exists():
        return
    PEER.mkdir(parents=True, exist_ok=True)
    (PEER / "package.json").write_text('{"private": true}\n')
    command = ["npm", "install", "--silent", "--no-fund", "--no-audit", f"oidc-provider@{PEER_VERSION}"]
    subprocess.run(command, cwd=PEER, check=True)


def _own_body(token: str) -> str:
    return f"grant_type=refresh_token&client_id=bench&refresh_token={token}&refresh_attempt={secrets.token_urlsafe(16)}"


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own server on loopback
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
