"""Several real server processes (`portero serve`) on one database and one secrets file, as behind a load balancer.

People, clients and codes are written through the store beside them, as a command line would: a password form in
every test would measure argon2.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import httpx2

from portero.adapters.storage.open import open_store
from portero.adapters.system import SystemClock, SystemRandom
from portero.core.digests import sha256_of
from portero.core.jose import base64url
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import (
    AuthorizationCode,
    Client,
    ClientType,
    Decision,
    Put,
    RefreshProfile,
    RotationPolicy,
    SubjectKey,
    User,
)
from portero.core.types import ClientId, Digest, NumericDate, Secret, Subject
from portero.ports import Store
from portero.testing.ports import free_ports
from tests.cli.running import PORTERO, clean_environment

R = TypeVar("R")

VERIFIER = "v" * 43
CALLBACK = "https://shop.example/back"
SECRET = "s" * 43
PAGE = Client(
    client_id=ClientId("page"),
    client_name="Page",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=(CALLBACK,),
    post_logout_redirect_uris=(),
    grant_types=("authorization_code", "refresh_token"),
    scope=("orders:read",),
    audiences=("https://shop.example/orders",),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
)
BACKEND = replace(
    PAGE,
    client_id=ClientId("backend"),
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="client_secret_post",
    secret_digest=sha256_of(Secret(SECRET)),
)
SERVICE = replace(
    BACKEND,
    client_id=ClientId("service"),
    redirect_uris=(),
    grant_types=("client_credentials",),
    scope=("revocations:read",),
    audiences=(),
)
ANA = User(Subject("ana"), "ana", None, "Ana", "ana@example.org", ())
LIMITS_OFF = "".join(
    f'token_limit_{name} = "off"\n' for name in ("invented", "refused", "session", "client")
)  # the load of these tests is what the limits are made against


def attempt() -> str:
    """A new `refresh_attempt`."""
    return base64url.encode(os.urandom(16))


@dataclass
class Process:
    """One `portero serve`, to be killed and started again."""

    folder: Path
    number: int
    issuer: str
    port: int
    settings: str
    said: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    """The last lines of its log."""
    process: subprocess.Popen[str] | None = None
    _listens: threading.Event = field(default_factory=threading.Event)
    _reader: threading.Thread | None = None

    def __post_init__(self) -> None:
        text = f'[authorization_server]\nissuer = "{self.issuer}"\nport = {self.port}\n{self.settings}'
        (self.folder / f"server-{self.number}.toml").write_text(text)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start, and return at once."""
        self.process = subprocess.Popen(
            [PORTERO, "serve", "--config", f"server-{self.number}.toml"],
            cwd=self.folder,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listens.clear()
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()

    def await_start(self) -> None:
        """Return when it listens."""
        assert self._listens.wait(60), "".join(self.said)
        assert self.process is not None
        assert self.process.poll() is None, "".join(self.said)

    def kill(self) -> None:
        """End it as a power cut would, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            assert self._reader is not None
            self._reader.join(60)
            self.process = None

    def _read(self, lines: IO[str]) -> None:
        # Always read: a full pipe would stop the server.
        with lines:
            for line in lines:
                self.said.append(line)
                if "is served at" in line:
                    self._listens.set()
        self._listens.set()


@dataclass
class Fleet:
    """Servers with one issuer, one database, one secrets file."""

    folder: Path
    database: str = "portero.db"
    size: int = 2
    settings: str = ""
    servers: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        ports = free_ports(self.size)
        settings = f'database = "{self.database}"\n{LIMITS_OFF}{self.settings}'
        self.issuer = f"http://localhost:{ports[0]}"
        self.servers = [Process(self.folder, n, self.issuer, port, settings) for n, port in enumerate(ports)]

    def __enter__(self) -> Self:
        try:
            self.start()
            self.write(ANA, PAGE, BACKEND, SERVICE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()

    def start(self) -> None:
        """Start those that do not run."""
        started = [server for server in self.servers if server.process is None]
        for server in started:
            server.launch()
        for server in started:
            server.await_start()

    def kill(self) -> None:
        """All at once."""
        for server in self.servers:
            if server.process is not None:
                server.process.kill()
        for server in self.servers:
            server.kill()

    # ── beside the servers ───────────────────────────────────────────────────────────

    def at_store(self, work: Callable[[Store], Coroutine[Any, Any, R]]) -> R:
        """Work on the servers' database, as a command line beside them would."""

        async def session() -> R:
            url = self.database if "://" in self.database else str(self.folder / self.database)
            store = await open_store(url, random=SystemRandom(), clock=SystemClock())
            try:
                return await work(store)
            finally:
                await store.aclose()

        return asyncio.run(session())

    def write(self, *records: Any) -> None:
        """Put records, in one transition."""
        decision = Decision(None, tuple(Put(record) for record in records))
        now = NumericDate(int(SystemClock().now()))
        self.at_store(lambda store: store.transition(SubjectKey(Subject("nobody")), lambda _: decision, now=now))

    def codes(self, number: int, *, client: Client = PAGE) -> list[str]:
        """Sign Ana in on so many devices; a code of each."""
        now = NumericDate(int(SystemClock().now()))
        codes, records = [], []
        for _ in range(number):
            code = base64url.encode(os.urandom(32))
            browser = Digest(os.urandom(32))
            codes.append(code)
            records += [
                BrowserSession(browser, ANA.subject, now, "pwd", ("pwd",), NumericDate(now + 3600), "Firefox · Linux"),
                AuthorizationCode(
                    code_digest=sha256_of(Secret(code)),
                    client_id=client.client_id,
                    redirect_uri=CALLBACK,
                    code_challenge=base64url.encode(hashlib.sha256(VERIFIER.encode()).digest()),
                    nonce=None,
                    scope=client.scope,
                    resource=(),
                    subject=ANA.subject,
                    browser_session=browser,
                    device_name="Firefox · Linux",
                    place="",
                    auth_time=now,
                    acr="pwd",
                    amr=("pwd",),
                    created=now,
                    expires=NumericDate(now + 600),
                ),
            ]
        self.write(*records)
        return codes

    def signed_in(self, number: int = 1, *, client: Client = PAGE) -> list[dict[str, Any]]:
        """Token answers of so many devices."""

        async def exchange() -> list[httpx2.Response]:
            forms = [exchange_form(code, client=client) for code in codes]
            return await self.at_once([("/token", form) for form in forms])

        codes = self.codes(number, client=client)
        answers = asyncio.run(exchange())
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        return [answer.json() for answer in answers]

    # ── requests ─────────────────────────────────────────────────────────────────────

    async def at_once(self, requests: Sequence[tuple[str, dict[str, str]]]) -> list[httpx2.Response]:
        """Send all together, the servers in turn; the answers in the same order."""
        async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
            turns = itertools.cycle(self.servers)
            posts = [http.post(next(turns).url + path, data=form) for path, form in requests]
            return list(await asyncio.gather(*posts))

    def post(self, path: str, form: dict[str, str], *, server: int = 0) -> httpx2.Response:
        """Send one request to one of them."""
        return httpx2.post(self.servers[server].url + path, data=form, timeout=60, trust_env=False)

    def refresh(self, token: str, *, attempt: str, server: int = 0) -> httpx2.Response:
        """Refresh as the public page."""
        return self.post("/token", refresh_form(token, attempt=attempt), server=server)


def exchange_form(code: str, *, client: Client = PAGE) -> dict[str, str]:
    """A code exchange (RFC 6749 §4.1.3)."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return {**form, **_credentials(client)}


def refresh_form(token: str, *, attempt: str | None = None, client: Client = PAGE) -> dict[str, str]:
    """A refresh (RFC 6749 §6)."""
    form = {"grant_type": "refresh_token", "refresh_token": token, **_credentials(client)}
    return form if attempt is None else {**form, "refresh_attempt": attempt}


def _credentials(client: Client) -> dict[str, str]:
    public = client.client_type is ClientType.PUBLIC
    return {"client_id": client.client_id} if public else {"client_id": client.client_id, "client_secret": SECRET}
