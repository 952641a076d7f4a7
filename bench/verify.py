"""Microseconds to verify one access token, beside golang-jwt, PyJWT, joserfc, python-jose and Node, alternating.

Portero's figure is the whole path with every strict check on; the others are given what they offer: an
algorithm list, issuer, audience, required `exp`. Keys are parsed beforehand for everybody. `floor` is
cryptography and orjson without any check. Processor time of the process, not the clock on the wall: a
neighbour that takes the core in the middle of a run then counts for nobody.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from bench import plot, report
from bench.verify_peers import Peer, start_all
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
SECONDS_PER_CELL = 0.06
"""In cells of 0.02 s a peer, whose process waits between its cells, spent a good part of each on cold caches."""
ISSUER, AUDIENCE = "https://auth.shop.example", "https://shop.example/orders"
NAMES = ("portero", "floor", "golang-jwt", "PyJWT", "joserfc", "python-jose", "jose", "fast-jwt")
DRAWN = ("portero", "golang-jwt", "PyJWT", "joserfc", "jose", "fast-jwt")

Verify = Callable[[], object]
"""Verifies one token."""
Run = Callable[[int], float]
"""Verifies that many tokens → microseconds of processor time for each."""
Samples = dict[str, dict[str, list[float]]]
"""Algorithm → contestant → microseconds a token, one for each round."""


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
    runs = {case.alg: {name: _in_process(run) for name, run in _contestants(case).items()} for case in cases}
    versions = report.versions("portero", "cryptography", "orjson", "pyjwt", "joserfc")
    peers, missing = start_all([_work(case) for case in cases])
    try:
        for peer in peers:
            for library, told in peer.libraries.items():
                versions[library] = told["version"]
                for alg in told["algorithms"]:
                    runs[alg][library] = _in_peer(peer, library, alg)
        samples = _alternate(runs)
    finally:
        for peer in peers:
            peer.close()
    _report(samples, versions, missing)


def _alternate(runs: dict[str, dict[str, Run]]) -> Samples:
    """Run every contestant of every algorithm in turn, `ROUNDS` times, every other round backwards."""
    samples: Samples = {alg: {name: [] for name in NAMES if name in row} for alg, row in runs.items()}
    counts = {(alg, name): _count_for(run) for alg, row in runs.items() for name, run in row.items()}
    for number in range(ROUNDS):
        for alg, row in samples.items():
            for name in row if number % 2 == 0 else reversed(row):
                row[name].append(runs[alg][name](counts[alg, name]))
    return samples


def _count_for(run: Run) -> int:
    run(20)
    return max(20, int(SECONDS_PER_CELL / (run(100) / 1e6)))


def _in_process(verify: Verify) -> Run:
    def run(count: int) -> float:
        start = time.process_time()
        for _ in range(count):
            verify()
        return (time.process_time() - start) / count * 1e6

    return run


def _in_peer(peer: Peer, library: str, alg: str) -> Run:
    return lambda count: peer.nanoseconds(library, alg, count) / count / 1000


def _work(case: Case) -> dict[str, object]:
    legacy = _renamed(case, "EdDSA" if case.alg == "Ed25519" else case.alg)
    token = {"token": case.token, "legacy_token": legacy}
    return {"alg": case.alg, **token, "jwk": case.jwk, "issuer": ISSUER, "audience": AUDIENCE}


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


def _report(samples: Samples, versions: dict[str, str], missing: dict[str, str]) -> None:
    medians = {alg: {name: report.median(values) for name, values in runs.items()} for alg, runs in samples.items()}
    names = [name for name in NAMES if any(name in row for row in medians.values())]
    print(f"{'µs a token':12}" + "".join(f"{name:>12}" for name in names))
    for alg, row in medians.items():
        print(f"{alg:12}" + "".join(f"{row[name]:12.1f}" if name in row else f"{'–':>12}" for name in names))
    ratios = {
        f"{alg.lower()}_over_{name.removesuffix('-jwt').lower()}": row["portero"] / row[name]
        for alg, row in medians.items()
        for name in row
        if name != "portero"
    }
    results = {
        "unit": "µs of processor time a token, median",
        "rounds": ROUNDS,
        "versions": versions,
        "missing": missing,
        "medians": medians,
        "fastest": {alg: {name: min(values) for name, values in runs.items()} for alg, runs in samples.items()},
        "ratios": ratios,
        "aims_over_golang": AIMS,
        "table": [_table_row(alg, medians[alg]) for alg in ALGORITHMS],
    }
    report.write_json("verify", results)
    host = report.machine()
    plot.bars(
        report.RESULTS / "verify.svg",
        title="Verifying one access token",
        unit="µs",
        groups={alg: {name: row[name] for name in DRAWN if name in row} for alg, row in medians.items()},
        note=f"less is better · {host['processor']} · Python {host['python']} · median of {ROUNDS} alternating runs",
    )
    if "golang-jwt" in missing:
        report.last_line("verify", {"es256_over_golang": "missing"}, aim=AIMS["ES256"], met=None)
        return
    for alg, aim in AIMS.items():
        print(f"{alg} over golang-jwt: {ratios[f'{alg.lower()}_over_golang']:.3f}, aim {aim:g}")
    figures: dict[str, object] = {
        f"{alg.lower()}_over_golang": ratios[f"{alg.lower()}_over_golang"] for alg in ALGORITHMS
    }
    figures |= {f"{alg.lower()}_over_pyjwt": ratios[f"{alg.lower()}_over_pyjwt"] for alg in AIMS}
    met = all(ratios[f"{alg.lower()}_over_golang"] <= aim for alg, aim in AIMS.items())
    report.last_line("verify", figures, aim=AIMS["ES256"], met=met)


def _table_row(alg: str, row: dict[str, float]) -> dict[str, str]:
    """The README's row: the figure, its ratio to golang-jwt, and the others' figures."""
    golang = row.get("golang-jwt")
    beside = ", ".join(f"{name} {row[name]:.1f}" for name in DRAWN if name in row and name != "portero")
    ratio = f"{row['portero'] / golang:.2f} × golang-jwt" if golang is not None else "golang-jwt missing"
    return {
        "what": f"verify one access token, {alg}, every strict check on",
        "measured": f"{row['portero']:.1f} µs, {ratio} ({beside})",
        "aim": f"≤ {AIMS[alg]:g} × golang-jwt" if alg in AIMS else "none",
    }


if __name__ == "__main__":
    main()
