"""Microseconds to verify one access token, beside PyJWT, joserfc and golang-jwt, in alternating runs.

Portero's figure is the whole path with every strict check on; the others are given what they offer: an
algorithm list, issuer, audience, required `exp`. Keys are parsed beforehand for everybody. `floor` is
cryptography and orjson without any check. Processor time of the process, not the clock on the wall: a
neighbour that takes the core in the middle of a run then counts for nobody.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench import plot, report
from portero.adapters.keys.generate import generate_private_key
from portero.core.jose import base64url
from portero.core.jose.jwk import PrivateKey, private_key_from_jwk, render_public_jwk
from portero.core.jose.jwk_set import jwk_set_of
from portero.core.jose.jws import sign_compact
from portero.core.tokens.access_token import AccessTokenRules, access_token_claims, verify_access_token
from portero.core.types import Secret

AIMS = {"RS256": 0.75, "ES256": 0.85, "HS256": 0.70}
"""Of golang-jwt's time."""
ALGORITHMS = ("ES256", "RS256", "HS256", "Ed25519")
ROUNDS = 21
SECONDS_PER_CELL = 0.02
ISSUER, AUDIENCE = "https://auth.shop.example", "https://shop.example/orders"
GO_VERSION = "v5.3.1"

Verify = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Case:
    """One algorithm's token and key."""

    alg: str
    token: str
    jwk: dict[str, str]
    key: PrivateKey


def main() -> None:
    """Measure, write `results/verify.json` and `results/verify.svg`, print the table and the last line."""
    cases = [_case(alg) for alg in ALGORITHMS]
    python = {case.alg: _contestants(case) for case in cases}
    with tempfile.TemporaryDirectory(prefix="portero-bench-") as folder:
        golang = _Golang.start(Path(folder), cases)
        try:
            samples = _alternate(python, golang)
        finally:
            if golang is not None:
                golang.close()
    _report(samples, golang is not None)


def _alternate(python: dict[str, dict[str, Verify]], golang: _Golang | None) -> dict[str, dict[str, list[float]]]:
    """Run every contestant of every algorithm in turn, `ROUNDS` times; microseconds a token."""
    samples: dict[str, dict[str, list[float]]] = {alg: {name: [] for name in runs} for alg, runs in python.items()}
    counts = {(alg, name): _count_for(run) for alg, runs in python.items() for name, run in runs.items()}
    for number in range(ROUNDS):
        for alg, runs in python.items():
            order = list(runs.items())
            for name, run in order if number % 2 == 0 else reversed(order):
                samples[alg][name].append(_time(run, counts[alg, name]))
            if golang is not None:
                count = counts[alg, "portero"]
                samples[alg].setdefault("golang-jwt", []).append(golang.time(alg, count))
    return samples


def _time(run: Verify, count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        run()
    return (time.process_time() - start) / count * 1e6


def _count_for(run: Verify) -> int:
    run()
    return max(20, int(SECONDS_PER_CELL / (_time(run, 20) / 1e6)))


def _case(alg: str) -> Case:
    if alg == "HS256":
        jwk = {"kty": "oct", "k": base64url.encode(os.urandom(32)), "alg": alg}
        key = private_key_from_jwk(Secret(orjson.dumps(jwk)), insecure_allow_hmac=True)
    else:
        key = generate_private_key(alg)
        jwk = render_public_jwk(key.public)
    now = int(time.time())
    claims = access_token_claims(
        issuer=ISSUER,
        subject="usr_7Jf2pQd0sLkV9mXw",
        audience=AUDIENCE,
        client_id="shop-web",
        scope=["openid", "orders:read", "orders:write"],
        jti=base64url.encode(os.urandom(16)),
        iat=now,
        exp=now + 3600,
        sid=base64url.encode(os.urandom(16)),
        auth_time=now - 60,
        acr="pwd",
        amr=["pwd"],
        roles=["manager"],
    )
    return Case(alg, sign_compact({"typ": "at+jwt"}, orjson.dumps(claims), key), jwk, key)


def _contestants(case: Case) -> dict[str, Verify]:
    return {"portero": _portero(case), "floor": _floor(case), "PyJWT": _pyjwt(case), "joserfc": _joserfc(case)}


def _portero(case: Case) -> Verify:
    rules = AccessTokenRules(ISSUER, AUDIENCE, (case.alg,), insecure_accept_symmetric=case.alg == "HS256")
    find_key, token, clock = jwk_set_of([case.key.public]).find, case.token, time.time
    return lambda: verify_access_token(token, rules=rules, find_key=find_key, now=clock())


def _floor(case: Case) -> Verify:
    verify, token = case.key.public.verify, case.token

    def run() -> object:
        signing_input, _, signature = token.rpartition(".")
        _, _, payload = signing_input.partition(".")
        assert verify(base64url.decode(signature), signing_input.encode())
        return orjson.loads(base64url.decode(payload))

    return run


def _pyjwt(case: Case) -> Verify:
    import jwt

    name = "EdDSA" if case.alg == "Ed25519" else case.alg
    key = jwt.PyJWK({**case.jwk, "alg": name})
    token = _renamed(case, name)
    required: Any = {"require": ["exp", "iss", "aud", "sub", "iat", "jti"]}

    return lambda: jwt.decode(token, key, algorithms=[name], issuer=ISSUER, audience=AUDIENCE, options=required)


def _joserfc(case: Case) -> Verify:
    from joserfc import jwk, jwt

    key = jwk.import_key({name: value for name, value in case.jwk.items() if name != "alg"})
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}, exp={"essential": True}
    )
    token, algorithms = case.token, [case.alg]

    def run() -> object:
        decoded = jwt.decode(token, key, algorithms=algorithms)
        registry.validate(decoded.claims)
        return decoded

    return run


def _renamed(case: Case, name: str) -> str:
    """The same token under the algorithm's older name, for libraries that know only that one."""
    if name == case.alg:
        return case.token
    _, payload, _ = case.token.split(".")
    head = base64url.encode(orjson.dumps({"alg": name, "kid": case.key.kid, "typ": "at+jwt"}))
    return f"{head}.{payload}.{base64url.encode(case.key.sign(f'{head}.{payload}'.encode()))}"


class _Golang:
    """golang-jwt in a process of its own that answers how long N tokens took."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    def start(cls, folder: Path, cases: list[Case]) -> _Golang | None:
        """Build into `folder` and start; `None`, with the reason on stderr, where Go or its module is missing."""
        if shutil.which("go") is None:
            print("golang-jwt: go is not on PATH", file=sys.stderr)
            return None
        source = Path(__file__).parent / "golang"
        for name in ("main.go", "go.mod", "go.sum"):
            shutil.copy(source / name, folder / name)
        built = subprocess.run(
            ["go", "build", "-o", "verify", "."], cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        if built.returncode != 0:
            print(f"golang-jwt: does not build: {built.stderr.strip()[-300:]}", file=sys.stderr)
            return None
        process = subprocess.Popen([folder / "verify"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        work = [
            {
                "alg": case.alg,
                "token": _renamed(case, "EdDSA" if case.alg == "Ed25519" else case.alg),
                "jwk": case.jwk,
                "issuer": ISSUER,
                "audience": AUDIENCE,
            }
            for case in cases
        ]
        golang = cls(process)
        golang._write(json.dumps(work))
        for case in cases:
            golang.time(case.alg, 200)
        return golang

    def time(self, alg: str, count: int) -> float:
        """Microseconds a token, over `count` tokens."""
        self._write(f"{alg} {count}")
        assert self._process.stdout is not None
        return int(self._process.stdout.readline()) / count / 1000

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def _report(samples: dict[str, dict[str, list[float]]], with_golang: bool) -> None:
    medians = {alg: {name: report.median(values) for name, values in runs.items()} for alg, runs in samples.items()}
    names = list(medians["ES256"])
    print(f"{'µs a token':12}" + "".join(f"{name:>12}" for name in names))
    for alg, row in medians.items():
        print(f"{alg:12}" + "".join(f"{row[name]:12.1f}" for name in names))
    ratios = {
        f"{alg.lower()}_over_{name.removesuffix('-jwt').lower()}": row["portero"] / row[name]
        for alg, row in medians.items()
        for name in names
        if name != "portero"
    }
    installed = report.versions("portero", "cryptography", "orjson", "pyjwt", "joserfc")
    results = {
        "unit": "µs of processor time a token, median",
        "rounds": ROUNDS,
        "versions": {**installed, "golang-jwt": GO_VERSION if with_golang else "missing", "go": _go_version()},
        "medians": medians,
        "fastest": {alg: {name: min(values) for name, values in runs.items()} for alg, runs in samples.items()},
        "ratios": ratios,
        "aims_over_golang": AIMS,
    }
    report.write_json("verify", results)
    host = report.machine()
    plot.bars(
        report.RESULTS / "verify.svg",
        title="Verifying one access token",
        unit="µs",
        groups=medians,
        note=f"less is better · {host['processor']} · Python {host['python']} · median of {ROUNDS} alternating runs",
    )
    if not with_golang:
        report.last_line("verify", {"es256_over_golang": "missing"}, aim=AIMS["ES256"], met=None)
        return
    figures: dict[str, object] = {
        f"{alg.lower()}_over_golang": ratios[f"{alg.lower()}_over_golang"] for alg in ALGORITHMS
    }
    figures |= {f"{alg.lower()}_over_pyjwt": ratios[f"{alg.lower()}_over_pyjwt"] for alg in ("ES256", "RS256", "HS256")}
    for alg, aim in AIMS.items():
        print(f"{alg} over golang-jwt: {ratios[f'{alg.lower()}_over_golang']:.3f}, aim {aim:g}")
    report.last_line("verify", figures, aim=AIMS["ES256"], met=ratios["es256_over_golang"] <= AIMS["ES256"])


def _go_version() -> str:
    go = shutil.which("go")
    if go is None:
        return "missing"
    return subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
