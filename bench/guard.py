"""What the Guard costs a service: throughput guarded over unguarded, microseconds a hit, bytes a cached token.

    python -m bench guard

Pairs of uvicorn processes serve the same application on the same core, one of each pair guarded,
with a warm cache, keys and a followed feed: a bare ASGI function behind `GuardMiddleware`,
Starlette behind the same, FastAPI with the dependency `requires`. A load generator on another
core sends all of them the same requests, in turns. The bare function is the hardest case: it
does nothing at all, so that the server's own 20 µs are the whole request. Beside it stands what no Guard can be
quicker than: a middleware that awaits the application (`bare passed on`), and one that also digests the header and
looks the digest up, and checks nothing (`bare floor`). The unguarded FastAPI service has a
dependency that checks nothing: what a dependency costs is FastAPI's, what the check costs is ours. The aim is
held by each line for itself, and `ratio` is the worst of them. Every token comes once in a thousand requests, so what
is kept about it has left the processor's caches; all servers are started anew for each third of the rounds, because
where a process happens to lay its memory is worth some per cent.
`bench/guard_stalls.py` measures how long the event loop keeps others waiting.
Last line: `guard ratio=… bare=… starlette=… fastapi=… hit_us=… stall_ms=… … aim=0.9 met|short`; met: all aims.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import timeit
import tracemalloc
from pathlib import Path
from typing import Any

import orjson

from bench import guard_stalls, plot
from bench.load import drive
from bench.report import RESULTS, last_line, machine, median, versions, write_json
from portero.adapters.system import SystemClock
from portero.core.types import Secret
from portero.resource_server import Guard, RevocationFeed
from portero.resource_server.asgi import GuardMiddleware
from portero.resource_server.verified_tokens import digest_of
from portero.testing.issuer import InMemoryIssuer
from portero.testing.jwks_server import JwksServer
from portero.testing.tokens import AUDIENCE

ROUNDS = int(os.environ.get("ROUNDS") or 9)
SECONDS = 1.0
CONNECTIONS = 32
TOKENS = 1000
AIM = 0.9
AIM_HIT_US = 1.5
AIM_LOOKUP_US = 0.2
MEASURED_TOKENS = 2000
BODY = b'{"orders":[]}'
KINDS = ("bare", "starlette", "fastapi")
FLOORS = ("bare passed on", "bare floor")
STARTS = 3
"""How often all servers are started anew."""


def main() -> None:
    """Measure, print, and write `bench/results/guard.json`."""
    hit, lookup, token_length = hit_and_lookup()
    size = _bytes_per_token()
    print(f"cache hit             {hit:6.2f} µs   (token of {token_length} bytes; aim {AIM_HIT_US})")
    print(f"revocation lookup     {lookup:6.2f} µs   (100,000 live entries; aim {AIM_LOOKUP_US})")
    print(f"memory a cached token {size:6.0f} bytes")
    rates, cpu, busy = _throughput()
    ratios = {kind: _ratios(rates, kind) for kind in KINDS}
    ratio = {kind: median(found) for kind, found in ratios.items()}
    # CPU time says the same as throughput, and is disturbed less by whoever else uses the machine.
    by_cpu = {kind: median(cpu[kind]) / median(cpu[f"{kind} guarded"]) for kind in KINDS}
    for name, samples in rates.items():
        print(
            f"{name:21s} {median(samples):6.0f} requests a second, {median(cpu[name]):5.1f} µs of CPU a request"
            f" (medians of {len(samples)})"
        )
    for kind in KINDS:
        print(f"{kind:21s} guarded over unguarded: {ratio[kind]:.3f} by throughput, {by_cpu[kind]:.3f} by CPU")
    floor = {
        name: median([one / bare for one, bare in zip(rates[name], rates["bare"], strict=True)]) for name in FLOORS
    }
    for name, found in floor.items():
        print(f"{name:21s} over unguarded:         {found:.3f} by throughput")
    print(f"load generator busy   {busy:6.0%} of its core at most")
    try:
        stalls = guard_stalls.measure()
        idle = stalls["idle"]
        print(
            f"idle event loop       {idle.late:6.2f} ms late at worst, {idle.worked:.2f} ms of work between two turns"
        )
    except RuntimeError as error:
        print(f"event-loop stalls     not measured: {error}")
        stalls = {}
    beyond = {phase: stalls[phase].late for phase in guard_stalls.PHASES if phase in stalls}
    for phase, milliseconds in beyond.items():
        own = stalls[phase].worked
        print(f"{phase:21s} {milliseconds:+6.2f} ms beyond that (aim {guard_stalls.AIM_MS:g}), {own:+.2f} ms of work")
    stall = max(beyond.values(), default=float("nan"))
    table = [
        {
            "what": f"throughput of a guarded service over an unguarded one, warm cache: {label}",
            "measured": f"{ratio[kind]:.2f} (by CPU time {by_cpu[kind]:.2f}"
            + (
                f"; one digest and one look-up that check nothing: {floor['bare floor']:.2f})"
                if kind == "bare"
                else ")"
            ),
            "aim": f"{AIM}",
        }
        for kind, label in (
            ("bare", "a bare ASGI function that does nothing"),
            ("starlette", "Starlette"),
            ("fastapi", "FastAPI, by dependency, beside a dependency that checks nothing"),
        )
    ]
    table += [
        {"what": "verified-token cache hit", "measured": f"{hit:.2f} µs", "aim": f"{AIM_HIT_US} µs"},
        {
            "what": "revocation lookup among 100,000",
            "measured": f"{lookup:.2f} µs",
            "aim": f"{AIM_LOOKUP_US} µs",
        },
        {
            "what": f"memory of a cached token ({token_length} bytes long)",
            "measured": f"{size:.0f} bytes",
            "aim": "printed",
        },
        {
            "what": "longest event-loop stall beyond an idle loop's: "
            + ", ".join(f"{phase} {milliseconds:.2f} ms" for phase, milliseconds in beyond.items()),
            "measured": f"{max(stall, 0.0):.2f} ms" if beyond else "not measured",
            "aim": f"≤ {guard_stalls.AIM_MS:g} ms",
        },
    ]
    write_json(
        "guard",
        {
            "versions": versions("uvicorn", "uvloop", "httptools", "starlette", "fastapi", "cryptography"),
            "cache_hit_us": hit,
            "revocation_lookup_us": lookup,
            "bytes_per_cached_token": size,
            "token_bytes": token_length,
            "requests_per_second": rates,
            "cpu_us_per_request": cpu,
            "ratios": ratios,
            "guarded_over_unguarded": ratio,
            "guarded_over_unguarded_by_cpu": by_cpu,
            "floor_over_unguarded": floor,
            "generator_busy": busy,
            "stalls_ms": {name: {"late": one.late, "worked": one.worked} for name, one in stalls.items()},
            "table": table,
        },
    )
    host = machine()
    plot.bars(
        RESULTS / "guard.svg",
        title="A service on one core, without a Guard and with one",
        unit="requests a second",
        groups={
            kind: {"unguarded": median(rates[kind]), "guarded": median(rates[f"{kind} guarded"])} for kind in KINDS
        },
        note=f"more is better · {host['processor']} · Python {host['python']} · median of {ROUNDS} alternating runs",
    )
    last_line(
        "guard",
        {
            "ratio": min(ratio.values()),
            **ratio,
            "hit_us": hit,
            "lookup_us": lookup,
            "stall_ms": max(stall, 0.0) if beyond else -1.0,
            "bytes_per_token": round(size),
        },
        aim=AIM,
        met=min(ratio.values()) >= AIM
        and hit <= AIM_HIT_US
        and lookup <= AIM_LOOKUP_US
        and stall <= guard_stalls.AIM_MS,
    )


def _ratios(rates: dict[str, list[float]], kind: str) -> list[float]:
    return [guarded / bare for guarded, bare in zip(rates[f"{kind} guarded"], rates[kind], strict=True)]


def _guard_in_memory(*, cache_entries: int = 20_000) -> tuple[InMemoryIssuer, Guard]:
    issuer = InMemoryIssuer(clock=SystemClock())
    feed = RevocationFeed("service", Secret("secret"))
    guard = Guard(
        issuers=[issuer.url], audience=AUDIENCE, revocation=feed, cache_entries=cache_entries, cache_bytes=2**40
    )
    return issuer, guard


def _as_issued(issuer: InMemoryIssuer, **changes: Any) -> str:
    """A token as authorization servers write it, without blanks in its JSON."""
    return issuer.tokens.compose({}, orjson.dumps(issuer.tokens.claims(**changes)))


def hit_and_lookup() -> tuple[float, float, int]:
    """Microseconds of a cache hit with a route's requirement, and of one look at 100,000 revocations."""
    issuer, guard = _guard_in_memory()
    for n in range(100_000):
        issuer.revoke(sid=f"an-ended-session-{n}")
    issuer.trust_in(guard)
    token = _as_issued(issuer).encode()
    requirement = guard.requires(scopes=["orders:read"])
    guard.admit(token, requirement)
    subscription = guard.trust(issuer.url).subscription
    if subscription is None:
        raise RuntimeError("this Guard follows no feed")
    revoked = subscription.revoked

    def look() -> bool:
        return revoked.names(sid="session-1", jti="token-1", client_id="shop", kid="key-1")

    return _microseconds(lambda: guard.admit(token, requirement)), _microseconds(look), len(token)


def _microseconds(run: Any) -> float:
    """The median of many short runs, each the mean of 5,000 calls; the call of the lambda is included."""
    return median(timeit.repeat(run, number=5_000, repeat=31)) / 5_000 * 1e6


def _bytes_per_token() -> float:
    """What one more cached token adds to the heap, its claims included."""
    issuer, guard = _guard_in_memory(cache_entries=10 * MEASURED_TOKENS)
    issuer.trust_in(guard)
    requirement = guard.requires()
    tokens = [_as_issued(issuer, sid=f"session-{n}", sub=f"user-{n}").encode() for n in range(MEASURED_TOKENS)]
    guard.admit(tokens[0], requirement)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for token in tokens:
        guard.admit(token, requirement)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / (MEASURED_TOKENS - 1)


def _throughput() -> tuple[dict[str, list[float]], dict[str, list[float]], float]:
    """Requests a second and CPU microseconds a request of all servers in turns; how busy the generator was at most."""
    cores = sorted(os.sched_getaffinity(0))
    server_core, load_core = cores[0], cores[-1]
    names = [*(name for kind in KINDS for name in (kind, f"{kind} guarded")), *FLOORS]
    rates: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    busy = 0.0
    with JwksServer(heartbeat=1.0) as issuer:
        tokens = [_as_issued(issuer.issuer, sid=f"session-{n}", exp=2**33) for n in range(TOKENS)]
        os.sched_setaffinity(0, {load_core})
        try:
            for start in range(STARTS):
                servers = {name: _Server(name, issuer.url, core=server_core) for name in names}
                try:
                    for server in servers.values():
                        warmed = 0
                        while warmed < 3 * TOKENS:  # code, and every token in the cache
                            warmed += len(asyncio.run(drive(server.port, _chains(tokens), seconds=0.3)).latencies)
                    for number in range(start, ROUNDS, STARTS):
                        for name in reversed(names) if number % 2 else names:
                            before = servers[name].cpu_seconds()
                            outcome = asyncio.run(drive(servers[name].port, _chains(tokens), seconds=SECONDS))
                            spent = servers[name].cpu_seconds() - before
                            cpu[name].append(spent / len(outcome.latencies) * 1e6)
                            rates[name].append(outcome.rate)
                            busy = max(busy, outcome.generator_busy)
                finally:
                    for server in servers.values():
                        server.close()
        finally:
            os.sched_setaffinity(0, set(cores))
    return rates, cpu, busy


def _chains(tokens: list[str]) -> list[Any]:
    """One chain a connection, each with its own share of the tokens, round and round."""
    head = "GET /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nUser-Agent: bench\r\nAuthorization: Bearer "
    requests = [f"{head}{token}\r\n\r\n".encode() for token in tokens]

    def chain(share: list[bytes]) -> Any:
        place = -1

        def next_request(_answer: bytes | None) -> bytes:
            nonlocal place
            place = (place + 1) % len(share)
            return share[place]

        return next_request

    return [chain(requests[n::CONNECTIONS]) for n in range(CONNECTIONS)]


class _Server:
    """One uvicorn process on one core; it prints its port when it listens."""

    def __init__(self, name: str, issuer: str, *, core: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.guard", "serve", name, issuer, str(core)], stdout=subprocess.PIPE, text=True
        )
        if self._process.stdout is None:
            raise RuntimeError("no pipe")
        self.port = int(self._process.stdout.readline())

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _behind(app: Any, guard: Guard | None) -> Any:
    if guard is None:
        return app
    return GuardMiddleware(app, guard=guard, requirement=guard.requires(scopes=["orders:read"]))


class _PassedOn:
    """The least a middleware can be."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


class _Floor(_PassedOn):
    """The least a cache of verified tokens can be: it finds the header and the entry, and checks nothing."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._seen: dict[bytes, object] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"authorization":
                digest = digest_of(value)
                scope["floor"] = self._seen.get(digest) or self._seen.setdefault(digest, object())
        await self._app(scope, receive, send)


def _bare(guard: Guard | None) -> Any:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    return _behind(app, guard)


def _starlette(guard: Guard | None) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def orders(_: Request) -> Response:
        return Response(BODY, media_type="application/json")

    return _behind(Starlette(routes=[Route("/orders", orders)]), guard)


def _fastapi(guard: Guard | None) -> Any:
    from fastapi import Depends, FastAPI

    from portero.resource_server.fastapi import protect, requires

    app = FastAPI()

    async def orders() -> dict[str, list[int]]:
        return {"orders": []}

    async def nobody() -> None:
        return

    if guard is None:
        app.get("/orders", dependencies=[Depends(nobody)])(orders)
    else:
        protect(app, guard)
        app.get("/orders", dependencies=[requires(guard, scopes=["orders:read"])])(orders)
    return app


def _serve(name: str, issuer: str, core: int) -> None:
    import uvicorn

    os.sched_setaffinity(0, {core})
    kind, _, rest = name.partition(" ")
    guard = None
    if rest == "guarded":
        feed = RevocationFeed("service", Secret("service-secret"))
        guard = Guard(issuers=[issuer], audience=AUDIENCE, revocation=feed)
    served = {"bare": _bare, "starlette": _starlette, "fastapi": _fastapi}[kind](guard)
    if name in FLOORS:
        served = {"passed on": _PassedOn, "floor": _Floor}[rest](served)

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    config = uvicorn.Config(
        served, host="127.0.0.1", port=0, log_level="error", access_log=False, loop="uvloop", http="httptools"
    )
    Announcing(config).run()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        _serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
