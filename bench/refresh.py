"""`make bench NAME=refresh`: refresh grants a second on one core, durable, beside oidc-provider in memory.

Alternating runs in one session: Portero on SQLite (`synchronous=FULL`), Portero on PostgreSQL where one can be started,
and oidc-provider (npm, in-memory adapter, rotation on). Each server has one core to itself and the load generator the
other; both say how busy they were. Every chain refreshes its own token over its own keep-alive connection.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.load import Outcome, drive, post
from bench.plot import bars
from bench.report import RESULTS, last_line, median, versions, write_json
from bench.sign_ins import refresh_tokens

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".build/peers/oidc-provider"
PEER_VERSION = "9.13.3"
CHAINS = 64
SECONDS = 4.0
ROUNDS = 5
AIM_SQLITE, AIM_POSTGRESQL = 2.5, 1.5
SERVER_CORE, LOAD_CORE = 0, 1

Chain = Callable[[bytes | None], bytes | None]


@dataclass(slots=True)
class Contender:
    """A running server with its live refresh tokens, and what its rounds gave."""

    name: str
    port: int
    pid: int
    chains: list[Chain]
    rounds: list[Outcome] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    written: list[tuple[float, float]] = field(default_factory=list)
    """Write system calls and bytes a refresh."""

    @property
    def rate(self) -> float:
        return median([one.rate for one in self.rounds])


def rotating(token: str, body: Callable[[str], str]) -> Chain:
    """A chain that sends its token and goes on with the successor."""

    def request(answer: bytes | None) -> bytes | None:
        nonlocal token
        if answer is not None:
            start = answer.index(b'"refresh_token":"') + 17
            token = answer[start : answer.index(b'"', start)].decode()
        return post("/token", body(token))

    return request


@contextmanager
def portero(name: str, database: str, folder: Path) -> Iterator[Contender]:
    """`portero serve`, pinned to its core, with a user, a public client and as many families as there are chains."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    issuer = f"http://127.0.0.1:{port}"
    config = folder / "server.toml"
    lines = {"issuer": issuer, "port": port, "database": database, "secrets_file": str(folder / "secrets")}
    # Sixty-four chains at dozens of refreshes a second are what this limit is for: counted as ever, but let through.
    lines["token_limit_session"] = "1000000/1s"
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
    config.write_text(f"[authorization_server]\n{text}\n")
    command = [sys.executable, "-m", "portero"]
    password = secrets.token_urlsafe(12)
    # The load comes from one address with one client: the limits on /token are for strangers, not for this.
    run = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run(
        [*command, "user", "add", "bench", "--password-stdin", "--config", str(config)],
        input=password.encode(), **run,  # type: ignore[call-overload]
    )  # fmt: skip
    subprocess.run(
        [*command, "client", "add", "bench", "--public", "--first-party", "--redirect-uri", "https://client.example/cb",
         "--scope", "orders:read", "--scope", "offline_access", "--audience", "https://shop.example/orders",
         "--config", str(config)], **run,  # type: ignore[call-overload]
    )  # fmt: skip
    server = subprocess.Popen(
        [*command, "serve", "--config", str(config)], cwd=folder, stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"), preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )  # fmt: skip
    try:
        wait_for(f"{issuer}/readyz", server)
        tokens = refresh_tokens(
            issuer,
            client_id="bench",
            username="bench",
            password=password,
            count=CHAINS,
            scope="orders:read offline_access",
        )

        def body(token: str) -> str:
            return (
                f"grant_type=refresh_token&client_id=bench&refresh_token={token}"
                f"&refresh_attempt={secrets.token_urlsafe(16)}"
            )

        yield Contender(name, port, server.pid, [rotating(token, body) for token in tokens])
    finally:
        server.terminate()
        server.wait(20)


@contextmanager
def oidc_provider() -> Iterator[Contender]:
    """The peer, installed from npm at the first run."""
    installed = PEER / "node_modules/oidc-provider/package.json"
    if not installed.exists():
        PEER.mkdir(parents=True, exist_ok=True)
        (PEER / "package.json").write_text('{"private": true}\n')
        subprocess.run(
            ["npm", "install", "--silent", "--no-fund", "--no-audit", f"oidc-provider@{PEER_VERSION}"],
            cwd=PEER,
            check=True,
        )
    server = subprocess.Popen(
        ["node", str(ROOT / "bench/peers/oidc-provider.mjs"), str(PEER), str(CHAINS)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )  # fmt: skip
    assert server.stdout is not None
    try:
        told = json.loads(server.stdout.readline())

        def body(token: str) -> str:
            return (
                f"grant_type=refresh_token&client_id={told['client_id']}&client_secret={told['client_secret']}"
                f"&refresh_token={token}"
            )

        chains = [rotating(token, body) for token in told["tokens"]]
        yield Contender(f"oidc-provider {told['version']}, memory", told["port"], server.pid, chains)
    finally:
        server.terminate()
        server.wait(20)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own server on loopback
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def io_counts(pid: int) -> tuple[int, int]:
    """Write system calls to anything but sockets cannot be told apart; bytes that reached the block layer can."""
    counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counts["syscw"]), int(counts["write_bytes"])


def one_round(contender: Contender, seconds: float) -> Outcome:
    cpu, (calls, written) = cpu_seconds(contender.pid), io_counts(contender.pid)
    outcome = uvloop.run(drive(contender.port, contender.chains, seconds=seconds))
    after_calls, after_written = io_counts(contender.pid)
    contender.busy.append((cpu_seconds(contender.pid) - cpu) / outcome.seconds)
    done = max(1, len(outcome.latencies))
    contender.written.append(((after_calls - calls) / done, (after_written - written) / done))
    return outcome


def summary(contender: Contender) -> dict[str, object]:
    return {
        "rates": [round(one.rate, 1) for one in contender.rounds],
        "rate": round(contender.rate, 1),
        "p50_ms": round(1000 * median([one.quantile(0.5) for one in contender.rounds]), 2),
        "p99_ms": round(1000 * median([one.quantile(0.99) for one in contender.rounds]), 2),
        "cpu_us_per_refresh": round(1e6 * median(contender.busy) / contender.rate, 1),
        "server_busy": round(median(contender.busy), 2),
        "generator_busy": round(median([one.generator_busy for one in contender.rounds]), 2),
        "write_calls_per_refresh": round(median([calls for calls, _ in contender.written]), 2),
        "bytes_written_per_refresh": round(median([written for _, written in contender.written])),
    }


def main() -> None:
    os.sched_setaffinity(0, {LOAD_CORE})
    # Not /tmp: that may be memory, and durable means on a disk.
    folder = Path(tempfile.mkdtemp(prefix="portero-bench-", dir="/var/tmp"))
    missing = []
    try:
        with ExitStack() as running:
            contenders = [running.enter_context(portero("Portero, SQLite durable", "portero.db", folder / "sqlite"))]
            try:
                from portero.testing.postgresql import running_postgres

                server = running.enter_context(running_postgres())
                contenders.append(
                    running.enter_context(
                        portero("Portero, PostgreSQL", server.create_database("bench"), folder / "postgresql")
                    )
                )
            except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
                missing.append(f"PostgreSQL ({type(error).__name__})")
            try:
                contenders.append(running.enter_context(oidc_provider()))
            except (OSError, subprocess.CalledProcessError, json.JSONDecodeError) as error:
                missing.append(f"oidc-provider ({type(error).__name__})")
            for contender in contenders:
                one_round(contender, 1.0)
                contender.busy.clear()
                contender.written.clear()
            for number in range(ROUNDS):
                for contender in contenders:
                    contender.rounds.append(one_round(contender, SECONDS))
                    print(f"round {number + 1}: {contender.name}: {contender.rounds[-1].rate:.0f}/s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(contenders, missing)


def report(contenders: list[Contender], missing: list[str]) -> None:
    figures = {one.name: summary(one) for one in contenders}
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    for name in missing:
        print(f"missing: {name}")
    peer = next((one for one in contenders if one.name.startswith("oidc-provider")), None)
    over = {one.name: round(one.rate / peer.rate, 2) for one in contenders if one is not peer} if peer else {}
    sqlite = over.get("Portero, SQLite durable")
    postgresql = over.get("Portero, PostgreSQL")
    first = contenders[0]
    table = [
        {
            "what": "refresh grants a second on one core, SQLite, every one on disk",
            "measured": f"{first.rate:.0f}/s" + (f", {sqlite} × oidc-provider in memory" if sqlite else "")
            + f"; p99 {summary(first)['p99_ms']} ms at {CHAINS} at once",
            "aim": f"≥ {AIM_SQLITE} ×",
        }
    ]  # fmt: skip
    if postgresql:
        second = contenders[1]
        table.append(
            {
                "what": "the same on PostgreSQL",
                "measured": f"{second.rate:.0f}/s, {postgresql} ×; p99 {summary(second)['p99_ms']} ms",
                "aim": f"≥ {AIM_POSTGRESQL} ×",
            }
        )
    write_json(
        "refresh",
        {
            "versions": versions("portero", "uvicorn", "uvloop", "cryptography", "psycopg"),
            "chains": CHAINS, "rounds": ROUNDS, "seconds": SECONDS, "contenders": figures, "over_oidc_provider": over,
            "missing": missing, "table": table,
        },
    )  # fmt: skip
    bars(
        RESULTS / "refresh.svg",
        title="Refresh grants a second, one core",
        unit="/s",
        groups={"refresh": {one.name: one.rate for one in contenders}},
        note="median of alternating rounds; more is better",
    )
    met = None if sqlite is None else sqlite >= AIM_SQLITE and (postgresql is None or postgresql >= AIM_POSTGRESQL)
    last_line(
        "refresh",
        {"rate_over_oidc_provider": sqlite if sqlite is not None else "missing",
         "postgresql_over_oidc_provider": postgresql if postgresql is not None else "missing",
         "rate": first.rate, "p99_ms": summary(first)["p99_ms"]},
        aim=AIM_SQLITE,
        met=met,
    )  # fmt: skip


if __name__ == "__main__":
    main()
