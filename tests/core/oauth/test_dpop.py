"""DPoP proofs and nonces (RFC 9449)."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest

from portero.adapters.keys.generate import generate_private_key
from portero.core.errors import RequestError
from portero.core.jose import base64url
from portero.core.jose.jwk import private_key_to_jwk, render_public_jwk
from portero.core.jose.jws import sign_compact
from portero.core.oauth.dpop import NONCE_SLOT, VerifiedProof, issue_nonce, validate_nonce, verify_proof
from portero.core.types import NumericDate, Secret

HTU = "https://as.example/token"
NOW = NumericDate(1_800_000_000)
LEEWAY = 60
NONCE_KEY = Secret(b"k" * 32)
NONCE = issue_nonce(NONCE_KEY, now=NOW)
KEY = generate_private_key("ES256")
ATH = Secret("an access token")


def jwk_of(key: Any = KEY) -> dict[str, str]:
    return {name: value for name, value in render_public_jwk(key.public).items() if name in ("kty", "crv", "x", "y")}


def made(header: dict[str, Any] | None = None, key: Any = KEY, **changes: Any) -> str:
    claims = {"htm": "POST", "htu": HTU, "iat": NOW, "jti": "j", "nonce": NONCE, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    members = {"typ": "dpop+jwt", "jwk": jwk_of(key), **(header or {})}
    return sign_compact({n: v for n, v in members.items() if v is not None}, orjson.dumps(kept), key)


def verified(proof: str, **changes: Any) -> VerifiedProof:
    arguments: dict[str, Any] = {"htm": "POST", "htu": HTU, "now": NOW, "leeway": LEEWAY, "nonce_key": NONCE_KEY}
    return verify_proof(proof, **{**arguments, **changes})


def refusal(proof: str, **changes: Any) -> str:
    with pytest.raises(RequestError) as caught:
        verified(proof, **changes)
    return caught.value.error


def test_a_proof_names_its_key_by_thumbprint() -> None:
    """RFC 9449 §6.1, RFC 7638."""
    assert verified(made()).jkt == KEY.public.thumbprint


@pytest.mark.parametrize("alg", ["RS256", "Ed25519"])
def test_other_algorithms_work_too(alg: str) -> None:
    """Whatever metadata announces."""
    key = generate_private_key(alg)
    jwk = {n: v for n, v in render_public_jwk(key.public).items() if n not in ("kid", "use", "alg")}

    assert verified(made({"jwk": jwk}, key)).jkt == key.public.thumbprint


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "GET"},
        {"htm": "post"},
        {"htm": None},
        {"htu": "https://as.example/revoke"},
        {"htu": "https://evil.example/token"},
        {"htu": "http://as.example/token"},
        {"htu": "https://as.example:444/token"},
        {"htu": "https://as.example/token/"},
        {"htu": "https://[bad/token"},
        {"htu": 1},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 257},
        {"iat": None},
        {"iat": "1800000000"},
        {"iat": NOW + LEEWAY + 1},
        {"iat": NOW - LEEWAY - NONCE_SLOT - 1},
    ],
)
def test_a_proof_for_something_else_is_refused(changes: dict[str, Any]) -> None:
    """RFC 9449 §4.3, items 8 to 11."""
    assert refusal(made(**changes)) == "invalid_dpop_proof"


@pytest.mark.parametrize("htu", ["HTTPS://AS.EXAMPLE/token", "https://as.example:443/token", HTU + "?x=1", HTU + "#x"])
def test_htu_is_compared_in_its_normal_form(htu: str) -> None:
    """RFC 9449 §4.3: without query and fragment, after syntax- and scheme-based normalization."""
    assert verified(made(htu=htu)).jkt == KEY.public.thumbprint


@pytest.mark.parametrize("iat", [NOW + LEEWAY, NOW - LEEWAY - NONCE_SLOT])
def test_iat_at_its_bounds_is_good(iat: int) -> None:
    """The other side of the limits above."""
    assert verified(made(iat=iat)).jkt == KEY.public.thumbprint


@pytest.mark.attack(row=21)
def test_a_private_key_in_the_header_is_refused() -> None:
    """RFC 9449 §4.3, item 7: whoever sends it has given it away."""
    private = orjson.loads(private_key_to_jwk(KEY).reveal())

    assert refusal(made({"jwk": private})) == "invalid_dpop_proof"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "at+jwt"},
        {"jwk": None},
        {"jwk": "x"},
        {"jwk": []},
        {"jwk": {}},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": jwk_of(generate_private_key("ES256"))},
    ],
)
def test_a_header_that_is_no_proof_s_is_refused(header: dict[str, Any]) -> None:
    """RFC 9449 §4.3, items 2 to 6: typ, and a signature by the very key in the header."""
    assert refusal(made(header)) == "invalid_dpop_proof"


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "a.b.c.d.e", "{}", "é" * 10, "A" * 5000 + ".a.b"])
def test_nonsense_is_an_invalid_proof(proof: str) -> None:
    """Never anything else."""
    assert refusal(proof) == "invalid_dpop_proof"


def test_ath_is_the_access_token_s_hash() -> None:
    """RFC 9449 §4.2, §7: where a token comes with the proof, it is this one."""
    ath = base64url.encode(hashlib.sha256(b"an access token").digest())

    assert verified(made(ath=ath), expected_ath=ATH).jkt == KEY.public.thumbprint
    assert refusal(made(ath=ath + "x"), expected_ath=ATH) == "invalid_dpop_proof"
    assert refusal(made(), expected_ath=ATH) == "invalid_dpop_proof"


# ── nonces ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("nonce", [None, "", "x", NONCE[:-1], NONCE + "A", "é", 1])
def test_without_a_nonce_of_ours_one_is_asked_for(nonce: Any) -> None:
    """RFC 9449 §8."""
    assert refusal(made(nonce=nonce)) == "use_dpop_nonce"


def test_a_nonce_lives_for_its_slot_and_the_next() -> None:
    """Both sides: good until the end of the following slot, no longer."""
    start = NumericDate(NOW // NONCE_SLOT * NONCE_SLOT)
    nonce = issue_nonce(NONCE_KEY, now=start)

    assert validate_nonce(nonce, key=NONCE_KEY, now=NumericDate(start + 2 * NONCE_SLOT - 1))
    assert not validate_nonce(nonce, key=NONCE_KEY, now=NumericDate(start + 2 * NONCE_SLOT))
    assert not validate_nonce(nonce, key=NONCE_KEY, now=NumericDate(start - NONCE_SLOT - 1))
    assert not validate_nonce(nonce, key=Secret(b"l" * 32), now=start)


def test_a_proof_is_remembered_for_as_long_as_it_could_be_sent_again() -> None:
    """The mark outlives nonce and iat, and is the key's own."""
    mark = verified(made()).replay
    other = generate_private_key("ES256")

    assert mark.expires > NOW + 2 * NONCE_SLOT + LEEWAY
    assert mark.digest != verified(made(key=other)).replay.digest
    assert mark.digest == verified(made()).replay.digest
