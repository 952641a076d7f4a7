"""The JWS vectors of the Wycheproof project, where they are present beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from portero.core.jose.jwk import JwkError, PublicKey, parse_public_jwk
from portero.core.jose.jws import INSECURE_ANY_TYP, JwsError, verify_compact

FILE = Path(__file__).parents[2].parent / "shared/vectors/wycheproof/json_web_signature_test.json"
FAULTY = frozenset({346, 347, 350, 351, 367, 370, 372, 373})
"""Cases whose own data contradicts itself, such as a key of another `alg` marked valid, or `?` inside base64url."""
USABLE = 393
EVERY_ALGORITHM = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "HS256", "Ed25519")

pytestmark = pytest.mark.skipif(
    not FILE.exists(), reason=f"{USABLE} vectors not run: {FILE.name} is not beside the checkout"
)


def cases() -> list[Any]:
    if not FILE.exists():
        return []
    groups = json.loads(FILE.read_bytes())["testGroups"]
    return [
        pytest.param(group.get("public", group["private"]), case["jws"], case["result"], id=f"tcId{case['tcId']}")
        for group in groups
        for case in group["tests"]
        if case["tcId"] not in FAULTY
    ]


def accepts(jwk: dict[str, Any], jws: object) -> bool:
    token = jws if isinstance(jws, str) else orjson.dumps(jws).decode()
    try:
        key = parse_public_jwk(jwk, insecure_allow_hmac=True)

        def find_key(kid: str | None, alg: str) -> PublicKey | None:
            return key

        verify_compact(token, find_key=find_key, algorithms=EVERY_ALGORITHM, expected_typ=INSECURE_ANY_TYP)
    except (JwkError, JwsError):
        return False
    return True


def test_all_usable_vectors_are_here() -> None:
    """None is left out in silence."""
    assert len(cases()) == USABLE


@pytest.mark.parametrize(("jwk", "jws", "result"), cases())
def test_vector(jwk: dict[str, Any], jws: object, result: str) -> None:
    """A valid vector is accepted, an invalid one refused, by the same path that verifies access tokens."""
    assert accepts(jwk, jws) is (result == "valid")
