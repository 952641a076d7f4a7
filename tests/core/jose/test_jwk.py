"""A key is bound to one algorithm, and a weak or misplaced one is no key."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from portero.adapters.keys.generate import generate_private_key
from portero.core.errors import ConfigurationError
from portero.core.jose import base64url
from portero.core.jose.jwk import (
    JwkError,
    parse_public_jwk,
    private_key_from_jwk,
    private_key_of,
    private_key_to_jwk,
    render_public_jwk,
    thumbprint,
)
from portero.core.jose.roca import has_roca_fingerprint
from portero.core.types import Secret
from tests.core.jose.minting import private_key

ALGS = ("ES256", "RS256", "Ed25519")


def jwk_of(alg: str, /, **changes: Any) -> dict[str, Any]:
    """A good public JWK with members changed, or left out with `...`."""
    whole = {**render_public_jwk(private_key(alg).public), **changes}
    return {name: value for name, value in whole.items() if value is not ...}


def oct_jwk(secret: bytes) -> dict[str, Any]:
    return {"kty": "oct", "k": base64url.encode(secret), "alg": "HS256"}


def refusal(jwk: dict[str, Any], **options: Any) -> str:
    with pytest.raises(JwkError) as caught:
        parse_public_jwk(jwk, **options)
    return str(caught.value)


@pytest.mark.parametrize("alg", ALGS)
def test_a_key_survives_export_and_import(alg: str) -> None:
    """What the exported key signs, the original verifies."""
    key = private_key(alg)

    again = private_key_from_jwk(private_key_to_jwk(key))

    assert (again.alg, again.kid, again.public.thumbprint) == (alg, key.kid, key.public.thumbprint)
    assert key.public.verify(again.sign(b"text"), b"text")
    assert not key.public.verify(again.sign(b"text"), b"texu")


@pytest.mark.parametrize("alg", ALGS)
def test_a_public_key_survives_rendering(alg: str) -> None:
    """RFC 7517 §4: `kty`, `use`, `alg`, `kid` and the public members, and nothing private."""
    key = private_key(alg)

    rendered = render_public_jwk(key.public)

    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(rendered)
    assert (rendered["use"], rendered["alg"], rendered["kid"]) == ("sig", alg, key.kid)
    assert parse_public_jwk(rendered).verify(key.sign(b"text"), b"text")
    assert thumbprint(rendered) == key.public.thumbprint == key.kid


def test_a_key_without_alg_is_bound_by_its_curve_or_the_default() -> None:
    """RFC 7518 §3.4, RFC 8037 §2; an RSA key follows its reader's default, never a header."""
    assert parse_public_jwk(jwk_of("ES256", alg=...)).alg == "ES256"
    assert parse_public_jwk(jwk_of("Ed25519", alg=...)).alg == "Ed25519"
    assert parse_public_jwk(jwk_of("RS256", alg=...)).alg == "RS256"
    assert parse_public_jwk(jwk_of("RS256", alg=...), default_rsa_alg="PS256").alg == "PS256"
    assert parse_public_jwk(jwk_of("Ed25519", alg="EdDSA")).alg == "Ed25519"


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_private_member_is_refused_in_a_public_key(member: str) -> None:
    """RFC 7517 §9.3: somebody published what they should not have; the key is burnt."""
    assert "private" in refusal(jwk_of("RS256", **{member: "AQAB"}))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"use": "enc"}, "use"),
        ({"use": 1}, "use"),
        ({"key_ops": ["sign"]}, "key_ops"),
        ({"key_ops": []}, "key_ops"),
        ({"key_ops": "verify"}, "key_ops"),
        ({"kty": "RSA"}, "together"),
        ({"kty": "DSA", "alg": ...}, "kty"),
        ({"kty": ...}, "kty"),
        ({"crv": "P-384"}, "crv"),
        ({"crv": "secp256k1", "alg": ...}, "crv"),
        ({"alg": "ES384"}, "crv"),
        ({"alg": "RS256"}, "kty"),
        ({"alg": "none"}, "alg"),
        ({"alg": "RSA-OAEP"}, "alg"),
        ({"alg": None}, "alg"),
        ({"x": ...}, "x"),
        ({"x": 5}, "x"),
        ({"x": "AAAA"}, "32 bytes"),
        ({"x": base64url.encode(bytes(32))}, "curve"),
        ({"kid": ""}, "kid"),
        ({"kid": 7}, "kid"),
        ({"kid": "k" * 513}, "kid"),
    ],
)
def test_a_key_that_contradicts_itself_is_refused(changes: dict[str, Any], text: str) -> None:
    """RFC 7517 §4: each of these alone makes a good ES256 key unusable."""
    parse_public_jwk(jwk_of("ES256"))

    assert text in refusal(jwk_of("ES256", **changes))


def rsa_jwk(n: int, e: int) -> dict[str, Any]:
    def text(value: int) -> str:
        return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))

    return {"kty": "RSA", "alg": "RS256", "n": text(n), "e": text(e)}


def test_weak_rsa_keys_are_refused() -> None:
    """RFC 7518 §3.3 and plain arithmetic: 2048 bits or more, an odd exponent of 3 or more."""
    n = int.from_bytes(base64url.decode(jwk_of("RS256")["n"]), "big")
    parse_public_jwk(rsa_jwk(n, 65537))

    for bad_n, bad_e in (
        (n, 1),
        (n, 2),
        (n, 65536),
        (n, 2**33 + 1),
        (n >> 1 | 1, 65537),
        (n << 1, 65537),
        (n << 8000 | 1, 65537),
    ):
        with pytest.raises(JwkError):
            parse_public_jwk(rsa_jwk(bad_n, bad_e))
    with pytest.raises(JwkError):
        parse_public_jwk({**rsa_jwk(n, 65537), "n": base64url.encode(b"\x00" + n.to_bytes(256, "big"))})


def test_moduli_of_the_broken_generator_are_recognized() -> None:
    """CVE-2017-15361: a power of 65537 modulo every small prime; other moduli are not."""
    primorial = 1
    for prime in range(3, 168, 2):
        if all(prime % other for other in range(3, prime, 2)):
            primorial *= prime
    marked = pow(65537, 123456789, primorial) + primorial * (1 << 1840 | 1)
    marked += 0 if marked % 2 else primorial

    assert has_roca_fingerprint(marked)
    assert not has_roca_fingerprint(marked + 2)
    assert "ROCA" in refusal(rsa_jwk(marked | 0, 65537)) if marked.bit_length() >= 2048 else True


def test_symmetric_keys_need_an_explicit_choice() -> None:
    """Who verifies with it can issue with it."""
    jwk = oct_jwk(b"s" * 32)

    assert "oct" in refusal(jwk)
    assert parse_public_jwk(jwk, insecure_allow_hmac=True).alg == "HS256"


def test_a_symmetric_key_never_shows_itself() -> None:
    """Neither printed nor published."""
    key = private_key_from_jwk(Secret(orjson.dumps(oct_jwk(b"s" * 32))), insecure_allow_hmac=True)

    assert "cz" not in repr(key).replace(key.kid, "").replace(key.public.thumbprint, "")
    with pytest.raises(JwkError):
        render_public_jwk(key.public)


@pytest.mark.parametrize("size", [0, 1, 31])
def test_short_hmac_secrets_are_refused(size: int) -> None:
    """RFC 7518 §3.2: as long as the hash, 32 bytes."""
    parse_public_jwk(oct_jwk(b"s" * 32), insecure_allow_hmac=True)

    assert refusal(oct_jwk(b"s" * size), insecure_allow_hmac=True)


def test_verify_only_algorithms_do_not_issue() -> None:
    """Other people's issuers use them; ours signs with three."""
    key = ec.generate_private_key(ec.SECP384R1())

    with pytest.raises(JwkError, match="verify-only"):
        private_key_of(key, alg="ES384")
    with pytest.raises(JwkError, match="verify-only"):
        private_key_of(rsa.generate_private_key(public_exponent=65537, key_size=2048), alg="PS256")
    with pytest.raises(ConfigurationError):
        generate_private_key("ES384")


@pytest.mark.parametrize("alg", ALGS)
def test_private_and_public_parts_belong_together(alg: str) -> None:
    """A key whose halves differ would sign what nobody can verify."""
    mine = orjson.loads(private_key_to_jwk(private_key(alg)).reveal())
    other = orjson.loads(private_key_to_jwk(private_key(alg, "other")).reveal())

    with pytest.raises(JwkError):
        private_key_from_jwk(Secret(orjson.dumps({**mine, "d": other["d"]})))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"kty":"EC"}', b'{"kty":"EC","kty":"EC"}', b'{"kty":"OKP","crv":"Ed25519"}']
)
def test_a_broken_private_jwk_is_refused(data: bytes) -> None:
    """Never a KeyError or a crash in the library below."""
    with pytest.raises(JwkError):
        private_key_from_jwk(Secret(data))


def test_a_public_jwk_is_no_private_key() -> None:
    """`d` decides."""
    with pytest.raises(JwkError, match="public"):
        private_key_from_jwk(Secret(orjson.dumps(jwk_of("ES256"))))


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_signing_is_deterministic(alg: str) -> None:
    """RFC 6979 §3.2: the core draws no randomness, not even for a signature."""
    key = private_key(alg)

    assert key.sign(b"text") == key.sign(b"text")
