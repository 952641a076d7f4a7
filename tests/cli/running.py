"""The real program as processes: commands, and a server on a free port that can be killed at any moment."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from portero.testing.ports import free_port

PORTERO = str(Path(sys.executable).with_name("portero"))
VERIFIER = "v" * 43
CALLBACK = "http://127.0.0.1:8080/callback"


def attempt(number: int) -> str:
    """A `refresh_attempt`: 22 characters of base64url, one per refresh."""
    return base64.urlsafe_b64encode(number.to_bytes(16, "big")).rstrip(b"=").decode()


def run(folder: Path, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command in `folder`, with nothing of our own environment that it would read."""
    return subprocess.run(
        [PORTERO, *arguments],
        cwd=folder,
        env=clean_environment() | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """Ours without settings of a server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PORTERO_")}


def read_until(wanted: str, stream: IO[str], *, seconds: float = 60) -> str:
    """Read what a process prints until a whole line has the text, past the stream's buffer (which `select` cannot see).

    Raises:
        AssertionError: it did not come, or the process ended first; what was printed instead.
    """
    printed = b""
    deadline = time.monotonic() + seconds
    while wanted.encode() not in printed or b"\n" not in printed[printed.index(wanted.encode()) :]:
        ready = select.select([stream], [], [], max(0, deadline - time.monotonic()))[0]
        piece = os.read(stream.fileno(), 65536) if ready else b""
        assert piece, f"{wanted!r} was not printed: {printed.decode(errors='replace')}"
        printed += piece
    return printed.decode()


@dataclass
class Server:
    """`portero serve` in a folder with its own settings file."""

    folder: Path
    settings: str = ""
    port: int = 0
    process: subprocess.Popen[str] | None = None
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = free_port()
        (self.folder / "portero-server.toml").write_text(
            f'[authorization_server]\nissuer = "{self.issuer}"\nport = {self.port}\n{self.settings}'
        )

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.kill()

    def start(self) -> None:
        """Start, and wait until it says that it listens."""
        self.process = subprocess.Popen(
            [PORTERO, "serve"], cwd=self.folder, env=clean_environment(), stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.log += read_until("is served at", self.process.stderr).splitlines(keepends=True)

    def kill(self) -> None:
        """End it as a power cut would: no signal handler, no last words."""
        assert self.process is not None
        self.process.kill()
        self._collect()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._collect()
        return code

    def _collect(self) -> None:
        assert self.process is not None
        _, rest = self.process.communicate(timeout=60)
        self.log += rest.splitlines(keepends=True)
        self.process = None

    def raw(self, request: bytes) -> int:
        """Send bytes as they are; the status of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(request)
            with http.client.HTTPResponse(connection) as response:
                response.begin()
                return response.status

    def browser(self) -> httpx2.Client:
        """A browser without script: cookies, no redirects by itself."""
        return httpx2.Client(base_url=self.issuer, timeout=60, trust_env=False)

    def token(self, **form: str) -> httpx2.Response:
        """Call the token endpoint as the public client `page`."""
        with self.browser() as browser:
            return browser.post("/token", data={"client_id": "page", **form})

    def sign_in(self, username: str, password: str, *, client_id: str = "page") -> dict[str, Any]:
        """Go the whole way: authorize, form, code, tokens."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": "s",
            "nonce": "n",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        with self.browser() as browser:
            answer = browser.get(f"/authorize?{urlencode(query)}")
            while answer.is_redirect:
                answer = browser.get(answer.headers["location"])
            hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', answer.text))
            answer = browser.post("/sign-in", data={**hidden, "username": username, "password": password})
            while answer.is_redirect and not answer.headers["location"].startswith(CALLBACK):
                answer = browser.get(answer.headers["location"])
        assert answer.is_redirect, f"{answer.status_code}: {answer.text}"
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        form = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        tokens = self.token(grant_type="authorization_code", client_id=client_id, **form)
        assert tokens.status_code == 200, tokens.text
        body: dict[str, Any] = tokens.json()
        return body


def add_people_and_clients(folder: Path) -> str:
    """A person `ana`, a public client `page`, and a service; returns the service's secret."""
    for done in (
        run(folder, "user", "add", "ana", "--password-stdin", "--role", "manager", stdin="correct horse\n"),
        run(
            folder,
            "client",
            "add",
            "page",
            "--public",
            "--first-party",
            "--redirect-uri",
            CALLBACK,
            "--scope",
            "openid",
        ),
    ):
        assert done.returncode == 0, done.stderr
    done = run(folder, "client", "add", "service", "--scope", "revocations:read", "--json")
    assert done.returncode == 0, done.stderr
    return str(re.findall(r'"client_secret": "([^"]+)"', done.stdout)[0])
