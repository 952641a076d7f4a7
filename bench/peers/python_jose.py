"""The peer of `bench verify` that is python-jose, in an environment of its own; see `bench/verify_peers.py`."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from jose import jwk, jwt  # type: ignore[import-not-found, unused-ignore]  # installed in its own environment only


def verifier(one: dict[str, Any]) -> Callable[[], object]:
    key, token, algorithms = jwk.construct(one["jwk"], one["alg"]), one["token"], [one["alg"]]
    issuer, audience = one["issuer"], one["audience"]
    required = {f"require_{name}": True for name in ("exp", "iss", "aud", "sub", "iat", "jti")}
    return lambda: jwt.decode(token, key, algorithms=algorithms, issuer=issuer, audience=audience, options=required)


def main() -> None:
    work = {one["alg"]: one for one in json.loads(sys.stdin.readline())}
    verifiers = {alg: verifier(one) for alg, one in work.items() if alg != "Ed25519"}  # it has no EdDSA
    version = importlib.metadata.version("python-jose")
    print(json.dumps({"python-jose": {"version": version, "algorithms": list(verifiers)}}), flush=True)
    for line in sys.stdin:
        _, alg, count = line.split()
        run = verifiers[alg]
        start = time.process_time_ns()
        for _ in range(int(count)):
            run()
        print(time.process_time_ns() - start, flush=True)


if __name__ == "__main__":
    main()
