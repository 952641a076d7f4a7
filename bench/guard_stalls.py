"""How long a guarded event loop keeps everybody waiting: beside an idle one, in the same run.

One process is the service: an event loop on its own core that checks tokens and, every millisecond, notes how
late a timer came. Another is the issuer, which rotates its keys, stops answering, or is asked about by a flood
of tokens with key names nobody knows. Phases alternate with idle ones; a stall is the latest timer of a phase,
the median of all rounds, so that a neighbour who takes the core once counts for nobody. Beside it stands what
the loop's thread worked between two turns of the timer at most: the service's own part of a stall, which a busy
machine changes little.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.report import median
from portero.resource_server import Guard, KeyCachePolicy, Principal, Refusal
from portero.testing.jwks_server import Behaviour, JwksServer
from portero.testing.tokens import AUDIENCE, new_key

ROUNDS = 11
SECONDS = 1.0
PHASES = ("rotation", "outage", "flood")
ROTATIONS = 2
"""New keys in one phase, one after the other."""
TICK = 0.001
WORKERS = {"idle": 0, "rotation": 4, "outage": 4, "flood": 8}
"""Tasks, each of which checks one token every tick."""
AIM_MS = 1.0


@dataclass(frozen=True, slots=True)
class Stall:
    """The worst of one phase, in milliseconds."""

    late: float
    worked: float


def measure() -> dict[str, Stall]:
    """Run all phases; the idle loop's worst stall, and by how much that of each other phase is longer."""
    cores = sorted(os.sched_getaffinity(0))
    # Before the issuer's threads begin: they inherit it, and would otherwise answer on the service's core.
    os.sched_setaffinity(0, {cores[-1]})
    try:
        with JwksServer(heartbeat=1.0) as server, TemporaryDirectory() as folder:
            service = _Service(server.url, core=cores[0], folder=Path(folder))
            try:
                found: dict[str, list[Stall]] = {name: [] for name in ("idle", *PHASES)}
                for _ in range(ROUNDS):
                    for phase in PHASES:
                        found["idle"].append(service.run("idle", []))
                        found[phase].append(_phase(phase, server, service))
            finally:
                service.close()
    finally:
        os.sched_setaffinity(0, set(cores))
    worst = {
        name: Stall(median([one.late for one in stalls]), median([one.worked for one in stalls]))
        for name, stalls in found.items()
    }
    idle = worst["idle"]
    beyond = {name: Stall(worst[name].late - idle.late, worst[name].worked - idle.worked) for name in PHASES}
    return {"idle": idle, **beyond}


def _phase(phase: str, server: JwksServer, service: _Service) -> Stall:
    issuer = server.issuer
    good = [issuer.mint(sid=f"session-{n}") for n in range(200)]
    if phase == "flood":
        strangers = new_key(kid="nobody's")
        return service.run(phase, [issuer.mint(key=strangers, header={"kid": f"random-{n}"}) for n in range(2000)])
    if phase == "outage":
        running = service.begin(phase, good)
        server.behave(Behaviour.FAIL, path="/jwks")
        try:
            return running()
        finally:
            server.behave(None, path="/jwks")
    keys = [new_key(kid=f"{time.monotonic_ns()}-{n}") for n in range(ROTATIONS)]
    fresh = [[issuer.mint(key=key, sid=f"new-{n}") for n in range(100)] for key in keys]
    running = service.begin(phase, good, fresh)
    for key in keys:
        issuer.keys = [*issuer.keys, key][-2 * ROTATIONS :]
        time.sleep(SECONDS / ROTATIONS)
    issuer.tokens.key = keys[-1]
    return running()


class _Service:
    """The other process: told a phase by a line, answers its worst stall in milliseconds by a line."""

    def __init__(self, issuer: str, *, core: int, folder: Path) -> None:
        self._tokens = folder / "tokens.json"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.guard_stalls", issuer, str(core), str(self._tokens)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def begin(self, phase: str, tokens: list[str], fresh: list[list[str]] | None = None) -> Any:
        """Start a phase; what is returned waits for its end."""
        self._tokens.write_text(json.dumps([tokens, fresh or []]))
        assert self._process.stdin is not None
        self._process.stdin.write(phase + "\n")
        self._process.stdin.flush()
        self._read()
        return lambda: Stall(*json.loads(self._read()))

    def run(self, phase: str, tokens: list[str]) -> Stall:
        """A phase from begin to end."""
        worst: Stall = self.begin(phase, tokens)()
        return worst

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the measured service ended")
        return line.strip()


async def _serve(issuer: str, tokens_file: Path) -> None:
    policy = KeyCachePolicy(refresh_after=0.5, max_age=3600, unknown_kid_interval=0.25)
    guard = Guard(issuers=[issuer], audience=AUDIENCE, revocation=None, key_policy=policy)
    requirement = guard.requires(scopes=["orders:read"])
    keys = guard.trust(issuer).keys
    print("ready", flush=True)
    while phase := (await asyncio.to_thread(sys.stdin.readline)).strip():
        tokens, fresh = json.loads(await asyncio.to_thread(tokens_file.read_text))
        encoded = [[token.encode() for token in part] for part in (tokens, *fresh)]
        if phase != "idle":  # then there is nothing beside the timer
            began = time.monotonic()
            await guard.start()
            while keys.fetched_at < began:  # noqa: ASYNC110 - what was rotated while it was closed is known then
                await asyncio.sleep(TICK)
        # What the phases before left behind is no stall of this one.
        gc.collect()
        gc.freeze()
        print("begun", flush=True)
        ends = time.perf_counter() + SECONDS
        workers = [
            asyncio.create_task(_ask(guard, requirement, encoded, number, ends, flood=phase == "flood"))
            for number in range(WORKERS[phase])
        ]
        worst = await _worst_delay(ends)
        await asyncio.gather(*workers)
        await guard.aclose()
        print(json.dumps([seconds * 1000 for seconds in worst]), flush=True)


async def _worst_delay(ends: float) -> tuple[float, float]:
    late = worked = 0.0
    now, thread = time.perf_counter(), time.thread_time()
    while now < ends:
        await asyncio.sleep(TICK)
        late = max(late, time.perf_counter() - now - TICK)
        worked = max(worked, time.thread_time() - thread)
        now, thread = time.perf_counter(), time.thread_time()
    return late, worked


async def _ask(
    guard: Guard, requirement: Any, parts: list[list[bytes]], number: int, ends: float, *, flood: bool
) -> None:
    began = time.perf_counter()
    turn = number
    served: set[type] = set()
    while (now := time.perf_counter()) < ends:
        # A key signs a moment after it is published, as issuers do it.
        part = min(len(parts) - 1, int((now - began) / SECONDS * ROTATIONS))
        chosen = parts[part] if turn % 2 else parts[0]
        served.add(type(await guard.check(chosen[turn % len(chosen)], requirement)))
        turn += 1
        await asyncio.sleep(TICK)
    if served != {Refusal if flood else Principal}:
        raise RuntimeError(f"this phase was not what it should be: {served}")


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[3])))
